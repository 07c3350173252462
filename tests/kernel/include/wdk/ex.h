// Published names of the executive: pool, rundown protection and raising. Defined in nt/.
#pragma once

#include <wdk/ke.h>

extern "C" {

typedef enum _POOL_TYPE {
  NonPagedPool = 0,
  PagedPool = 1,
  NonPagedPoolNx = 512,
} POOL_TYPE;

// Pool of every kind comes dirty. Both need IRQL <= DISPATCH_LEVEL, paged <=
// APC_LEVEL.
PVOID ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T bytes, ULONG tag);
void ExFreePoolWithTag(PVOID memory, ULONG tag);

// A count of users that can be closed for good. The bits are the kernel's.
typedef struct _EX_RUNDOWN_REF {
  union {
    ULONG_PTR Count;
    PVOID Ptr;
  };
} EX_RUNDOWN_REF, *PEX_RUNDOWN_REF;
void ExInitializeRundownProtection(PEX_RUNDOWN_REF rundown);
BOOLEAN ExAcquireRundownProtection(PEX_RUNDOWN_REF rundown);
void ExReleaseRundownProtection(PEX_RUNDOWN_REF rundown);
void ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF rundown);

[[noreturn]] void ExRaiseStatus(NTSTATUS status);

}  // extern "C"
