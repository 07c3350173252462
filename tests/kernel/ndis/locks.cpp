// NDIS_RW_LOCK_EX: many readers or one writer, at DISPATCH_LEVEL, spinning. A waiting writer keeps new readers out,
// so a reader that comes twice would wait for itself; that is a violation at the first time, whether a writer waits
// or not. Public pages: NdisAllocateRWLock, NdisAcquireRWLockRead, NdisAcquireRWLockWrite, NdisReleaseRWLock.
#include <atomic>
#include <thread>

#include "tests/kernel/ndis/ndis.hpp"
#include "tests/kernel/nt/level.hpp"

struct _NDIS_RW_LOCK_EX {
  std::atomic<int> readers{0};
  std::atomic<bool> writer{false};
  NDIS_HANDLE owner = nullptr;
};

namespace wintun::kernel {
namespace {

constexpr UCHAR kAtDispatch = 1;
constexpr UCHAR kRead = 1;
constexpr UCHAR kWrite = 2;
constexpr const char* kName = "reader-writer lock";

Owned<_NDIS_RW_LOCK_EX>& locks() {
  static auto* const one = new Owned<_NDIS_RW_LOCK_EX>(Kind::rw_lock, kName);
  return *one;
}

bool is_lock(PNDIS_RW_LOCK_EX lock, const char* function) {
  if (lock != nullptr && is_out(Kind::rw_lock, lock)) return true;
  violation(std::string(function) + " of what is no lock, or was freed");
  return false;
}

bool raise(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state, UCHAR flags, const char* function) {
  require_irql_at_most(DISPATCH_LEVEL, function);
  if (!is_lock(lock, function)) return false;
  if ((flags & kAtDispatch) != 0 && this_level().irql != DISPATCH_LEVEL) {
    violation(std::string(function) + " says DISPATCH_LEVEL and is below it");
  }
  state->OldIrql = this_level().irql;
  state->Flags = flags;
  this_level().irql = DISPATCH_LEVEL;
  lock_wanted(lock, kName, function);
  return true;
}

}  // namespace

void forget_rw_locks(NDIS_HANDLE owner, const char* when) { locks().forget(owner, when); }

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

PNDIS_RW_LOCK_EX NTAPI NdisAllocateRWLock(NDIS_HANDLE owner) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (should_fail(__func__)) return nullptr;
  auto* const lock = new _NDIS_RW_LOCK_EX;
  lock->owner = owner;
  take(Kind::rw_lock, lock, __func__);
  locks().add(lock);
  return lock;
}

VOID NTAPI NdisFreeRWLock(PNDIS_RW_LOCK_EX lock) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_lock(lock, __func__)) return;
  if (lock->readers != 0 || lock->writer) violation("NdisFreeRWLock of a lock that is held");
  give_back(Kind::rw_lock, lock);
  forget_lock(lock);
  locks().free(lock);
}

VOID NTAPI NdisAcquireRWLockRead(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state, UCHAR flags) {
  if (!raise(lock, state, flags, __func__)) return;
  for (;;) {
    while (lock->writer) std::this_thread::yield();
    ++lock->readers;
    if (!lock->writer) break;
    --lock->readers;
  }
  state->LockState = kRead;
  lock_taken(lock, kName, true);
}

VOID NTAPI NdisAcquireRWLockWrite(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state, UCHAR flags) {
  if (!raise(lock, state, flags, __func__)) return;
  for (bool free = false; !lock->writer.compare_exchange_weak(free, true); free = false) std::this_thread::yield();
  while (lock->readers != 0) std::this_thread::yield();
  state->LockState = kWrite;
  lock_taken(lock, kName, false);
}

VOID NTAPI NdisReleaseRWLock(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state) {
  if (!is_lock(lock, __func__) || !lock_left(lock, __func__)) return;
  if (state->LockState == kRead) {
    --lock->readers;
  } else {
    lock->writer = false;
  }
  state->LockState = 0;
  if ((state->Flags & kAtDispatch) == 0) lower_irql(state->OldIrql);
}

}  // extern "C"
