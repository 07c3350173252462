// What NT and NDIS offer to driver/core. One for an adapter; core calls it at the levels that docs/driver.md lists.
// A packet is 16 bytes of a buffer's MiniportReserved, which belong to the miniport while it has the buffer: of a
// NET_BUFFER on the way to the program, of a NET_BUFFER_LIST on the way to the network.
// send.cpp and receive.cpp have the functions of their direction, adapter.cpp those of the whole.
#pragma once

#include "driver/core/to_network.hpp"
#include "driver/core/to_user.hpp"
#include "driver/ndis/nt.hpp"

namespace wintun {

class Bundles;

// The two rings of the device's owner, in memory that stays mapped while it is connected.
struct Rings {
  Ring* to_user;
  Ring* to_network;
  uint32_t to_user_capacity;
  uint32_t to_network_capacity;
  PMDL to_network_mdl;    // all of that ring: packets are lent out of it
  PKEVENT to_user_moved;  // null with bundles
  PKEVENT to_network_moved;
  Bundles* bundles;  // null with a program's own rings
};

class Host {
 public:
  class TransitionLock {
   public:
    TransitionLock() = default;
    ~TransitionLock() {
      if (lock_ != nullptr) NdisFreeRWLock(lock_);
    }
    TransitionLock(const TransitionLock&) = delete;
    TransitionLock& operator=(const TransitionLock&) = delete;
    bool allocate(NDIS_HANDLE owner) { return (lock_ = NdisAllocateRWLock(owner)) != nullptr; }

   private:
    friend class SharedHold;
    friend class ExclusiveHold;
    friend class Host;
    PNDIS_RW_LOCK_EX lock_ = nullptr;
  };

  // Both raise to DISPATCH_LEVEL.
  class SharedHold {
   public:
    explicit SharedHold(TransitionLock& lock) : lock_(lock.lock_) { NdisAcquireRWLockRead(lock_, &state_, 0); }
    ~SharedHold() { NdisReleaseRWLock(lock_, &state_); }
    SharedHold(const SharedHold&) = delete;
    SharedHold& operator=(const SharedHold&) = delete;

   private:
    PNDIS_RW_LOCK_EX lock_;
    LOCK_STATE_EX state_;
  };
  class ExclusiveHold {
   public:
    explicit ExclusiveHold(TransitionLock& lock) : lock_(lock.lock_) { NdisAcquireRWLockWrite(lock_, &state_, 0); }
    ~ExclusiveHold() { NdisReleaseRWLock(lock_, &state_); }
    ExclusiveHold(const ExclusiveHold&) = delete;
    ExclusiveHold& operator=(const ExclusiveHold&) = delete;

   private:
    PNDIS_RW_LOCK_EX lock_;
    LOCK_STATE_EX state_;
  };

  struct SpinLock {
    KSPIN_LOCK lock = 0;  // what KeInitializeSpinLock stores
  };
  class SpinHold {
   public:
    explicit SpinHold(SpinLock& lock) : lock_(lock.lock), before_(KeAcquireSpinLockRaiseToDpc(&lock.lock)) {}
    ~SpinHold() { KeReleaseSpinLock(&lock_, before_); }
    SpinHold(const SpinHold&) = delete;
    SpinHold& operator=(const SpinHold&) = delete;

   private:
    KSPIN_LOCK& lock_;
    KIRQL before_;
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

  // To the program (send.cpp). DISPATCH_LEVEL or below.
  uint32_t size(Packet& packet) { return buffer_of(packet).DataLength; }
  void copy(Packet& packet, uint8_t* into);
  void complete(Packet& packet, Outcome outcome) { complete(packet, status_of(outcome)); }
  void complete(Packet& packet, NDIS_STATUS status);
  void wake_program();

  // To the network (receive.cpp). wrap and indicate at DISPATCH_LEVEL, under the shared lock, by the thread alone.
  Packet* wrap(uint8_t* data, uint32_t size, uint32_t version);
  void indicate();
  void unwrap(Packet& packet) { NdisFreeNetBufferList(&list_of(packet)); }

  // The thread. PASSIVE_LEVEL.
  static constexpr uint32_t kSpins = 2000;
  void relax() { YieldProcessor(); }
  bool wait_for_program();

  NDIS_HANDLE adapter = nullptr;  // as NDIS names it
  NDIS_HANDLE pool = nullptr;     // of the lists that receive.cpp makes
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
  static NDIS_STATUS status_of(Outcome outcome);

  PNET_BUFFER_LIST first_wrapped_ = nullptr;
  PNET_BUFFER_LIST last_wrapped_ = nullptr;
  ULONG wrapped_ = 0;
  uint64_t drops_[2] = {};
};
static_assert(GivingHost<Host> && LendingHost<Host> && ThreadHost<Host>);

}  // namespace wintun
