// IRQL, one for each thread, and the spin locks that raise it. A spin lock is a word: 0 is free. It is taken by a
// real exchange, so that ThreadSanitizer sees what it orders; a waiter yields, since there is no more than the
// threads of this process to run on.
#include <string>
#include <thread>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {

void require_irql_at_most(unsigned most, const char* function) {
  const KIRQL irql = current_thread().irql;
  if (irql <= most) return;
  violation(std::string(function) + " called at IRQL " + std::to_string(irql) + ", at most " + std::to_string(most) +
            " is allowed");
}

void require_may_wait(const char* function) {
  require_irql_at_most(APC_LEVEL, function);
  for (const HeldLock& held : current_thread().held) {
    violation(std::string(function) + " may wait while a " + held.kind + " is held");
  }
}

KIRQL raise_irql(KIRQL irql) {
  KIRQL& now = current_thread().irql;
  const KIRQL before = now;
  if (irql < before) violation("KeRaiseIrql to " + std::to_string(irql) + " from " + std::to_string(before));
  now = irql;
  return before;
}

void lower_irql(KIRQL irql) {
  KIRQL& now = current_thread().irql;
  if (irql > now) violation("KeLowerIrql to " + std::to_string(irql) + " from " + std::to_string(now));
  if (irql < DISPATCH_LEVEL && !current_thread().held.empty()) {
    violation(std::string("KeLowerIrql while a ") + current_thread().held.back().kind + " is held");
  }
  now = irql;
}

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

using wintun::kernel::current_thread;
using wintun::kernel::require_irql_at_most;
using wintun::kernel::violation;

extern "C" {

KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK lock) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  const KIRQL before = current_thread().irql;
  current_thread().irql = DISPATCH_LEVEL;
  wintun::kernel::acquire(lock, __func__);
  return before;
}

VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL irql) {
  if (current_thread().irql != DISPATCH_LEVEL) violation("KeReleaseSpinLock below or above DISPATCH_LEVEL");
  wintun::kernel::release(lock, __func__);
  wintun::kernel::lower_irql(irql);
}

VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK lock) {
  if (current_thread().irql < DISPATCH_LEVEL) violation("KeAcquireSpinLockAtDpcLevel below DISPATCH_LEVEL");
  wintun::kernel::acquire(lock, __func__);
}

VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK lock) {
  if (current_thread().irql < DISPATCH_LEVEL) violation("KeReleaseSpinLockFromDpcLevel below DISPATCH_LEVEL");
  wintun::kernel::release(lock, __func__);
}

}  // extern "C"
