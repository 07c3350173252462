// What a kernel must offer so that driver/core can run in it. Freestanding; no virtual call, no allocation, no log.
// A host is a class of driver/linux, driver/embedded or driver/ndis; core is a template over it and holds a
// reference. Every class of core needs the locks; beyond them a host offers only what the classes that it uses ask
// for:
//   State             the states that packets may move in            TransitionLock
//   ToUser            packets of a known size, from any thread       GivingHost    (ndis, embedded)
//   ToUserReader      one caller that reads straight into the ring   ReadingHost   (linux)
//   ToNetwork         packets that the host returns when it likes    LendingHost   (ndis)
//   ToNetworkWriter   packets that the host is done with at once     WritingHost   (linux, embedded)
//   serve()           the thread of a host that has one              ThreadHost    (ndis)
// docs/driver.md says how to add one, and at which IRQL each of these is called.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wintun {

template <class A, class B>
inline constexpr bool kIsSame = false;
template <class A>
inline constexpr bool kIsSame<A, A> = true;
template <class T, class Wanted>
concept Gives = kIsSame<T, Wanted>;

enum class Direction : uint32_t { to_user, to_network };

// What became of a packet. All but `delivered` are drops, counted by core.
enum class Outcome : uint32_t { delivered, no_room, too_large, ended, paused, disconnected, asleep };

// What core remembers of a packet in flight; the host has room for one in each of its packets (two pointers' size
// on 64 bits). It is the driver's own memory: marks in the ring could be written by the program.
template <class Packet>
struct InFlight {
  Packet* next = nullptr;  // to_user: the host links a chain by it before give()
  uint32_t end = 0;        // the offset behind the packet in its ring
  uint32_t finished = 0;   // copied (to_user), or returned by the host (to_network)
};

// Locks come with the types that hold them for a scope, made from the lock: such a type keeps what unlocking needs
// (an IRQL, a lock state). A TransitionLock is held by SharedHold and ExclusiveHold, a SpinLock by SpinHold.
template <class H>
concept TransitionHost = requires(typename H::TransitionLock lock) {
  (typename H::SharedHold(lock));
  (typename H::ExclusiveHold(lock));
};
template <class H>
concept SpinningHost = TransitionHost<H> && requires(typename H::SpinLock lock) {
  (typename H::SpinHold(lock));
};

template <class H>
concept GivingHost = SpinningHost<H> && requires(H host, typename H::Packet& packet, uint8_t* into) {
  { host.in_flight(packet) } -> Gives<InFlight<typename H::Packet>&>;
  { host.size(packet) } -> Gives<uint32_t>;  // the same at every call
  host.copy(packet, into);                   // size() bytes
  host.complete(packet, Outcome{});          // the packet is the host's again; may call give()
  host.wake_program();                       // sets the event of the to_user ring
  host.let_others_run();                     // only where threads may wait: a transition is waiting for callers
};

enum class ReadStatus { ok, nothing, gone };
struct ReadResult {
  ReadStatus status;
  uint32_t size;
};

template <class H>
concept ReadingHost = TransitionHost<H> && requires(H host, uint8_t* into, uint32_t room) {
  { host.read(into, room) } -> Gives<ReadResult>;  // one packet of at most `room` bytes; never waits
};

template <class H>
concept LendingHost = SpinningHost<H> &&
    requires(H host, typename H::Packet& packet, uint8_t* data, uint32_t size, uint32_t version) {
  { host.in_flight(packet) } -> Gives<InFlight<typename H::Packet>&>;
  { host.wrap(data, size, version) } -> Gives<typename H::Packet*>;  // null: no memory, the packet is dropped
  host.indicate();        // hands the stack all that was wrapped since the last call; it may return them inside
  host.unwrap(packet);    // the last that core does with it
  host.let_others_run();  // as in GivingHost
};

enum class WriteStatus { ok, refused, gone };

template <class H>
concept WritingHost = TransitionHost<H> && requires(H host, const uint8_t* data, uint32_t size, uint32_t version) {
  { host.write(data, size, version) } -> Gives<WriteStatus>;  // done with `data` when it returns; never waits
};

template <class H>
concept ThreadHost = requires(H host) {
  { H::kSpins } -> Gives<const uint32_t&>;     // how often to look again before the thread sleeps
  host.relax();                                // between two looks
  { host.wait_for_program() } -> Gives<bool>;  // the event of the to_network ring; false: the thread shall end
};

// What moved in one direction. One thread at a time counts, whoever has the ring's end; any thread may read.
class Counter {
 public:
  void add(uint64_t more) { __atomic_store_n(&value_, value() + more, __ATOMIC_RELAXED); }
  uint64_t value() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }

 private:
  uint64_t value_ = 0;
};

struct Traffic {
  Counter packets, bytes, drops;
  void count(uint32_t size) {
    packets.add(1);
    bytes.add(size);
  }
};

// Packets in the order of the ring, linked through their InFlight. The caller's lock covers each call.
template <class Host>
class FlightQueue {
 public:
  using Packet = typename Host::Packet;
  explicit FlightQueue(Host& host) : host_(host) {}

  bool is_empty() const { return first_ == nullptr; }
  Packet* first() const { return first_; }
  Packet* last() const { return last_; }

  void push(Packet& packet) {
    host_.in_flight(packet).next = nullptr;
    if (first_ == nullptr) {
      first_ = &packet;
    } else {
      host_.in_flight(*last_).next = &packet;
    }
    last_ = &packet;
  }

  Packet& pop() {
    Packet& packet = *first_;
    first_ = host_.in_flight(packet).next;
    return packet;
  }

  // Moves the finished prefix to the end of `done`; false if there is none. `end`: the offset behind it.
  bool pop_finished(FlightQueue& done, uint32_t& end) {
    bool any = false;
    while (first_ != nullptr && host_.in_flight(*first_).finished != 0) {
      end = host_.in_flight(*first_).end;
      done.push(pop());
      any = true;
    }
    return any;
  }

  // All of it, as a chain.
  Packet* take() {
    Packet* const chain = first_;
    first_ = nullptr;
    return chain;
  }

 private:
  Host& host_;
  Packet* first_ = nullptr;
  Packet* last_ = nullptr;
};

}  // namespace wintun
