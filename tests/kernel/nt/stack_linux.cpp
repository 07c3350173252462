// Where a call comes from, on Linux: glibc's backtrace, and the nearest exported symbol or the module's offset.
#include <dlfcn.h>
#include <execinfo.h>

#include <cstdio>

#include "tests/kernel/nt/checker.hpp"

namespace wintun::kernel {
namespace {
constexpr int kDepth = 24;
constexpr std::size_t kShown = 8;
}  // namespace

Stack capture_stack(unsigned skip) {
  void* frames[kDepth];
  const int count = backtrace(frames, kDepth);
  Stack stack;
  for (int i = static_cast<int>(skip) + 1; i < count; ++i)
    stack.push_back(reinterpret_cast<std::uintptr_t>(frames[i]));
  return stack;
}

std::string describe_stack(const Stack& stack) {
  std::string text;
  for (std::size_t i = 0; i < stack.size() && i < kShown; ++i) {
    Dl_info info{};
    char frame[512] = "?";
    void* const address = reinterpret_cast<void*>(stack[i]);
    if (dladdr(address, &info) != 0) {
      const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
      if (info.dli_sname != nullptr) {
        std::snprintf(frame, sizeof(frame), "%s", info.dli_sname);
      } else {
        std::snprintf(frame, sizeof(frame), "+0x%zx", static_cast<std::size_t>(stack[i] - base));
      }
    }
    text += (text.empty() ? "" : " < ") + std::string(frame);
  }
  return text;
}

}  // namespace wintun::kernel
