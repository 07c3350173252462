// Packets from a stack into the program's ring. Freestanding.
// ToUser takes packets of a known size from any number of threads at once (also at raised IRQL): room is reserved
// in order under a short lock, the copies run outside of it side by side, the tail moves over the finished prefix
// only, and the host gets its packets back in the order in which they were given.
// ToUserReader is for one caller that learns a packet's size by reading it, straight into the ring.
#pragma once

#include "driver/core/state.hpp"
#include "ring/producer.hpp"

namespace wintun {

template <GivingHost Host>
class ToUser {
 public:
  using Packet = typename Host::Packet;
  ToUser(Host& host, State<Host>& state) : host_(host), state_(state), copying_(host), done_(host) {}

  // While disconnected.
  void attach(Ring* ring, uint32_t capacity) { producer_ = Producer(ring, capacity); }

  // A chain linked by InFlight::next. Each packet is completed exactly once, during this call or, when an earlier
  // one is still being copied, by the caller that finishes that one. False: the program has ended its ring.
  bool give(Packet* chain) {
    FlightQueue<Host> refused(host_);
    Outcome why = Outcome::delivered;
    {
      typename Host::SharedHold hold(state_.lock(Direction::to_user));
      Packet* first = nullptr;
      Packet* last = nullptr;
      why = reserve(chain, first, last, refused);
      if (first != nullptr) fill(*first, *last);
    }
    // Outside of the hold, since a stack may send its next packet from inside complete().
    for (Packet* packet = refused.take(); packet != nullptr;) {
      Packet& dropped = *packet;
      packet = host_.in_flight(dropped).next;
      host_.complete(dropped, host_.size(dropped) > kMaxPacketSize ? Outcome::too_large : why);
    }
    complete_done();
    return why != Outcome::ended;
  }

  // After the barrier nobody copies any more; what is left is the calls to complete() in other threads.
  void clear() {
    while (!is_empty()) host_.let_others_run();
  }

  bool is_empty() {
    typename Host::SpinHold locked(lock_);
    return copying_.is_empty() && done_.is_empty() && !completing_;
  }

  // After a disconnect: tells the program. It is the last touch of the ring.
  void end() {
    producer_.end();
    host_.wake_program();
  }

  const Traffic& traffic() const { return traffic_; }

 private:
  // Room for as much of the chain as there is, in its order; the newest refusal's reason.
  Outcome reserve(Packet* chain, Packet*& first, Packet*& last, FlightQueue<Host>& refused) {
    Outcome why = state_.admission();
    const bool admitted = why == Outcome::delivered;
    typename Host::SpinHold locked(lock_);
    while (chain != nullptr) {
      Packet& packet = *chain;
      InFlight<Packet>& flight = host_.in_flight(packet);
      chain = flight.next;
      Slot slot;
      const RingStatus status = admitted ? producer_.reserve(host_.size(packet), slot) : RingStatus::full;
      if (status == RingStatus::ok) {
        flight.end = slot.end;
        flight.finished = 0;
        copying_.push(packet);
        if (first == nullptr) first = &packet;
        last = &packet;
        continue;
      }
      if (status == RingStatus::ended || status == RingStatus::corrupt) why = Outcome::ended;
      if (status == RingStatus::full && why == Outcome::delivered) why = Outcome::no_room;
      traffic_.drops.add(1);
      refused.push(packet);
    }
    return why;
  }

  // The packets from first to last are this caller's; nobody moves them before they are marked.
  void fill(Packet& first, Packet& last) {
    for (Packet* packet = &first;; packet = host_.in_flight(*packet).next) {
      const uint32_t size = host_.size(*packet);
      const uint32_t begin = wrap(host_.in_flight(*packet).end - slot_bytes(size), producer_.capacity());
      host_.copy(*packet, ring_data(producer_.ring()) + begin + kSizeBytes);
      if (packet == &last) break;
    }
    bool moved = false;
    {
      typename Host::SpinHold locked(lock_);
      for (Packet* packet = &first;; packet = host_.in_flight(*packet).next) {
        host_.in_flight(*packet).finished = 1;
        traffic_.count(host_.size(*packet));
        if (packet == &last) break;
      }
      uint32_t end = 0;
      moved = copying_.pop_finished(done_, end);
      if (moved) (void)producer_.publish(end);  // the program's event is set on every move, alertable or not
    }
    if (moved) host_.wake_program();
  }

