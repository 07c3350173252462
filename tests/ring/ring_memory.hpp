// Memory of a ring for tests: a heap allocation of exactly its size, so that a step outside of it is caught.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "ring/layout.hpp"

namespace wintun {

class RingMemory {
 public:
  explicit RingMemory(std::uint32_t capacity = kMinCapacity)
      : capacity_(capacity), bytes_(std::make_unique<std::uint8_t[]>(ring_bytes(capacity))) {}

  Ring* ring() { return reinterpret_cast<Ring*>(bytes_.get()); }
  std::uint32_t capacity() const { return capacity_; }
  const std::uint8_t* end() const { return bytes_.get() + ring_bytes(capacity_); }

  // Where an end may hand out a packet of this size.
  bool holds(const Slot& slot) {
    return slot.data == ring_data(ring()) + slot.offset + kSizeBytes && slot.offset < capacity_ &&
           slot.offset % kAlignment == 0 && slot.size <= kMaxPacketSize && slot.data + slot.size <= end() &&
           slot.end == wrap(slot.offset + slot_bytes(slot.size), capacity_);
  }

 private:
  std::uint32_t capacity_;
  std::unique_ptr<std::uint8_t[]> bytes_;
};

// Numbers that are the same in every run (xorshift32).
class Random {
 public:
  explicit Random(std::uint32_t seed) : state_(seed * 2654435761U | 1U) {}
  std::uint32_t operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
  }

 private:
  std::uint32_t state_;
};

// A packet whose every byte says which one it is.
inline void fill(const Slot& slot, std::uint32_t number) {
  for (std::uint32_t i = 0; i < slot.size; ++i) slot.data[i] = static_cast<std::uint8_t>(number * 31 + i);
}
inline bool is_filled(const Slot& slot, std::uint32_t number) {
  for (std::uint32_t i = 0; i < slot.size; ++i) {
    if (slot.data[i] != static_cast<std::uint8_t>(number * 31 + i)) return false;
  }
  return true;
}

}  // namespace wintun
