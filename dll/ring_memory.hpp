// The memory of a session's two rings: zero pages, none of them touched before a packet needs it.
// Owned by the session; valid until its driver is disconnected and every packet is given back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ring/layout.hpp"

namespace wintun {

class RingMemory {
 public:
  explicit RingMemory(std::uint32_t capacity);  // of each ring; throws std::system_error
  ~RingMemory();
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;

  Ring* to_user() const { return to_user_; }
  Ring* to_network() const { return to_network_; }

 private:
  void* pages_ = nullptr;
  std::size_t bytes_ = 0;
  Ring* to_user_ = nullptr;
  Ring* to_network_ = nullptr;
};

}  // namespace wintun
