// Published names of the executive: pool, locks above spin locks, rundown, interlocked functions. Defined in nt/.
#pragma once

#include <wdk/ke.h>

extern "C" {

typedef enum _POOL_TYPE {
  NonPagedPool = 0,
  PagedPool = 1,
  NonPagedPoolNx = 512,
} POOL_TYPE;
typedef enum _EX_POOL_PRIORITY { LowPoolPriority, NormalPoolPriority = 16, HighPoolPriority = 32 } EX_POOL_PRIORITY;

// Pool of every kind comes back dirty, ExFreePool takes it back. Both need IRQL <= DISPATCH_LEVEL, paged <=
// APC_LEVEL.
PVOID ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T bytes, ULONG tag);
PVOID ExAllocatePool(POOL_TYPE type, SIZE_T bytes);
void ExFreePoolWithTag(PVOID memory, ULONG tag);
void ExFreePool(PVOID memory);

typedef struct _FAST_MUTEX {
  LONG Count;
  PKTHREAD Owner;
  ULONG Contention;
  KEVENT Event;
  ULONG OldIrql;
} FAST_MUTEX, *PFAST_MUTEX;
void ExInitializeFastMutex(PFAST_MUTEX mutex);
void ExAcquireFastMutex(PFAST_MUTEX mutex);
BOOLEAN ExTryToAcquireFastMutex(PFAST_MUTEX mutex);
void ExReleaseFastMutex(PFAST_MUTEX mutex);

// A count of users that can be closed for good. The bits are the kernel's.
typedef struct _EX_RUNDOWN_REF {
  union {
    ULONG_PTR Count;
    PVOID Ptr;
  };
} EX_RUNDOWN_REF, *PEX_RUNDOWN_REF;
void ExInitializeRundownProtection(PEX_RUNDOWN_REF rundown);
void ExReInitializeRundownProtection(PEX_RUNDOWN_REF rundown);
BOOLEAN ExAcquireRundownProtection(PEX_RUNDOWN_REF rundown);
void ExReleaseRundownProtection(PEX_RUNDOWN_REF rundown);
void ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF rundown);
void ExRundownCompleted(PEX_RUNDOWN_REF rundown);

[[noreturn]] void ExRaiseStatus(NTSTATUS status);
[[noreturn]] void ExRaiseAccessViolation(void);
[[noreturn]] void ExRaiseDatatypeMisalignment(void);

}  // extern "C"

inline LONG InterlockedIncrement(volatile LONG* value) { return __atomic_add_fetch(value, 1, __ATOMIC_SEQ_CST); }
inline LONG InterlockedDecrement(volatile LONG* value) { return __atomic_sub_fetch(value, 1, __ATOMIC_SEQ_CST); }
inline LONG InterlockedExchange(volatile LONG* value, LONG next) {
  return __atomic_exchange_n(value, next, __ATOMIC_SEQ_CST);
}
inline LONG InterlockedExchangeAdd(volatile LONG* value, LONG more) {
  return __atomic_fetch_add(value, more, __ATOMIC_SEQ_CST);
}
inline LONG InterlockedAdd(volatile LONG* value, LONG more) {
  return __atomic_add_fetch(value, more, __ATOMIC_SEQ_CST);
}
inline LONG InterlockedOr(volatile LONG* value, LONG bits) {
  return __atomic_fetch_or(value, bits, __ATOMIC_SEQ_CST);
}
inline LONG InterlockedAnd(volatile LONG* value, LONG bits) {
  return __atomic_fetch_and(value, bits, __ATOMIC_SEQ_CST);
}
inline LONG InterlockedCompareExchange(volatile LONG* value, LONG next, LONG expected) {
  __atomic_compare_exchange_n(value, &expected, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}
inline LONG64 InterlockedIncrement64(volatile LONG64* value) {
  return __atomic_add_fetch(value, 1, __ATOMIC_SEQ_CST);
}
inline LONG64 InterlockedDecrement64(volatile LONG64* value) {
  return __atomic_sub_fetch(value, 1, __ATOMIC_SEQ_CST);
}
inline LONG64 InterlockedAdd64(volatile LONG64* value, LONG64 more) {
  return __atomic_add_fetch(value, more, __ATOMIC_SEQ_CST);
}
inline LONG64 InterlockedExchangeAdd64(volatile LONG64* value, LONG64 more) {
  return __atomic_fetch_add(value, more, __ATOMIC_SEQ_CST);
}
inline PVOID InterlockedExchangePointer(PVOID volatile* value, PVOID next) {
  return __atomic_exchange_n(value, next, __ATOMIC_SEQ_CST);
}
inline PVOID InterlockedCompareExchangePointer(PVOID volatile* value, PVOID next, PVOID expected) {
  __atomic_compare_exchange_n(value, &expected, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}
