// The consuming end of a ring: take the next packet, use it in place, release it by moving the head. Freestanding.
// One consumer a ring; its callers serialize every call (a lock, or one thread). Packets are handed out in order
// and may be used outside of the lock; release() moves the head, so it is called in order too.
// Nothing read from the ring is believed: offsets and sizes are read once, checked, and only then used. What a
// packet says may still change while it is used: whoever checks its bytes copies them first.
#pragma once

#include "ring/atomics.h"
#include "ring/layout.hpp"

namespace wintun {

class Consumer {
 public:
  Consumer() = default;
  Consumer(Ring* ring, uint32_t capacity) : ring_(ring), capacity_(capacity) {}

  // The next packet, or empty, ended or corrupt (then nothing changes, and the caller ends its side).
  [[nodiscard]] RingStatus next(Slot& slot) {
    if (next_ == tail_seen_) {
      const RingStatus seen = look();
      if (seen != RingStatus::ok) return seen;
    }
    const uint32_t content = wrap(tail_seen_ - next_, capacity_);
    const uint32_t size = load_once(size_word(ring_, next_));
    if (size > kMaxPacketSize || slot_bytes(size) > content) return RingStatus::corrupt;
    slot = {ring_data(ring_) + next_ + kSizeBytes, size, next_, wrap(next_ + slot_bytes(size), capacity_)};
    next_ = slot.end;
    return RingStatus::ok;
  }

  // Everything before `end` is finished: its room is the producer's again.
  void release(uint32_t end) {
    released_ = end;
    if (!ended_) publish_head(&ring_->head, end);  // a late holder must not take the end back
  }

  // The other half of a Producer::rewind() that was true, under the same lock.
  void rewind() {
    next_ = tail_seen_ = 0;
    release(0);
  }

  // Announces sleep. True: nothing has come, wait for the event. False: do not sleep, look again.
  // finish_wait() follows in both cases.
  [[nodiscard]] bool prepare_to_wait() {
    set_alertable(&ring_->alertable, 1);
    return observe_tail(&ring_->tail) == next_;
  }
  void finish_wait() { set_alertable(&ring_->alertable, 0); }

  // Says that nothing will be consumed any more. The caller then sets the producer's event, if it has one.
  void end() {
    ended_ = true;
    publish_head(&ring_->head, kEnded);
  }

  uint32_t next_offset() const { return next_; }   // where the next packet begins
  uint32_t released() const { return released_; }  // the head
  uint32_t capacity() const { return capacity_; }
  Ring* ring() const { return ring_; }

 private:
  RingStatus look() {
    if (ended_) return RingStatus::ended;
    const uint32_t tail = observe_tail(&ring_->tail);
    if (tail >= capacity_) return RingStatus::ended;
    // A tail moves forward and stops before the head; anywhere else would overwrite packets still in use.
    const bool possible = wrap(tail - released_, capacity_) >= wrap(next_ - released_, capacity_);
    if (!is_offset(tail, capacity_) || !possible) return RingStatus::corrupt;
    tail_seen_ = tail;
    return tail == next_ ? RingStatus::empty : RingStatus::ok;
  }

  Ring* ring_ = nullptr;
  uint32_t capacity_ = 0;
  uint32_t next_ = 0;
  uint32_t released_ = 0;
  uint32_t tail_seen_ = 0;  // a tail that was checked; looked at again only when everything before it is handed out
  bool ended_ = false;
};

}  // namespace wintun
