// Pages of a program, on Linux.
#include <sys/mman.h>

#include <new>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {

std::uint8_t* map_pages(std::size_t bytes, bool below_4_gib) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (below_4_gib ? MAP_32BIT : 0);
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::uint8_t*>(pages);
}

void unmap_pages(std::uint8_t* pages, std::size_t bytes) { munmap(pages, bytes); }

}  // namespace wintun::kernel
