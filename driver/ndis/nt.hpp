// The kernel's own header, in the one place that includes it, and NDIS on top. Every file of driver/ndis that touches
// NT includes this: on Windows it is mingw's ntifs.h, on Linux the one of tests/kernel.
#pragma once

#include <stddef.h>
#include <stdint.h>

// mingw's wdm.h defines these two after its intrinsics have done so; as these say "done", the intrinsics leave it.
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset
// mingw's wdm.h declares these imported: pointers to the kernel's variables behind the import's own, one too many.
// Without that the names are the imports themselves (the linker is told so: cmake/WintunDriver.cmake).
#define ExEventObjectType wdm_ExEventObjectType
#define IoFileObjectType wdm_IoFileObjectType
#include <ntifs.h>
#undef ExEventObjectType
#undef IoFileObjectType

#include "driver/ndis/ndis6.h"

// Published names that mingw's headers lack.
#ifndef STATUS_ALREADY_INITIALIZED
#define STATUS_ALREADY_INITIALIZED (static_cast<NTSTATUS>(0xC0000510u))
#endif
#ifndef MdlMappingNoExecute
#define MdlMappingNoExecute 0x40000000
#endif
extern "C" {
extern POBJECT_TYPE* ExEventObjectType;
extern POBJECT_TYPE* IoFileObjectType;
NTKERNELAPI NTSTATUS NTAPI ObCloseHandle(HANDLE handle, KPROCESSOR_MODE mode);
NTSYSAPI NTSTATUS NTAPI ZwQuerySystemInformation(ULONG what, PVOID buffer, ULONG bytes, PULONG needed);
NTSYSAPI NTSTATUS NTAPI ZwSetSecurityObject(HANDLE handle, ULONG what, PVOID descriptor);
}
