// Adapters by the exported functions on the kernel's TUN: names, limits, several handles, what each refusal says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log_lines.hpp"
#include "tunnel.hpp"

namespace wintun {
namespace {

void* bad_handle(std::uintptr_t value) { return reinterpret_cast<void*>(value); }

TEST(AdapterTest, an_adapter_is_an_interface_until_it_is_closed) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    ASSERT_NE(adapter, nullptr) << GetLastError();
    EXPECT_NE(if_nametoindex("Demo"), 0u);
    WintunCloseAdapter(adapter);
    EXPECT_EQ(if_nametoindex("Demo"), 0u);
  });
}

TEST(AdapterTest, the_luid_has_the_type_and_the_index_of_the_interface) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    NET_LUID luid{};
    WintunGetAdapterLUID(adapter, &luid);
    EXPECT_EQ(luid.Info.IfType, 53u);
    EXPECT_EQ(luid.Info.NetLuidIndex, if_nametoindex("Demo"));
    EXPECT_EQ(luid.Value >> 48, 53u);
    WintunCloseAdapter(adapter);
  });
}

TEST(AdapterTest, names_that_are_none_are_refused_before_anything_is_made) {
  in_own_network([] {
    const std::wstring longest(127, L'x');
    const std::wstring too_long(128, L'x');
    const wchar_t no_text[] = {0xD800, 0};
    const wchar_t beyond[] = {0x110000, 0};
    for (const wchar_t* name :
         std::initializer_list<const wchar_t*>{nullptr, L"", too_long.c_str(), no_text, beyond}) {
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunCreateAdapter(name, L"test", nullptr), nullptr);
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunCreateAdapter(L"Demo", name, nullptr), nullptr);
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunOpenAdapter(name), nullptr);
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    }
    EXPECT_EQ(if_nametoindex("Demo"), 0u);
    const auto adapter = WintunCreateAdapter(longest.c_str(), longest.c_str(), nullptr);
    EXPECT_NE(adapter, nullptr) << GetLastError();
    WintunCloseAdapter(adapter);
  });
}

TEST(AdapterTest, any_name_that_the_abi_takes_becomes_an_interface) {
  in_own_network([] {
    for (const wchar_t* name : {L"My VPN tunnel number one", L"a/b", L"tun%d", L"..", L"all", L"default", L"\u00e0",
                                L"\U0001F600\U0001F600\U0001F600\U0001F600", L"a:b", L" "}) {
      const auto adapter = WintunCreateAdapter(name, L"test", nullptr);
      EXPECT_NE(adapter, nullptr) << GetLastError();
      const auto same = WintunOpenAdapter(name);
      EXPECT_NE(same, nullptr);
      WintunCloseAdapter(same);
      WintunCloseAdapter(adapter);
    }
  });
}

TEST(AdapterTest, a_name_is_taken_once) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    ASSERT_NE(adapter, nullptr);
    for (const wchar_t* name : {L"Demo", L"lo"}) {
      EXPECT_EQ(WintunCreateAdapter(name, L"test", nullptr), nullptr);
      EXPECT_EQ(GetLastError(), ERROR_ALREADY_EXISTS);
    }
    WintunCloseAdapter(adapter);
    const auto again = WintunCreateAdapter(L"Demo", L"test", nullptr);
    EXPECT_NE(again, nullptr);
    WintunCloseAdapter(again);
  });
}

