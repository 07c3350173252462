// When packets may move, and how that stops without a race. Freestanding. Any thread may call anything here;
// calls that change the same state (pause and start, say) come one at a time, as every kernel has it.
//
// The rules. A queue is filled only in Running, with media connected, in D0.
//  1. A filler takes the transition lock shared *before* it looks at the state, and holds it until it has filled.
//  2. Three changes need the queues to clear and stay empty: Running to Pausing, Connected to Disconnected,
//     D0 to anything deeper. They toggle the state, then lock exclusively and unlock once. That is a barrier, not a
//     section: whoever was filling has left, and whoever comes later sees the new state.
//  3. The way up needs no lock: a filler that still sees the old state only drops what it could have moved.
//  4. Queues are cleared outside of the exclusive hold, since clearing waits for the host and calls it.
// So nobody fills after a downward change has returned, and the queues that it was given are empty then.
// Each direction has its lock: a stack that answers a packet inside indicate() comes back through the other one.
#pragma once

#include "driver/core/host.hpp"

namespace wintun {

enum class Power : uint32_t { d0, d1, d2, d3 };

template <TransitionHost Host>
class State {
 public:
  using Lock = typename Host::TransitionLock;

  // For fillers (rule 1): keep a SharedHold of it until the packet is where it belongs.
  Lock& lock(Direction direction) { return locks_[static_cast<uint32_t>(direction)]; }

  // Whether a queue may be filled, asked under a hold: `delivered`, or why not.
  [[nodiscard]] Outcome admission() const {
    if (look(connected_) == 0) return Outcome::disconnected;  // first: there may be no ring
    if (look(running_) == 0) return Outcome::paused;
    return look(power_) == static_cast<uint32_t>(Power::d0) ? Outcome::delivered : Outcome::asleep;
  }

  void start() { set(running_, 1); }

  template <class... Queues>
  void pause(Queues&... queues) {
    set(running_, 0);
    settle(queues...);
  }

  // The rings are attached to the queues already.
  void connect() { set(connected_, 1); }

  template <class... Queues>
  void disconnect(Queues&... queues) {
    set(connected_, 0);
    settle(queues...);
  }

  template <class... Queues>
  void set_power(Power power, Queues&... queues) {
    set(power_, static_cast<uint32_t>(power));
    if (power != Power::d0) settle(queues...);
  }

  bool is_connected() const { return look(connected_) != 0; }

 private:
  // Pair S (state): what connect() found attached is seen by the filler that sees it connected. A downward change
  // needs no order of its own: the lock of rule 2 makes one.
  static void set(uint32_t& word, uint32_t value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }
  static uint32_t look(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }

  template <class... Queues>
  void settle(Queues&... queues) {
    for (Lock& lock : locks_) typename Host::ExclusiveHold barrier(lock);
    (queues.clear(), ...);
  }

  Lock locks_[2];
  uint32_t running_ = 0;
  uint32_t connected_ = 0;
  uint32_t power_ = static_cast<uint32_t>(Power::d0);
};

}  // namespace wintun
