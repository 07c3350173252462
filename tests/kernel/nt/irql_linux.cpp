// What the published headers define inline on Windows and as functions here: so these exist on Linux only.
#include "tests/kernel/nt/objects.hpp"

extern "C" {

KIRQL KeGetCurrentIrql(void) { return wintun::kernel::this_level().irql; }

KIRQL KfRaiseIrql(KIRQL irql) { return wintun::kernel::raise_irql(irql); }

void KeLowerIrql(KIRQL irql) { wintun::kernel::lower_irql(irql); }

void wdk_paged_code(const char* function) { wintun::kernel::require_irql_at_most(APC_LEVEL, function); }

void KeInitializeSpinLock(PKSPIN_LOCK lock) {
  wintun::kernel::forget_lock(lock);
  __atomic_store_n(lock, ULONG_PTR{0}, __ATOMIC_RELEASE);
}

}  // extern "C"
