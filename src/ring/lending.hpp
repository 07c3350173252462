// Handing packets out and taking them back in any order, from many threads, at the program's end of a ring.
// Freestanding. The callers' lock covers each call; the packets are used outside of it.
// The top bit of a packet's size word says that it is held; the published index moves over a finished prefix only,
// so one slow holder delays the index and nothing else. A driver does not use this: it cannot trust marks in
// memory that a program can write, and keeps its own list (driver/core).
#pragma once

#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

inline constexpr uint32_t kHeld = 0x80000000;

// Packets handed out lie in [first, past) of a ring. Both may be moved by the lender only.
struct Lent {
  Ring* ring;
  uint32_t capacity;
  uint32_t first;
  uint32_t past;
};

// Takes the mark from the packet whose bytes begin at `data`, and says where it lies; not_held when nothing that is
// held begins there. (A pointer into the middle of a held packet is known by its bytes alone: it can only spoil one
// bit of the packet that it points into.)
[[nodiscard]] inline RingStatus unmark(const Lent& lent, const uint8_t* data, uint32_t& offset) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(ring_data(lent.ring)) + kSizeBytes;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  if (address < begin || address - begin >= lent.capacity) return RingStatus::not_held;
  offset = static_cast<uint32_t>(address - begin);
  if (offset % kAlignment != 0) return RingStatus::not_held;
  const uint32_t distance = wrap(lent.past - lent.first, lent.capacity);
  if (wrap(offset - lent.first, lent.capacity) >= distance) return RingStatus::not_held;
  const uint32_t word = load_once(size_word(lent.ring, offset));
  if ((word & kHeld) == 0 || (word & ~kHeld) > kMaxPacketSize) return RingStatus::not_held;
  store_once(size_word(lent.ring, offset), word & ~kHeld);
  return RingStatus::ok;
}

// The end of the packets from `first` on that nobody holds. It never goes past `past`, whatever the sizes say.
[[nodiscard]] inline uint32_t finished_prefix(const Lent& lent) {
  uint32_t end = lent.first;
  while (end != lent.past) {
    const uint32_t word = load_once(size_word(lent.ring, end));
    if (word > kMaxPacketSize || slot_bytes(word) > wrap(lent.past - end, lent.capacity)) break;
    end = wrap(end + slot_bytes(word), lent.capacity);
  }
  return end;
}

// Receiving: take() lends the next packet, give_back() returns one.
class LendingConsumer {
 public:
  LendingConsumer() = default;
  LendingConsumer(Ring* ring, uint32_t capacity) : consumer_(ring, capacity) {}

  [[nodiscard]] RingStatus take(Slot& slot) {
    const RingStatus status = consumer_.next(slot);
    if (status == RingStatus::ok) store_once(size_word(consumer_.ring(), slot.offset), slot.size | kHeld);
    return status;
  }

  [[nodiscard]] RingStatus give_back(const uint8_t* data) {
    const Lent lent{consumer_.ring(), consumer_.capacity(), consumer_.released(), consumer_.next_offset()};
    uint32_t offset = 0;
    const RingStatus found = unmark(lent, data, offset);
    if (found == RingStatus::ok && offset == lent.first) consumer_.release(finished_prefix(lent));
    return found;
  }

  // Packets are handed out and not all given back.
  bool lends() const { return consumer_.released() != consumer_.next_offset(); }

  Consumer& consumer() { return consumer_; }

 private:
  Consumer consumer_;
};

// Sending: allocate() lends room, in sending order; submit() gives it back filled.
class LendingProducer {
 public:
  LendingProducer() = default;
  LendingProducer(Ring* ring, uint32_t capacity) : producer_(ring, capacity) {}

  [[nodiscard]] RingStatus allocate(uint32_t size, Slot& slot) { return producer_.reserve(size, slot, kHeld); }

  // `wake`: the consumer sleeps, set its event.
  [[nodiscard]] RingStatus submit(const uint8_t* data, bool& wake) {
    const Lent lent{producer_.ring(), producer_.capacity(), producer_.published(), producer_.next()};
    uint32_t offset = 0;
    wake = false;
    const RingStatus found = unmark(lent, data, offset);
    if (found == RingStatus::ok && offset == lent.first) wake = producer_.publish(finished_prefix(lent));
    return found;
  }

  // Room is handed out and not all submitted.
  bool lends() const { return producer_.published() != producer_.next(); }

  Producer& producer() { return producer_; }

 private:
  Producer producer_;
};

}  // namespace wintun