  // One thread at a time completes, so that the order holds without a lock around the host's function.
  void complete_done() {
    for (bool mine = false;; mine = true) {
      Packet* chain = nullptr;
      {
        typename Host::SpinHold locked(lock_);
        if (completing_ && !mine) return;
        chain = done_.take();
        completing_ = chain != nullptr;
      }
      if (chain == nullptr) return;
      while (chain != nullptr) {
        Packet& packet = *chain;
        chain = host_.in_flight(packet).next;
        host_.complete(packet, Outcome::delivered);
      }
    }
  }

  Host& host_;
  State<Host>& state_;
  typename Host::SpinLock lock_;  // covers everything below
  Producer producer_;
  FlightQueue<Host> copying_;  // reserved, in the order of the ring
  FlightQueue<Host> done_;     // published, to be completed
  bool completing_ = false;    // a thread is calling complete()
  Traffic traffic_;
};

enum class FillStatus {
  ok,       // at least one packet
  nothing,  // the host has none
  full,     // no room for a packet of any size: what the host has stays there
  stopped,  // the state does not admit it
  ended,    // the program has ended its ring, or the host's source is gone
};

template <ReadingHost Host>
class ToUserReader {
 public:
  ToUserReader(Host& host, State<Host>& state) : host_(host), state_(state) {}

  // While disconnected.
  void attach(Ring* ring, uint32_t capacity) { producer_ = Producer(ring, capacity); }

  // At most `limit` packets, one read each. A host whose read brings a burst will reserve and publish several slots
  // a read here; callers see no difference, since what they do not take stays in the ring.
  // One caller at a time: the lock is only against transitions.
  [[nodiscard]] FillStatus fill(uint32_t limit) {
    typename Host::SharedHold hold(state_.lock(Direction::to_user));
    if (state_.admission() != Outcome::delivered) return FillStatus::stopped;
    for (uint32_t moved = 0; moved < limit; ++moved) {
      const FillStatus status = fill_one();
      if (status == FillStatus::ok) continue;
      if (moved > 0) return FillStatus::ok;              // an end now would hide what has just come
      if (status == FillStatus::ended) producer_.end();  // also when the host is gone: the program learns it here
      return status;
    }
    return FillStatus::ok;
  }

  // For a program in this process that shares the lock of fill(): its Consumer::rewind() follows when it is true.
  [[nodiscard]] bool rewind() {
    typename Host::SharedHold hold(state_.lock(Direction::to_user));
    return state_.admission() == Outcome::delivered && producer_.rewind();
  }

  // After the barrier nothing is in flight.
  void clear() {}

  // After a disconnect: tells the program, whose event the caller sets. It is the last touch of the ring.
  void end() { producer_.end(); }

  Traffic& traffic() { return traffic_; }
  const Traffic& traffic() const { return traffic_; }

 private:
  FillStatus fill_one() {
    Slot slot;
    const RingStatus status = producer_.reserve(kMaxPacketSize, slot);
    if (status == RingStatus::full) return FillStatus::full;
    if (status != RingStatus::ok) return FillStatus::ended;
    const ReadResult got = host_.read(slot.data, kMaxPacketSize);
    if (got.status != ReadStatus::ok) {
      producer_.abandon(slot);
      return got.status == ReadStatus::nothing ? FillStatus::nothing : FillStatus::ended;
    }
    producer_.shrink(slot, got.size);
    traffic_.count(got.size);
    (void)producer_.publish(slot.end);  // the caller is the one who would be woken
    return FillStatus::ok;
  }

  Host& host_;
  State<Host>& state_;
  Producer producer_;
  Traffic traffic_;
};

}  // namespace wintun
