// Takes the handles of a control device from the programs that hold them, when its adapter is to go. The device
// stands beside the adapter's stack of devices, so open handles do not keep the adapter; but they would keep the
// driver in memory, and its update would ask for a restart. PASSIVE_LEVEL, no lock held.
// There is no documented way to list handles; this is the one that system tools use. If it fails, removal goes on and
// the handles stay, good for nothing but being closed.
#include "driver/ndis/control.hpp"

namespace wintun {

namespace {

constexpr ULONG kSystemExtendedHandleInformation = 64;

struct SystemHandle {
  PVOID Object;
  ULONG_PTR UniqueProcessId;
  ULONG_PTR HandleValue;
  ULONG GrantedAccess;
  USHORT CreatorBackTraceIndex;
  USHORT ObjectTypeIndex;
  ULONG HandleAttributes;
  ULONG Reserved;
};
struct SystemHandles {
  ULONG_PTR NumberOfHandles;
  ULONG_PTR Reserved;
  SystemHandle Handles[1];
};

// A copy of the system's table, from paged pool, or null. It grows while it is asked for, hence the loop.
SystemHandles* list_handles() {
  ULONG bytes = 0x10000;
  for (unsigned tries = 0; tries < 8; ++tries) {
    void* const table = ExAllocatePoolWithTag(PagedPool, bytes, kPoolTag);
    if (table == nullptr) return nullptr;
    ULONG needed = 0;
    const NTSTATUS status = ZwQuerySystemInformation(kSystemExtendedHandleInformation, table, bytes, &needed);
    if (NT_SUCCESS(status)) return static_cast<SystemHandles*>(table);
    ExFreePoolWithTag(table, kPoolTag);
    if (status != STATUS_INFO_LENGTH_MISMATCH) return nullptr;
    bytes = (needed > bytes ? needed : bytes) * 2;
  }
  return nullptr;
}

bool is_open_file(Control& control, PVOID object) {
  Host::SpinHold hold(control.files_lock);
  for (LIST_ENTRY* entry = control.files.Flink; entry != &control.files; entry = entry->Flink) {
    if (CONTAINING_RECORD(entry, OpenFile, link)->file == object) return true;
  }
  return false;
}

// The handle may have been closed, and its number be another's, since the table was made: look again from inside.
void close_in_process(const SystemHandle& found) {
  PEPROCESS process = nullptr;
  if (!NT_SUCCESS(PsLookupProcessByProcessId(reinterpret_cast<HANDLE>(found.UniqueProcessId), &process))) return;
  const HANDLE handle = reinterpret_cast<HANDLE>(found.HandleValue);
  KAPC_STATE before;
  KeStackAttachProcess(reinterpret_cast<PKPROCESS>(process), &before);
  PVOID object = nullptr;
  if (NT_SUCCESS(ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, UserMode, &object, nullptr))) {
    ObDereferenceObject(object);
    if (object == found.Object) ObCloseHandle(handle, UserMode);
  }
  KeUnstackDetachProcess(&before);
  ObDereferenceObject(process);
}

}  // namespace

void evict(Adapter& adapter) {
  {
    SerialHold hold(adapter.serial);
    adapter.end_session();
  }
  SystemHandles* const table = list_handles();
  if (table == nullptr) return;
  for (ULONG_PTR i = 0; i < table->NumberOfHandles; ++i) {
    const SystemHandle& found = table->Handles[i];
    if (is_open_file(*adapter.control, found.Object)) close_in_process(found);
  }
  ExFreePoolWithTag(table, kPoolTag);
}

}  // namespace wintun