TEST(AdapterTest, open_finds_what_there_is_and_says_what_is_not) {
  in_own_network([] {
    EXPECT_EQ(WintunOpenAdapter(L"Demo"), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(WintunOpenAdapter(L"lo"), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_ALREADY_EXISTS);
  });
}

TEST(AdapterTest, an_adapter_lives_until_its_last_handle_is_closed) {
  in_own_network([] {
    const auto first = WintunCreateAdapter(L"Demo", L"test", nullptr);
    const auto second = WintunOpenAdapter(L"Demo");
    ASSERT_NE(second, nullptr);
    EXPECT_NE(first, second);
    WintunCloseAdapter(first);
    EXPECT_NE(if_nametoindex("Demo"), 0u);
    const auto session = WintunStartSession(second, WINTUN_MIN_RING_CAPACITY);
    EXPECT_NE(session, nullptr) << GetLastError();
    WintunEndSession(session);
    WintunCloseAdapter(second);
    EXPECT_EQ(if_nametoindex("Demo"), 0u);
  });
}

TEST(AdapterTest, a_session_is_the_adapters_and_not_the_handles) {
  in_own_network([] {
    Tunnel tunnel;
    const auto second = WintunOpenAdapter(L"Demo");
    EXPECT_EQ(WintunStartSession(second, WINTUN_MIN_RING_CAPACITY), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_ALREADY_INITIALIZED);
    tunnel.close();
    KernelSocket kernel(tunnel.index);
    kernel.send(10);
    EXPECT_EQ(tunnel.read().size(), 38u);
    WintunCloseAdapter(second);
    EXPECT_TRUE(tunnel.read().empty());
    EXPECT_EQ(GetLastError(), ERROR_HANDLE_EOF);
  });
}

TEST(AdapterTest, a_handle_that_is_null_closed_or_foreign_is_answered_by_every_function) {
  in_own_network([] {
    const auto closed = WintunCreateAdapter(L"Demo", L"test", nullptr);
    WintunCloseAdapter(closed);
    Tunnel tunnel;
    const struct {
      void* handle;
      DWORD code;
    } kCases[] = {{nullptr, ERROR_INVALID_PARAMETER},        {closed, ERROR_INVALID_HANDLE},
                  {tunnel.session, ERROR_INVALID_HANDLE},    {bad_handle(1), ERROR_INVALID_HANDLE},
                  {bad_handle(~0ull), ERROR_INVALID_HANDLE}, {&tunnel, ERROR_INVALID_HANDLE}};
    for (const auto& c : kCases) {
      const auto adapter = static_cast<WINTUN_ADAPTER_HANDLE>(c.handle);
      NET_LUID luid{};
      luid.Value = 99;
      SetLastError(ERROR_SUCCESS);
      WintunGetAdapterLUID(adapter, &luid);
      EXPECT_EQ(GetLastError(), c.code);
      EXPECT_EQ(luid.Value, 0u);

      WINTUN_STATISTICS statistics{};
      SetLastError(ERROR_SUCCESS);
      EXPECT_FALSE(WintunGetStatistics(adapter, &statistics));
      EXPECT_EQ(GetLastError(), c.code);

      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunStartSession(adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
      EXPECT_EQ(GetLastError(), c.code);

      SetLastError(ERROR_SUCCESS);
      WintunCloseAdapter(adapter);
      EXPECT_EQ(GetLastError(), c.handle == nullptr ? ERROR_SUCCESS : c.code);
    }
    SetLastError(ERROR_SUCCESS);
    WintunGetAdapterLUID(tunnel.adapter, nullptr);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    EXPECT_FALSE(WintunGetStatistics(tunnel.adapter, nullptr));
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
  });
}

TEST(AdapterTest, the_driver_has_a_version_and_is_not_deleted_under_an_adapter) {
  in_own_network([] {
    EXPECT_EQ(WintunGetRunningDriverVersion(), 0x00000001u);
    EXPECT_TRUE(WintunDeleteDriver());
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    EXPECT_FALSE(WintunDeleteDriver());
    EXPECT_EQ(GetLastError(), ERROR_BUSY);
    WintunCloseAdapter(adapter);
  });
}

TEST(AdapterTest, success_leaves_the_last_error_alone) {
  in_own_network([] {
    SetLastError(12345);
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    const auto session = WintunStartSession(adapter, WINTUN_MIN_RING_CAPACITY);
    EXPECT_NE(WintunGetReadWaitEvent(session), nullptr);
    WintunEndSession(session);
    WintunEndSession(nullptr);
    WintunCloseAdapter(adapter);
    EXPECT_EQ(GetLastError(), 12345u);
  });
}

TEST(AdapterTest, each_thread_has_its_own_last_error) {
  SetLastError(7);
  std::thread([] {
    EXPECT_EQ(GetLastError(), ERROR_SUCCESS);
    SetLastError(8);
  }).join();
  EXPECT_EQ(GetLastError(), 7u);
}

TEST(AdapterTest, failures_are_logged_with_what_which_and_why) {
  in_own_network([] {
    const LogLines lines(WintunSetLogger);
    Tunnel tunnel;
    EXPECT_EQ(WintunCreateAdapter(L"Demo", L"test", nullptr), nullptr);
    EXPECT_EQ(lines.count(WINTUN_LOG_ERR, L"making adapter \"Demo\": this process has an adapter"), 1u);
    EXPECT_EQ(WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
    EXPECT_EQ(lines.count(WINTUN_LOG_ERR, L"starting the session of adapter \"Demo\": it has a session"), 1u);
    EXPECT_EQ(WintunStartSession(tunnel.adapter, 12), nullptr);
    EXPECT_EQ(lines.count(WINTUN_LOG_ERR, L"12 bytes is no power of two"), 1u);
    EXPECT_EQ(lines.count(WINTUN_LOG_INFO, L"\"Demo\""), 2u);
  });
}

// Each cycle waits for the kernel to let an interface go, some 20 ms: so the thousand is run in two tests.
class CyclesTest : public testing::TestWithParam<int> {};

TEST_P(CyclesTest, a_thousand_cycles_leak_no_descriptor) {
  in_own_network([] {
    const auto descriptors = [] {
      int count = 0;
      for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
      return count;
    };
    { const Tunnel warm_up; }
    const int before = descriptors();
    for (int i = 0; i < 500; ++i) {
      const Tunnel tunnel;
      ASSERT_NE(tunnel.session, nullptr) << i;
    }
    EXPECT_EQ(descriptors(), before);
  });
}
INSTANTIATE_TEST_SUITE_P(Half, CyclesTest, testing::Values(1, 2));

TEST(AdapterTest, every_descriptor_closes_on_exec) {
  in_own_network([] {
    std::vector<bool> before;
    for (int fd = 0; fd < 256; ++fd) before.push_back(fcntl(fd, F_GETFD) >= 0);
    const Tunnel tunnel;
    int made = 0;
    for (int fd = 0; fd < 256; ++fd) {
      const int flags = fcntl(fd, F_GETFD);
      if (flags < 0 || before[static_cast<std::size_t>(fd)]) continue;
      ++made;
      EXPECT_TRUE((flags & FD_CLOEXEC) != 0) << fd;
    }
    EXPECT_EQ(made, 4)
        << "the interface, the socket for its settings, the ring's event, and the first and this as one";
  });
}

TEST(AdapterTest, the_device_object_is_a_descriptor_that_the_caller_owns) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    const HANDLE object = WintunOpenAdapterDeviceObject(tunnel.adapter);
    ASSERT_NE(object, INVALID_HANDLE_VALUE) << GetLastError();
    const int descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(object));
    EXPECT_FALSE(is_readable(object, 0));
    kernel.send(100);
    EXPECT_TRUE(is_readable(object, 10000));
    EXPECT_EQ(tunnel.read().size(), 128u);
    EXPECT_FALSE(is_readable(object, 0));
    pollfd writable{descriptor, POLLOUT, 0};
    EXPECT_EQ(poll(&writable, 1, 0), 1);
    EXPECT_EQ(fcntl(descriptor, F_GETFD), FD_CLOEXEC);
    tunnel.end();
    tunnel.close();
    EXPECT_EQ(close(descriptor), 0) << "it was not the caller's";

    EXPECT_EQ(WintunOpenAdapterDeviceObject(nullptr), INVALID_HANDLE_VALUE);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    EXPECT_EQ(WintunOpenAdapterDeviceObject(static_cast<WINTUN_ADAPTER_HANDLE>(bad_handle(4096 * 77))),
              INVALID_HANDLE_VALUE);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_HANDLE);
  });
}

