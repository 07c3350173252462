// Rings in anonymous pages of this process: the driver is in it, so nobody else maps them.
#include "ring_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace wintun {

RingMemory::RingMemory(std::uint32_t capacity) {
  constexpr std::size_t kPage = 0x10000;  // at least a page of any machine; the rings share none
  const std::size_t ring = (std::size_t{ring_bytes(capacity)} + kPage - 1) & ~(kPage - 1);
  bytes_ = 2 * ring;
  pages_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages_ == MAP_FAILED) {
    throw std::system_error(errno, std::system_category(),
                            "mapping two rings of " + std::to_string(capacity) + " bytes");
  }
  to_user_ = static_cast<Ring*>(pages_);
  to_network_ = reinterpret_cast<Ring*>(static_cast<std::byte*>(pages_) + ring);
}

RingMemory::~RingMemory() { munmap(pages_, bytes_); }

}  // namespace wintun
