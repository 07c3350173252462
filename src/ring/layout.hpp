// The bytes that both ends of a ring agree on: three words, the data, and room behind it so that no packet wraps.
// Freestanding. Shared by every driver and by the session's end; docs/ring.md has the picture.
// Memory that the other end can write is hostile: read a word once, check it, use what was checked.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wintun {

inline constexpr uint32_t kMinCapacity = 0x20000;    // 128 KiB
inline constexpr uint32_t kMaxCapacity = 0x4000000;  // 64 MiB
inline constexpr uint32_t kTrailingBytes = 0x10000;  // behind the capacity, for a packet that starts at its last word
inline constexpr uint32_t kMaxPacketSize = 0xFFFF;   // bytes, the longest an IP header can say
inline constexpr uint32_t kAlignment = 4;
inline constexpr uint32_t kEnded = 0xFFFFFFFF;  // an offset at or above the capacity: this end has ended

// The head of a ring. Little-endian words; `capacity + kTrailingBytes` bytes of packets follow.
struct Ring {
  uint32_t head;       // offset of the oldest packet that is not consumed; written by the consumer
  uint32_t tail;       // offset behind the newest packet; written by the producer
  uint32_t alertable;  // not 0: the consumer sleeps and wants its event; written by the consumer
};
static_assert(offsetof(Ring, head) == 0 && offsetof(Ring, tail) == 4 && offsetof(Ring, alertable) == 8);
static_assert(sizeof(Ring) == 12);

// What stands in front of a packet's bytes.
inline constexpr uint32_t kSizeBytes = sizeof(uint32_t);

enum class RingStatus {
  ok,
  empty,      // no packet to consume
  full,       // no room for a packet of this size now
  ended,      // the other end has ended
  corrupt,    // the other end wrote an offset or a size that cannot be: treat it as ended
  too_large,  // more than kMaxPacketSize bytes asked for
  not_held,   // not a packet that is handed out at this moment
};

// A packet's place in a ring. `end` is the offset behind it: what head or tail becomes when it is finished.
struct Slot {
  uint8_t* data = nullptr;
  uint32_t size = 0;
  uint32_t offset = 0;
  uint32_t end = 0;
};

constexpr bool is_valid_capacity(uint32_t capacity) {
  return capacity >= kMinCapacity && capacity <= kMaxCapacity && (capacity & (capacity - 1)) == 0;
}

constexpr uint32_t ring_bytes(uint32_t capacity) { return uint32_t{sizeof(Ring)} + capacity + kTrailingBytes; }

// The capacity of a ring of so many bytes; 0 if no valid ring has this size.
constexpr uint32_t capacity_of(uint32_t bytes) {
  if (bytes < ring_bytes(kMinCapacity)) return 0;
  const uint32_t capacity = bytes - kTrailingBytes - uint32_t{sizeof(Ring)};
  return is_valid_capacity(capacity) ? capacity : 0;
}

// Bytes that a packet takes in the ring, its size word included. For sizes up to kMaxPacketSize.
constexpr uint32_t slot_bytes(uint32_t size) { return (kSizeBytes + size + kAlignment - 1) & ~(kAlignment - 1); }
static_assert(slot_bytes(kMaxPacketSize) == 0x10004);

constexpr uint32_t wrap(uint32_t offset, uint32_t capacity) { return offset & (capacity - 1); }

// Offsets that come from the other end.
constexpr bool is_offset(uint32_t offset, uint32_t capacity) { return offset < capacity && offset % kAlignment == 0; }

inline uint8_t* ring_data(Ring* ring) { return reinterpret_cast<uint8_t*>(ring) + sizeof(Ring); }
inline uint32_t* size_word(Ring* ring, uint32_t offset) {
  return reinterpret_cast<uint32_t*>(ring_data(ring) + offset);
}

}  // namespace wintun
