// Packets from the program's ring into a stack. Freestanding. One thread or one lock's holder consumes a ring.
// ToNetwork lends packets in place to a host that returns them late and in any order, from any thread; the head
// moves over the returned prefix only. ToNetworkWriter is for a host that is done with a packet at once.
// The program can write the ring while this runs: a size is read once and checked against the tail by the consumer,
// the IP version is read once here, and a ring that cannot be ends the session.
#pragma once

#include "driver/core/state.hpp"
#include "ring/consumer.hpp"

namespace wintun {

enum class DrainStatus {
  ok,       // packets left the ring; there may be more
  nothing,  // the ring is empty
  ended,    // the program has ended its ring, or wrote nonsense into it, or the host's sink is gone
};

// How many packets move under one hold: a program that never stops writing cannot keep a transition waiting.
inline constexpr uint32_t kBurst = 64;

// 4 or 6 by the first byte, if there is room for that header; else 0. What is behind it the stack checks itself.
inline uint32_t ip_version(const uint8_t* data, uint32_t size) {
  if (size < 20) return 0;
  const uint32_t version = static_cast<uint32_t>(__atomic_load_n(data, __ATOMIC_RELAXED)) >> 4;
  return version == 4 || (version == 6 && size >= 40) ? version : 0;
}

template <LendingHost Host>
class ToNetwork {
 public:
  using Packet = typename Host::Packet;
  ToNetwork(Host& host, State<Host>& state) : host_(host), state_(state), lent_(host) {}

  // While disconnected, after clear().
  void attach(Ring* ring, uint32_t capacity) { consumer_ = Consumer(ring, capacity); }

  // One burst. Paused or asleep the packets are dropped, so the ring never stands still.
  [[nodiscard]] DrainStatus drain() {
    typename Host::SharedHold hold(state_.lock(Direction::to_network));
    const Outcome admission = state_.admission();
    if (admission == Outcome::disconnected) return DrainStatus::ended;
    const bool admitted = admission == Outcome::delivered;
    uint32_t moved = 0;
    RingStatus status = RingStatus::ok;
    while (moved < kBurst) {
      Slot slot;
      status = next(slot);
      if (status != RingStatus::ok) break;
      ++moved;
      lend(slot, admitted);
    }
    if (admitted && moved > 0) host_.indicate();
    if (status == RingStatus::ok || status == RingStatus::empty) {
      return moved > 0 ? DrainStatus::ok : DrainStatus::nothing;
    }
    end();
    return DrainStatus::ended;
  }

  // The stack is done with a packet: any thread, any order, also from inside indicate(), also after a disconnect
  // has begun. True: it was the last one out.
  bool give_back(Packet& packet) {
    FlightQueue<Host> done(host_);
    bool last = false;
    {
      typename Host::SpinHold locked(lock_);
      host_.in_flight(packet).finished = 1;
      uint32_t end = 0;
      if (lent_.pop_finished(done, end)) {
        consumer_.release(end);
        last = lent_.is_empty();
      }
    }
    while (!done.is_empty()) host_.unwrap(done.pop());
    return last;
  }

  // Waits for the packets that the stack still has.
  void clear() {
    while (!is_empty()) host_.let_others_run();
  }

  bool is_empty() {
    typename Host::SpinHold locked(lock_);
    return lent_.is_empty();
  }

  // Tells the program that nothing is consumed any more. It is the last touch of the ring.
  void end() {
    typename Host::SpinHold locked(lock_);
    consumer_.end();
  }

  Consumer& consumer() { return consumer_; }
  const Traffic& traffic() const { return traffic_; }

 private:
  RingStatus next(Slot& slot) {
    typename Host::SpinHold locked(lock_);
    return consumer_.next(slot);
  }

