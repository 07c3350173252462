// libringtun.so found at run time, beside the library that is linked into this program: two copies, two tables, two
// last errors. Their names must not get in each other's way.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "network.hpp"

namespace wintun {
namespace {

class Loaded {
 public:
  Loaded() : library_(dlopen(WINTUN_LIBRARY, RTLD_NOW | RTLD_LOCAL)) { EXPECT_NE(library_, nullptr) << dlerror(); }
  ~Loaded() { dlclose(library_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  template <class Function>
  Function* find(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(library_, name));
  }

 private:
  void* const library_;
};

TEST(LoadedTest, a_loaded_library_and_the_linked_one_do_not_mix) {
  in_own_network([] {
    const Loaded library;
    const auto create = library.find<WINTUN_CREATE_ADAPTER_FUNC>("WintunCreateAdapter");
    const auto close_adapter = library.find<WINTUN_CLOSE_ADAPTER_FUNC>("WintunCloseAdapter");
    const auto start = library.find<WINTUN_START_SESSION_FUNC>("WintunStartSession");
    const auto end = library.find<WINTUN_END_SESSION_FUNC>("WintunEndSession");
    const auto loaded_error = library.find<RINGTUN_GET_LAST_ERROR_FUNC>("RingtunGetLastError");
    ASSERT_TRUE(create && close_adapter && start && end && loaded_error);
    ASSERT_NE(reinterpret_cast<void*>(create), reinterpret_cast<void*>(&WintunCreateAdapter));

    const auto adapter = create(L"Loaded", L"test", nullptr);
    ASSERT_NE(adapter, nullptr) << loaded_error();
    const auto session = start(adapter, WINTUN_MIN_RING_CAPACITY);
    EXPECT_NE(session, nullptr) << loaded_error();
    SetLastError(77);
    EXPECT_EQ(start(adapter, 1), nullptr);
    EXPECT_EQ(loaded_error(), ERROR_INVALID_PARAMETER);
    EXPECT_EQ(GetLastError(), 77u);
    EXPECT_EQ(WintunCreateAdapter(L"Loaded", L"test", nullptr), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_ALREADY_EXISTS);
    end(session);
    close_adapter(adapter);
  });
}

TEST(LoadedTest, many_loads_and_unloads_leave_nothing_that_crashes) {
  in_own_network([] {
    for (int i = 0; i < 20; ++i) {
      const Loaded library;
      const auto create = library.find<WINTUN_CREATE_ADAPTER_FUNC>("WintunCreateAdapter");
      const auto close_adapter = library.find<WINTUN_CLOSE_ADAPTER_FUNC>("WintunCloseAdapter");
      close_adapter(create(L"Loaded", L"test", nullptr));
    }
  });
}

}  // namespace
}  // namespace wintun
