// Published names of the kernel's core: IRQL, dispatcher objects, waiting, spin locks, time. Defined in nt/.
#pragma once

#include <ntdef.h>

extern "C" {

typedef UCHAR KIRQL, *PKIRQL;
#define PASSIVE_LEVEL 0
#define LOW_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define HIGH_LEVEL 15

typedef CHAR KPROCESSOR_MODE;
typedef enum _MODE { KernelMode, UserMode, MaximumMode } MODE;
typedef LONG KPRIORITY;
#define LOW_PRIORITY 0
#define LOW_REALTIME_PRIORITY 16
#define HIGH_PRIORITY 31

typedef enum _EVENT_TYPE { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef enum _WAIT_TYPE { WaitAll, WaitAny } WAIT_TYPE;
typedef enum _KWAIT_REASON {
  Executive,
  FreePage,
  PageIn,
  PoolAllocation,
  DelayExecution,
  Suspended,
  UserRequest
} KWAIT_REASON;

// All that can be waited for begins with this.
typedef struct _DISPATCHER_HEADER {
  UCHAR Type;
  UCHAR Signalling;
  UCHAR Size;
  UCHAR Reserved1;
  LONG SignalState;
  LIST_ENTRY WaitListHead;
} DISPATCHER_HEADER, *PDISPATCHER_HEADER;

typedef struct _KEVENT {
  DISPATCHER_HEADER Header;
} KEVENT, *PKEVENT, *PRKEVENT;

typedef struct _KSEMAPHORE {
  DISPATCHER_HEADER Header;
  LONG Limit;
} KSEMAPHORE, *PKSEMAPHORE, *PRKSEMAPHORE;

typedef struct _KTHREAD *PKTHREAD, *PRKTHREAD;
typedef struct _ETHREAD* PETHREAD;
typedef struct _KPROCESS* PKPROCESS;
typedef struct _EPROCESS* PEPROCESS;

typedef struct _KWAIT_BLOCK {
  LIST_ENTRY WaitListEntry;
  PVOID Reserved[4];
} KWAIT_BLOCK, *PKWAIT_BLOCK;
#define THREAD_WAIT_OBJECTS 3
#define MAXIMUM_WAIT_OBJECTS 64

KIRQL KeGetCurrentIrql(void);
KIRQL KfRaiseIrql(KIRQL irql);
void KeLowerIrql(KIRQL irql);
#define KeRaiseIrql(irql, old) (*(old) = KfRaiseIrql(irql))
inline KIRQL KeRaiseIrqlToDpcLevel(void) { return KfRaiseIrql(DISPATCH_LEVEL); }
// The macro of a checked build; what it finds fails the test.
void wdk_paged_code(const char* function);
#define PAGED_CODE() wdk_paged_code(__func__)

void KeInitializeEvent(PRKEVENT event, EVENT_TYPE type, BOOLEAN state);
LONG KeSetEvent(PRKEVENT event, KPRIORITY increment, BOOLEAN wait);
LONG KeResetEvent(PRKEVENT event);
void KeClearEvent(PRKEVENT event);
LONG KeReadStateEvent(PRKEVENT event);
void KeInitializeSemaphore(PRKSEMAPHORE semaphore, LONG count, LONG limit);
LONG KeReleaseSemaphore(PRKSEMAPHORE semaphore, KPRIORITY increment, LONG adjustment, BOOLEAN wait);
NTSTATUS KeWaitForSingleObject(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode, BOOLEAN alertable,
                               PLARGE_INTEGER timeout);
NTSTATUS KeWaitForMultipleObjects(ULONG count, PVOID objects[], WAIT_TYPE type, KWAIT_REASON reason,
                                  KPROCESSOR_MODE mode, BOOLEAN alertable, PLARGE_INTEGER timeout,
                                  PKWAIT_BLOCK blocks);
NTSTATUS KeDelayExecutionThread(KPROCESSOR_MODE mode, BOOLEAN alertable, PLARGE_INTEGER interval);
BOOLEAN KeAlertThread(PKTHREAD thread, KPROCESSOR_MODE mode);
BOOLEAN KeTestAlertThread(KPROCESSOR_MODE mode);
KPRIORITY KeSetPriorityThread(PKTHREAD thread, KPRIORITY priority);
PKTHREAD KeGetCurrentThread(void);
void KeEnterCriticalRegion(void);
void KeLeaveCriticalRegion(void);
ULONG KeQueryActiveProcessorCountEx(USHORT group);
ULONG KeQueryMaximumProcessorCountEx(USHORT group);
ULONG KeGetCurrentProcessorNumberEx(PVOID number);
#define ALL_PROCESSOR_GROUPS 0xffff
ULONGLONG KeQueryInterruptTime(void);
void wdk_query_system_time(PLARGE_INTEGER now);
#define KeQuerySystemTime wdk_query_system_time
LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER frequency);
inline void KeMemoryBarrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
#if defined(__x86_64__)
inline void YieldProcessor(void) { __builtin_ia32_pause(); }
#else
inline void YieldProcessor(void) {}
#endif
[[noreturn]] void KeBugCheckEx(ULONG code, ULONG_PTR one, ULONG_PTR two, ULONG_PTR three, ULONG_PTR four);

typedef ULONG_PTR KSPIN_LOCK, *PKSPIN_LOCK;
void KeInitializeSpinLock(PKSPIN_LOCK lock);
KIRQL KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK lock);
#define KeAcquireSpinLock(lock, old) (*(old) = KeAcquireSpinLockRaiseToDpc(lock))
void KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL irql);
void KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK lock);
void KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK lock);
typedef struct _KLOCK_QUEUE_HANDLE {
  struct {
    struct _KSPIN_LOCK_QUEUE* Next;
    PKSPIN_LOCK Lock;
  } LockQueue;
  KIRQL OldIrql;
} KLOCK_QUEUE_HANDLE, *PKLOCK_QUEUE_HANDLE;
void KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK lock, PKLOCK_QUEUE_HANDLE handle);
void KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE handle);

typedef struct _KAPC_STATE {
  PVOID Saved[6];
} KAPC_STATE, *PKAPC_STATE, *PRKAPC_STATE;
void KeStackAttachProcess(PKPROCESS process, PRKAPC_STATE state);
void KeUnstackDetachProcess(PRKAPC_STATE state);

}  // extern "C"