  // A packet that is dropped has no memory of the host's to be remembered in, so it counts as a part of the newest
  // one that is lent; with none lent, the head can pass it at once.
  void lend(const Slot& slot, bool admitted) {
    const uint32_t version = admitted ? ip_version(slot.data, slot.size) : 0;
    Packet* const packet = version != 0 ? host_.wrap(slot.data, slot.size, version) : nullptr;
    typename Host::SpinHold locked(lock_);
    if (packet != nullptr) {
      InFlight<Packet>& flight = host_.in_flight(*packet);
      flight.end = slot.end;
      flight.finished = 0;
      lent_.push(*packet);
      traffic_.count(slot.size);
      return;
    }
    traffic_.drops.add(1);
    if (!lent_.is_empty()) {
      host_.in_flight(*lent_.last()).end = slot.end;
    } else {
      consumer_.release(slot.end);
    }
  }

  Host& host_;
  State<Host>& state_;
  typename Host::SpinLock lock_;  // covers everything below
  Consumer consumer_;
  FlightQueue<Host> lent_;
  Traffic traffic_;
};

template <WritingHost Host>
class ToNetworkWriter {
 public:
  ToNetworkWriter(Host& host, State<Host>& state) : host_(host), state_(state) {}

  // While disconnected.
  void attach(Ring* ring, uint32_t capacity) { consumer_ = Consumer(ring, capacity); }

  // One burst, as ToNetwork::drain. What the host refuses is dropped and counted, never tried again.
  [[nodiscard]] DrainStatus drain() {
    typename Host::SharedHold hold(state_.lock(Direction::to_network));
    const Outcome admission = state_.admission();
    if (admission == Outcome::disconnected) return DrainStatus::ended;
    const bool admitted = admission == Outcome::delivered;
    for (uint32_t moved = 0; moved < kBurst; ++moved) {
      Slot slot;
      const RingStatus status = consumer_.next(slot);
      if (status == RingStatus::empty) return moved > 0 ? DrainStatus::ok : DrainStatus::nothing;
      if (status != RingStatus::ok) return finish();
      const WriteStatus written = admitted ? write(slot) : WriteStatus::refused;
      consumer_.release(slot.end);
      if (written == WriteStatus::ok) {
        traffic_.count(slot.size);
      } else {
        traffic_.drops.add(1);
      }
      if (written == WriteStatus::gone) return finish();
    }
    return DrainStatus::ok;
  }

  // After a Producer::rewind() of a program in this process, under the lock that drain() is called with.
  void rewind() {
    typename Host::SharedHold hold(state_.lock(Direction::to_network));
    if (state_.admission() != Outcome::disconnected) consumer_.rewind();  // else the ring has ended
  }

  // After the barrier nothing is in flight.
  void clear() {}

  // After a disconnect: tells the program. It is the last touch of the ring.
  void end() { consumer_.end(); }

  Consumer& consumer() { return consumer_; }
  const Traffic& traffic() const { return traffic_; }

 private:
  DrainStatus finish() {
    consumer_.end();
    return DrainStatus::ended;
  }

  WriteStatus write(const Slot& slot) {
    const uint32_t version = ip_version(slot.data, slot.size);
    return version != 0 ? host_.write(slot.data, slot.size, version) : WriteStatus::refused;
  }

  Host& host_;
  State<Host>& state_;
  Consumer consumer_;
  Traffic traffic_;
};

// The thread of a host that has one: drain, look again for a bounded while, then sleep until the program sets the
// event (pair W in ring/atomics.h). Returns when the ring or the thread has ended.
template <ThreadHost Host, class Queue>
void serve(Host& host, Queue& queue) {
  for (uint32_t spins = 0;;) {
    const DrainStatus status = queue.drain();
    if (status == DrainStatus::ended) return;
    if (status == DrainStatus::ok) {
      spins = 0;
      continue;
    }
    if (spins++ < Host::kSpins) {
      host.relax();
      continue;
    }
    spins = 0;
    const bool go_on = !queue.consumer().prepare_to_wait() || host.wait_for_program();
    queue.consumer().finish_wait();
    if (!go_on) return;
  }
}

}  // namespace wintun
