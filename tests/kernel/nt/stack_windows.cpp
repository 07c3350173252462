// Where a call comes from, on Windows (and Wine): addresses only.
#include <cstdio>

#include "tests/kernel/nt/checker.hpp"

extern "C" __declspec(dllimport) unsigned short __stdcall RtlCaptureStackBackTrace(unsigned long skip,
                                                                                   unsigned long count, void** frames,
                                                                                   unsigned long* hash);

namespace wintun::kernel {

Stack capture_stack(unsigned skip) {
  void* frames[24];
  const unsigned short count = RtlCaptureStackBackTrace(skip + 1, 24, frames, nullptr);
  Stack stack;
  for (unsigned short i = 0; i < count; ++i) stack.push_back(reinterpret_cast<std::uintptr_t>(frames[i]));
  return stack;
}

std::string describe_stack(const Stack& stack) {
  std::string text;
  for (std::size_t i = 0; i < stack.size() && i < 8; ++i) {
    char frame[32];
    std::snprintf(frame, sizeof(frame), "%s%zx", i == 0 ? "" : " < ", static_cast<std::size_t>(stack[i]));
    text += frame;
  }
  return text;
}

}  // namespace wintun::kernel