TEST(AdapterTest, a_closed_adapter_has_no_device_object) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    ASSERT_NE(adapter, nullptr);
    WintunCloseAdapter(adapter);
    EXPECT_EQ(WintunOpenAdapterDeviceObject(adapter), INVALID_HANDLE_VALUE);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_HANDLE);
  });
}

TEST(AdapterTest, a_device_object_needs_no_session_and_each_is_another_descriptor) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    ASSERT_NE(adapter, nullptr);
    const HANDLE first = WintunOpenAdapterDeviceObject(adapter);
    const HANDLE second = WintunOpenAdapterDeviceObject(adapter);
    ASSERT_NE(first, INVALID_HANDLE_VALUE);
    ASSERT_NE(second, INVALID_HANDLE_VALUE);
    EXPECT_NE(first, second);
    EXPECT_EQ(close(static_cast<int>(reinterpret_cast<std::intptr_t>(first))), 0);
    EXPECT_NE(fcntl(static_cast<int>(reinterpret_cast<std::intptr_t>(second)), F_GETFD), -1);
    EXPECT_EQ(close(static_cast<int>(reinterpret_cast<std::intptr_t>(second))), 0);
    WintunCloseAdapter(adapter);
  });
}

TEST(AdapterTest, a_device_object_beyond_the_limit_of_descriptors_is_too_many_open_files) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    ASSERT_NE(adapter, nullptr);
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = fcntl(0, F_DUPFD_CLOEXEC, 3);
    ASSERT_GE(next, 0);
    close(next);
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(next);  // the lowest free one is beyond it
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const HANDLE object = WintunOpenAdapterDeviceObject(adapter);
    const DWORD code = GetLastError();
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(object, INVALID_HANDLE_VALUE);
    EXPECT_EQ(code, ERROR_TOO_MANY_OPEN_FILES);
    WintunCloseAdapter(adapter);
  });
}

}  // namespace
}  // namespace wintun
