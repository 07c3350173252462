// Rundown protection: a count of users that can be closed for good. Bit 0: closed; above it, the users.
#include <condition_variable>
#include <mutex>

#include "tests/kernel/nt/objects.hpp"

using namespace wintun::kernel;

namespace {

constexpr ULONG_PTR kClosed = 1;
constexpr ULONG_PTR kReference = 2;

struct Left {
  std::mutex lock;
  std::condition_variable changed;
};
Left& left() {
  static Left* const one = new Left;
  return *one;
}

}  // namespace

extern "C" {

VOID FASTCALL ExInitializeRundownProtection(PEX_RUNDOWN_REF rundown) {
  __atomic_store_n(&rundown->Count, ULONG_PTR{0}, __ATOMIC_RELEASE);
}

BOOLEAN FASTCALL ExAcquireRundownProtection(PEX_RUNDOWN_REF rundown) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  ULONG_PTR count = __atomic_load_n(&rundown->Count, __ATOMIC_ACQUIRE);
  while ((count & kClosed) == 0) {
    if (__atomic_compare_exchange_n(&rundown->Count, &count, count + kReference, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
      take(Kind::rundown, rundown, __func__);
      return TRUE;
    }
  }
  return FALSE;
}

VOID FASTCALL ExReleaseRundownProtection(PEX_RUNDOWN_REF rundown) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!give_back(Kind::rundown, rundown)) {
    violation("ExReleaseRundownProtection without ExAcquireRundownProtection");
    return;
  }
  // Under the lock, so that the memory is the waiter's only after this is done with it.
  const std::lock_guard locked(left().lock);
  if (__atomic_sub_fetch(&rundown->Count, kReference, __ATOMIC_ACQ_REL) == kClosed) left().changed.notify_all();
}

VOID FASTCALL ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF rundown) {
  require_may_wait(__func__);
  std::unique_lock locked(left().lock);
  __atomic_fetch_or(&rundown->Count, kClosed, __ATOMIC_ACQ_REL);
  left().changed.wait(locked, [&] { return __atomic_load_n(&rundown->Count, __ATOMIC_ACQUIRE) == kClosed; });
}

}  // extern "C"
