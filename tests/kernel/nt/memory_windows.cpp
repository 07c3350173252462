// Pages of a program, on Windows: the native calls, since <windows.h> and the kernel's headers exclude each other.
#include <new>

#include "tests/kernel/nt/objects.hpp"

extern "C" __declspec(dllimport) void* __stdcall VirtualAlloc(void* address, size_t bytes, unsigned long type,
                                                              unsigned long protection);
extern "C" __declspec(dllimport) int __stdcall VirtualFree(void* address, size_t bytes, unsigned long type);

namespace wintun::kernel {
namespace {
constexpr unsigned long kCommitAndReserve = 0x3000;
constexpr unsigned long kRelease = 0x8000;
constexpr unsigned long kReadWrite = 4;
}  // namespace

std::uint8_t* map_pages(std::size_t bytes, bool below_4_gib) {
  void* pages = nullptr;
  if (below_4_gib) {
    for (std::uintptr_t at = 0x10000000; pages == nullptr && at < 0xf0000000; at += 0x1000000) {
      pages = VirtualAlloc(reinterpret_cast<void*>(at), bytes, kCommitAndReserve, kReadWrite);
    }
  } else {
    pages = VirtualAlloc(nullptr, bytes, kCommitAndReserve, kReadWrite);
  }
  if (pages == nullptr) throw std::bad_alloc();
  return static_cast<std::uint8_t*>(pages);
}

void unmap_pages(std::uint8_t* pages, std::size_t) { VirtualFree(pages, 0, kRelease); }

}  // namespace wintun::kernel
