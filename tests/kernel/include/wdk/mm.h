// Published names of memory management: MDLs and the probing of a program's memory. Defined in nt/mdl.cpp.
#pragma once

#include <wdk/ex.h>

extern "C" {

#define PAGE_SIZE 0x1000
#define PAGE_SHIFT 12
#define BYTE_OFFSET(address) (static_cast<ULONG>(reinterpret_cast<ULONG_PTR>(address) & (PAGE_SIZE - 1)))
#define PAGE_ALIGN(address) \
  reinterpret_cast<PVOID>(reinterpret_cast<ULONG_PTR>(address) & ~static_cast<ULONG_PTR>(PAGE_SIZE - 1))
#define ROUND_TO_PAGES(bytes) \
  ((static_cast<ULONG_PTR>(bytes) + PAGE_SIZE - 1) & ~static_cast<ULONG_PTR>(PAGE_SIZE - 1))
#define ADDRESS_AND_SIZE_TO_SPAN_PAGES(address, bytes) \
  static_cast<ULONG>((BYTE_OFFSET(address) + static_cast<SIZE_T>(bytes) + (PAGE_SIZE - 1)) >> PAGE_SHIFT)

typedef struct _MDL {
  struct _MDL* Next;
  CSHORT Size;
  CSHORT MdlFlags;
  PEPROCESS Process;
  PVOID MappedSystemVa;
  PVOID StartVa;  // of the first page
  ULONG ByteCount;
  ULONG ByteOffset;  // in the first page
} MDL, *PMDL;

#define MDL_MAPPED_TO_SYSTEM_VA 0x0001
#define MDL_PAGES_LOCKED 0x0002
#define MDL_SOURCE_IS_NONPAGED_POOL 0x0004
#define MDL_WRITE_OPERATION 0x0080

typedef enum _LOCK_OPERATION { IoReadAccess, IoWriteAccess, IoModifyAccess } LOCK_OPERATION;
typedef enum _MEMORY_CACHING_TYPE { MmNonCached, MmCached, MmWriteCombined } MEMORY_CACHING_TYPE;
typedef enum _MM_PAGE_PRIORITY : ULONG {
  LowPagePriority,
  NormalPagePriority = 16,
  HighPagePriority = 32
} MM_PAGE_PRIORITY;
#define MdlMappingNoWrite 0x80000000u
#define MdlMappingNoExecute 0x40000000u

PMDL IoAllocateMdl(PVOID address, ULONG bytes, BOOLEAN secondary, BOOLEAN charge_quota, struct _IRP* irp);
void IoFreeMdl(PMDL mdl);
void MmBuildMdlForNonPagedPool(PMDL mdl);
void MmProbeAndLockPages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation);  // raises
void MmUnlockPages(PMDL mdl);
PVOID MmMapLockedPagesSpecifyCache(PMDL mdl, KPROCESSOR_MODE mode, MEMORY_CACHING_TYPE caching, PVOID base,
                                   ULONG bug_check, MM_PAGE_PRIORITY priority);
void MmUnmapLockedPages(PVOID address, PMDL mdl);

#define MmGetMdlByteCount(mdl) ((mdl)->ByteCount)
#define MmGetMdlByteOffset(mdl) ((mdl)->ByteOffset)
#define MmGetMdlBaseVa(mdl) ((mdl)->StartVa)
#define MmGetMdlVirtualAddress(mdl) (static_cast<PVOID>(static_cast<PCHAR>((mdl)->StartVa) + (mdl)->ByteOffset))
inline void MmInitializeMdl(PMDL mdl, PVOID base, SIZE_T bytes) {
  mdl->Next = nullptr;
  mdl->Size = static_cast<CSHORT>(sizeof(MDL) + sizeof(ULONG_PTR) * ADDRESS_AND_SIZE_TO_SPAN_PAGES(base, bytes));
  mdl->MdlFlags = 0;
  mdl->StartVa = PAGE_ALIGN(base);
  mdl->ByteOffset = BYTE_OFFSET(base);
  mdl->ByteCount = static_cast<ULONG>(bytes);
}
inline PVOID MmGetSystemAddressForMdlSafe(PMDL mdl, MM_PAGE_PRIORITY priority) {
  if ((mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) != 0) return mdl->MappedSystemVa;
  return MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, nullptr, FALSE, priority);
}

}  // extern "C"
