// What NT and NDIS offer to driver/core. One for an adapter; core calls it at the levels that docs/driver.md lists.
// A packet is 16 bytes of a buffer's MiniportReserved, which belong to the miniport while it has the buffer: of a
// NET_BUFFER on the way to the program, of a NET_BUFFER_LIST on the way to the network (packets.cpp).
#pragma once

#include "driver/core/to_network.hpp"
#include "driver/core/to_user.hpp"
#include "driver/ndis/nt.hpp"

namespace wintun {

class Bundles;

// What stays where it was made: it owns something, or holds it for a scope.
struct Unique {
  Unique() = default;
  Unique(const Unique&) = delete;
  Unique& operator=(const Unique&) = delete;
};

// A session's ring, in memory that stays mapped while it lasts, and the event that the other end hears or sets.
struct MappedRing {
  Ring* ring;
  uint32_t capacity;
  PMDL mdl;  // all of the ring: packets to the network are lent out of it
  PKEVENT moved;
};
struct Rings {
  MappedRing to_user, to_network;
  Bundles* bundles;  // whose memory it is, and who hears of packets to the program; null with a program's own rings
};

class Host : Unique {
 public:
  struct TransitionLock {
    bool allocate(NDIS_HANDLE owner) { return (lock = NdisAllocateRWLock(owner)) != nullptr; }
    void free() {
      if (lock != nullptr) NdisFreeRWLock(lock);
    }
    PNDIS_RW_LOCK_EX lock = nullptr;
  };

  // Raises to DISPATCH_LEVEL, as SpinHold does.
  template <auto kAcquire>
  struct TransitionHold : Unique {
    explicit TransitionHold(TransitionLock& transition) : lock(transition.lock) { kAcquire(lock, &state, 0); }
    ~TransitionHold() { NdisReleaseRWLock(lock, &state); }
    PNDIS_RW_LOCK_EX lock;
    LOCK_STATE_EX state;
  };
  using SharedHold = TransitionHold<NdisAcquireRWLockRead>;
  using ExclusiveHold = TransitionHold<NdisAcquireRWLockWrite>;

  struct SpinLock {
    KSPIN_LOCK lock = 0;  // what KeInitializeSpinLock stores
  };
  struct SpinHold : Unique {
    explicit SpinHold(SpinLock& spin) : lock(spin.lock), before(KeAcquireSpinLockRaiseToDpc(&spin.lock)) {}
    ~SpinHold() { KeReleaseSpinLock(&lock, before); }
    KSPIN_LOCK& lock;
    KIRQL before;
  };

  struct Packet {
    InFlight<Packet> flight;
  };
  static_assert(sizeof(Packet) == 2 * sizeof(PVOID));

  static Packet& packet_of(NET_BUFFER& buffer) { return *reinterpret_cast<Packet*>(buffer.MiniportReserved); }
  static Packet& packet_of(NET_BUFFER_LIST& list) { return *reinterpret_cast<Packet*>(list.MiniportReserved); }
  static NET_BUFFER& buffer_of(Packet& packet) {
    return *CONTAINING_RECORD(reinterpret_cast<PVOID*>(&packet), NET_BUFFER, MiniportReserved);
  }
  static NET_BUFFER_LIST& list_of(Packet& packet) {
    return *CONTAINING_RECORD(reinterpret_cast<PVOID*>(&packet), NET_BUFFER_LIST, MiniportReserved);
  }

  InFlight<Packet>& in_flight(Packet& packet) { return packet.flight; }
  void let_others_run();

  // To the program. DISPATCH_LEVEL or below.
  uint32_t size(Packet& packet) { return buffer_of(packet).DataLength; }
  void copy(Packet& packet, uint8_t* into);
  void complete(Packet& packet, Outcome outcome);
  void complete(Packet& packet, NDIS_STATUS status);
  void wake_program();

  // To the network. wrap and indicate at DISPATCH_LEVEL, under the shared lock, by the thread alone.
  Packet* wrap(uint8_t* data, uint32_t size, uint32_t version);
  void indicate();
  void unwrap(Packet& packet) { NdisFreeNetBufferList(&list_of(packet)); }

  // The thread. PASSIVE_LEVEL.
  static constexpr uint32_t kSpins = 2000;
  void relax() { YieldProcessor(); }
  bool wait_for_program();

  NDIS_HANDLE adapter = nullptr;  // as NDIS names it
  NDIS_HANDLE pool = nullptr;     // of the lists that wrap() makes
  Rings rings = {};               // written while disconnected
  KEVENT stop;                    // the thread shall end
  // Drops that core does not see, from any thread: sends that could not be mapped, packets that no bundle can hold
  // (bundles.cpp), and packets in written bundles that found their ring full.
  void count_drop(Direction direction) {
    __atomic_fetch_add(&drops_[static_cast<uint32_t>(direction)], 1, __ATOMIC_RELAXED);
  }
  uint64_t drops(Direction direction) const {
    return __atomic_load_n(&drops_[static_cast<uint32_t>(direction)], __ATOMIC_RELAXED);
  }

 private:
  PNET_BUFFER_LIST first_wrapped_ = nullptr;
  PNET_BUFFER_LIST last_wrapped_ = nullptr;
  ULONG wrapped_ = 0;
  uint64_t drops_[2] = {};
};
static_assert(GivingHost<Host> && LendingHost<Host> && ThreadHost<Host>);

}  // namespace wintun
