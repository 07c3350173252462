// The producing end of a ring: reserve room, fill it, publish the tail behind it. Freestanding.
// One producer a ring; its callers serialize every call (a lock, or one thread), and may fill what they reserved
// outside of that lock, in any order, as long as they publish in order.
// The shared tail is only ever written here: what this end knows of itself stands in private memory, and the
// shared head is believed only as far as a consumer can have come.
#pragma once

#include "ring/atomics.h"
#include "ring/layout.hpp"

namespace wintun {

class Producer {
 public:
  Producer() = default;
  Producer(Ring* ring, uint32_t capacity) : ring_(ring), capacity_(capacity) {}

  // Room for `size` bytes; full, ended, corrupt or too_large change nothing. A consumer's end is noticed when its
  // head is next looked at; look() does that at once.
  [[nodiscard]] RingStatus reserve(uint32_t size, Slot& slot, uint32_t mark = 0) {
    if (size > kMaxPacketSize) return RingStatus::too_large;
    const uint32_t bytes = slot_bytes(size);
    if (bytes > room_seen()) {
      const RingStatus seen = look();
      if (seen != RingStatus::ok) return seen;
      if (bytes > room_seen()) return RingStatus::full;
    }
    slot = {ring_data(ring_) + next_ + kSizeBytes, size, next_, wrap(next_ + bytes, capacity_)};
    store_once(size_word(ring_, next_), size | mark);
    next_ = slot.end;
    return RingStatus::ok;
  }

  // Reads the consumer's head: ok, ended or corrupt.
  [[nodiscard]] RingStatus look() {
    if (ended_) return RingStatus::ended;
    const uint32_t head = observe_head(&ring_->head);
    if (head >= capacity_) return RingStatus::ended;
    // A head moves forward and stops at the published tail; anywhere else would free what is still being filled.
    const bool possible = wrap(head - head_seen_, capacity_) <= wrap(published_ - head_seen_, capacity_);
    if (!is_offset(head, capacity_) || !possible) return RingStatus::corrupt;
    head_seen_ = head;
    return RingStatus::ok;
  }

  // Makes the newest reservation smaller: how long a packet is may be known only when it is read.
  void shrink(Slot& slot, uint32_t size, uint32_t mark = 0) {
    slot.size = size;
    slot.end = next_ = wrap(slot.offset + slot_bytes(size), capacity_);
    store_once(size_word(ring_, slot.offset), size | mark);
  }

  // Takes the newest reservation back.
  void abandon(const Slot& slot) { next_ = slot.offset; }

  // Everything before `end` is filled; several packets may be published at once. True: the consumer sleeps, set its
  // event.
  [[nodiscard]] bool publish(uint32_t end) {
    published_ = end;
    if (ended_) return false;  // a late holder must not take the end back
    publish_tail(&ring_->tail, end);
    return observe_alertable(&ring_->alertable) != 0;
  }

  // Begins again at the ring's start, where the memory is warm. True if everything was given back and nothing is
  // reserved; the consumer's half then follows. For both ends in one process, under the one lock that they share.
  [[nodiscard]] bool rewind() {
    if (ended_ || published_ != next_ || observe_head(&ring_->head) != next_) return false;
    next_ = published_ = head_seen_ = 0;
    publish_tail(&ring_->tail, 0);
    return true;
  }

  // Says that nothing will come any more. The caller then sets the consumer's event.
  void end() {
    ended_ = true;
    publish_tail(&ring_->tail, kEnded);
  }

  uint32_t next() const { return next_; }            // where the next reservation begins
  uint32_t published() const { return published_; }  // the tail
  uint32_t capacity() const { return capacity_; }
  Ring* ring() const { return ring_; }

 private:
  // One word stays free, so that a full ring does not look like an empty one.
  uint32_t room_seen() const { return wrap(head_seen_ - next_ - kAlignment, capacity_); }

  Ring* ring_ = nullptr;
  uint32_t capacity_ = 0;
  uint32_t next_ = 0;
  uint32_t published_ = 0;
  uint32_t head_seen_ = 0;  // a head that was checked; looked at again only when it leaves no room
  bool ended_ = false;
};

}  // namespace wintun
