// One session: both rings, the program's end of each, and the driver at the other ends, which is pumped in the
// caller's thread. What stands under "receive lock" and "send lock" is called with that lock of session_table.hpp;
// the two directions share nothing but `over_`. Knows nothing of handles; statuses are Windows error codes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "driver.hpp"
#include "last_error.hpp"
#include "platform/event.hpp"
#include "readiness.hpp"
#include "ring/lending.hpp"
#include "ring_memory.hpp"

namespace wintun {

template <Driver D>
class RingSession {
 public:
  // Connects the driver, which then uses the rings until its disconnect(). Throws std::system_error.
  RingSession(D& driver, std::uint32_t capacity)
      : memory_(capacity),
        readiness_(moved_.handle(), driver.wait_handle()),
        driver_(&driver),
        pushes_(driver.wait_handle() == kNoWaitHandle),
        receiving_(memory_.to_user(), capacity),
        sending_(memory_.to_network(), capacity) {
    driver.connect({memory_.to_user(), memory_.to_network(), capacity, &moved_});
  }
  RingSession(const RingSession&) = delete;
  RingSession& operator=(const RingSession&) = delete;

  std::shared_ptr<void> owner;  // the adapter, kept for its name; set before any other thread is here

  WaitHandle wait_handle() const { return readiness_.handle(); }

  // Any thread. Why nothing moves any more, or ERROR_SUCCESS.
  DWORD over() const { return over_.load(std::memory_order_acquire); }

  // Any thread. Wakes everybody who waits for the event, for good.
  void wake() { moved_.set(); }

  // Any thread. True once for each reason: a broken session or program must not flood the log.
  bool first_time(std::uint32_t reason) {
    if ((told_.load(std::memory_order_relaxed) & reason) != 0) return false;
    return (told_.fetch_or(reason, std::memory_order_relaxed) & reason) == 0;
  }

  // Both locks. The driver is not called again; packets that are lent stay valid.
  void detach() {
    driver_ = nullptr;
    finish(ERROR_HANDLE_EOF);
  }

  // ---- receive lock ----

  [[nodiscard]] DWORD receive(Slot& slot) {
    const DWORD ended = over();
    if (ended != ERROR_SUCCESS) return ended;
    RingStatus status = receiving_.take(slot);
    if (status == RingStatus::empty) status = refill(1, slot);
    if (status != RingStatus::ok) return receive_failed(status);
    settle_event();
    return ERROR_SUCCESS;
  }

  // `use(index, slot)` for each packet. How many came; why there were none, else ERROR_SUCCESS.
  template <class Use>
  [[nodiscard]] DWORD receive_many(DWORD count, DWORD& got, const Use& use) {
    got = 0;
    const DWORD ended = over();
    if (ended != ERROR_SUCCESS) return ended;
    Slot slot;
    RingStatus status = RingStatus::ok;
    while (got < count) {
      status = receiving_.take(slot);
      if (status == RingStatus::empty) status = refill(count - got, slot);
      if (status != RingStatus::ok) break;
      use(got++, slot);
    }
    if (got == 0) return receive_failed(status);
    settle_event();
    return ERROR_SUCCESS;
  }

  [[nodiscard]] DWORD release(const std::uint8_t* packet) {
    const RingStatus status = receiving_.give_back(packet);
    return status == RingStatus::ok ? ERROR_SUCCESS : code_of(status);
  }

  // ---- send lock ----

  [[nodiscard]] DWORD allocate(std::uint32_t size, Slot& slot) {
    const DWORD ended = over();
    if (ended != ERROR_SUCCESS) return ended;
    RingStatus status = sending_.allocate(size, slot);
    if (status == RingStatus::full) {
      // What the network did not take at once may go now.
      pump_to_network();
      status = sending_.allocate(size, slot);
    }
    if (status == RingStatus::ok) return ERROR_SUCCESS;
    const DWORD code = code_of(status);
    if (status == RingStatus::ended || status == RingStatus::corrupt) finish(code);
    return code;
  }

  // Into the ring; pump_to_network() follows when all are in.
  [[nodiscard]] DWORD submit(const std::uint8_t* packet) {
    bool wake = false;  // no driver sleeps on this ring: it is pumped
    const RingStatus status = sending_.submit(packet, wake);
    return status == RingStatus::ok ? ERROR_SUCCESS : code_of(status);
  }

  void pump_to_network() {
    if (over() != ERROR_SUCCESS) return;
    if (driver_->pump_to_network() == PumpStatus::ended) finish(ERROR_HANDLE_EOF);
    if constexpr (requires { driver_->rewind_to_network(); }) {
      if (sending_.producer().next() >= kRewindBehind && sending_.producer().rewind()) driver_->rewind_to_network();
    }
  }

 private:
  // A pumped ring is empty most of the time, so it begins again at its start before it has walked out of the cache:
  // every packet in new memory costs more than all else that happens to it here. A program that lends many packets
  // walks on through the whole ring.
  static constexpr std::uint32_t kRewindBehind = 0x4000;  // bytes, half of a first-level cache

  // The ring is empty: fetch up to `limit` packets from the driver, and take the first.
  RingStatus refill(std::uint32_t limit, Slot& slot) {
    if (level_ || pushes_) {
      // Before the look: a packet that came earlier is seen by it, a later one sets the event again.
      moved_.reset();
      level_ = false;
    }
    if constexpr (requires { driver_->rewind_to_user(); }) {
      if (receiving_.consumer().next_offset() >= kRewindBehind && driver_->rewind_to_user()) {
        receiving_.consumer().rewind();
      }
    }
    const PumpStatus pumped = driver_->pump_to_user(limit);
    const RingStatus status = receiving_.take(slot);
    return status == RingStatus::empty && pumped == PumpStatus::ended ? RingStatus::ended : status;
  }

  DWORD receive_failed(RingStatus status) {
    const DWORD code = code_of(status);
    if (status != RingStatus::empty) finish(code);
    return code;
  }

  // The event says what is in the ring: packets that stay there are not the driver's to announce, and one that has
  // announced the last packet may have left the event set.
  void settle_event() {
    if (is_empty()) {
      if (!level_ && !pushes_) return;
      moved_.reset();
      level_ = false;
      if (is_empty()) return;  // a packet that came before the reset is seen here, a later one sets the event again
    }
    if (level_) return;
    level_ = true;
    moved_.set();
  }

  bool is_empty() { return observe_tail(&memory_.to_user()->tail) == receiving_.consumer().next_offset(); }

  // The first reason stays.
  void finish(DWORD code) {
    DWORD none = ERROR_SUCCESS;
    over_.compare_exchange_strong(none, code, std::memory_order_acq_rel);
    moved_.set();
  }

  RingMemory memory_;
  Event moved_;
  Readiness readiness_;
  std::atomic<DWORD> over_{ERROR_SUCCESS};
  std::atomic<std::uint32_t> told_{0};
  D* driver_;
  const bool pushes_;  // the driver has nothing to watch, and sets moved_ itself

  alignas(64) LendingConsumer receiving_;
  bool level_ = false;  // we set moved_, and nobody has reset it

  alignas(64) LendingProducer sending_;
};

}  // namespace wintun
