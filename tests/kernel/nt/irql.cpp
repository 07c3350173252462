// Spin locks, which raise the IRQL. A spin lock is a word: 0 is free. It is taken by a
// real exchange, so that ThreadSanitizer sees what it orders; a waiter yields, since there is no more than the
// threads of this process to run on.
#include <string>
#include <thread>

#include "tests/kernel/nt/checker.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {

namespace {

void acquire(PKSPIN_LOCK lock, const char* function) {
  lock_wanted(lock, "spin lock", function);
  ULONG_PTR unlocked = 0;
  while (!__atomic_compare_exchange_n(lock, &unlocked, ULONG_PTR{1}, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    unlocked = 0;
    std::this_thread::yield();
  }
  lock_taken(lock, "spin lock", false);
}

void release(PKSPIN_LOCK lock, const char* function) {
  if (!lock_left(lock, function)) return;
  __atomic_store_n(lock, ULONG_PTR{0}, __ATOMIC_RELEASE);
}

}  // namespace
}  // namespace wintun::kernel

using wintun::kernel::require_irql_at_most;
using wintun::kernel::this_level;
using wintun::kernel::violation;

extern "C" {

KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK lock) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  const KIRQL before = this_level().irql;
  this_level().irql = DISPATCH_LEVEL;
  wintun::kernel::acquire(lock, __func__);
  return before;
}

VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL irql) {
  if (this_level().irql != DISPATCH_LEVEL) violation("KeReleaseSpinLock below or above DISPATCH_LEVEL");
  wintun::kernel::release(lock, __func__);
  wintun::kernel::lower_irql(irql);
}

VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK lock) {
  if (this_level().irql < DISPATCH_LEVEL) violation("KeAcquireSpinLockAtDpcLevel below DISPATCH_LEVEL");
  wintun::kernel::acquire(lock, __func__);
}

VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK lock) {
  if (this_level().irql < DISPATCH_LEVEL) violation("KeReleaseSpinLockFromDpcLevel below DISPATCH_LEVEL");
  wintun::kernel::release(lock, __func__);
}

}  // extern "C"
