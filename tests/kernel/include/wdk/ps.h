// Published names of objects, handles, processes, threads and privileges. Defined in nt/.
#pragma once

#include <wdk/ex.h>

extern "C" {

typedef struct _OBJECT_TYPE* POBJECT_TYPE;
extern POBJECT_TYPE *ExEventObjectType, *PsThreadType, *PsProcessType, *IoFileObjectType, *SeTokenObjectType;
typedef struct _OBJECT_HANDLE_INFORMATION {
  ULONG HandleAttributes;
  ACCESS_MASK GrantedAccess;
} OBJECT_HANDLE_INFORMATION, *POBJECT_HANDLE_INFORMATION;

#define DELETE 0x00010000u
#define SYNCHRONIZE 0x00100000u
#define STANDARD_RIGHTS_REQUIRED 0x000f0000u
#define GENERIC_READ 0x80000000u
#define GENERIC_WRITE 0x40000000u
#define GENERIC_EXECUTE 0x20000000u
#define GENERIC_ALL 0x10000000u
#define MAXIMUM_ALLOWED 0x02000000u
#define EVENT_QUERY_STATE 0x0001u
#define EVENT_MODIFY_STATE 0x0002u
#define EVENT_ALL_ACCESS 0x001f0003u
#define PROCESS_ALL_ACCESS 0x001fffffu
#define THREAD_ALL_ACCESS 0x001fffffu

NTSTATUS ObReferenceObjectByHandle(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                                   PVOID* object, POBJECT_HANDLE_INFORMATION information);
typedef struct _ACCESS_STATE* PACCESS_STATE;
typedef ULONG SECURITY_INFORMATION;
NTSTATUS ObOpenObjectByPointer(PVOID object, ULONG attributes, PACCESS_STATE access_state, ACCESS_MASK access,
                               POBJECT_TYPE type, KPROCESSOR_MODE mode, PHANDLE handle);
LONG_PTR ObfReferenceObject(PVOID object);
LONG_PTR ObfDereferenceObject(PVOID object);
#define ObReferenceObject ObfReferenceObject
#define ObDereferenceObject ObfDereferenceObject
NTSTATUS ObCloseHandle(HANDLE handle, KPROCESSOR_MODE mode);
NTSTATUS ZwClose(HANDLE handle);
NTSTATUS ZwWaitForSingleObject(HANDLE handle, BOOLEAN alertable, PLARGE_INTEGER timeout);

typedef struct _CLIENT_ID {
  HANDLE UniqueProcess;
  HANDLE UniqueThread;
} CLIENT_ID, *PCLIENT_ID;
typedef void KSTART_ROUTINE(PVOID context);
typedef KSTART_ROUTINE* PKSTART_ROUTINE;
NTSTATUS PsCreateSystemThread(PHANDLE thread, ULONG access, POBJECT_ATTRIBUTES attributes, HANDLE process,
                              PCLIENT_ID id, PKSTART_ROUTINE routine, PVOID context);
NTSTATUS PsTerminateSystemThread(
    NTSTATUS status);  // the thread ends by returning from its routine; this only notes it
PEPROCESS IoGetCurrentProcess(void);
#define PsGetCurrentProcess IoGetCurrentProcess
HANDLE PsGetCurrentProcessId(void);
NTSTATUS PsLookupProcessByProcessId(HANDLE id, PEPROCESS* process);
extern PEPROCESS PsInitialSystemProcess;

typedef void (*PCREATE_PROCESS_NOTIFY_ROUTINE)(HANDLE parent, HANDLE process, BOOLEAN create);
NTSTATUS PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE routine, BOOLEAN remove);

typedef struct _LUID {
  ULONG LowPart;
  LONG HighPart;
} LUID, *PLUID;
typedef PVOID PACCESS_TOKEN;
typedef PVOID PSECURITY_DESCRIPTOR;

}  // extern "C"
