// Takes the handles of an adapter's device from the programs that hold them, when it is to go: they would not keep
// the adapter, but the driver in memory. There is no documented way to list handles; this is the one that system
// tools use (docs/driver-ndis.md). If it fails, the handles stay, good for nothing but being closed. PASSIVE_LEVEL,
// no lock held.
#include "driver/ndis/adapter.hpp"

namespace wintun {

namespace {

constexpr ULONG kSystemExtendedHandleInformation = 64;

struct SystemHandle {
  PVOID object;
  HANDLE process;  // its number
  HANDLE handle;
  ULONG others[4];  // access, types, attributes
};
struct SystemHandles {
  ULONG_PTR count;
  ULONG_PTR reserved;
  SystemHandle handles[1];
};
static_assert(sizeof(SystemHandle) == 40 && sizeof(SystemHandles) == 56);

// A copy of the system's table, from paged pool, or null. It grows while it is asked for, hence the loop.
SystemHandles* list_handles() {
  for (ULONG bytes = 0x10000; bytes <= 0x10000000; bytes *= 2) {
    void* const table = ExAllocatePoolWithTag(PagedPool, bytes, kPoolTag);
    if (table == nullptr) return nullptr;
    const NTSTATUS status = ZwQuerySystemInformation(kSystemExtendedHandleInformation, table, bytes, nullptr);
    if (NT_SUCCESS(status)) return static_cast<SystemHandles*>(table);
    ExFreePoolWithTag(table, kPoolTag);
    if (status != STATUS_INFO_LENGTH_MISMATCH) return nullptr;
  }
  return nullptr;
}

bool is_open_file(Adapter& adapter, PVOID object) {
  SerialHold hold(adapter.serial);
  for (LIST_ENTRY* entry = adapter.files.Flink; entry != &adapter.files; entry = entry->Flink) {
    if (CONTAINING_RECORD(entry, OpenFile, link)->file == object) return true;
  }
  return false;
}

// The handle may have been closed, and its number be another's, since the table was made: look again from inside.
void close_in_process(const SystemHandle& found) {
  PEPROCESS process = nullptr;
  if (!NT_SUCCESS(PsLookupProcessByProcessId(found.process, &process))) return;
  KAPC_STATE before;
  KeStackAttachProcess(reinterpret_cast<PKPROCESS>(process), &before);
  PVOID object = nullptr;
  if (NT_SUCCESS(ObReferenceObjectByHandle(found.handle, 0, *IoFileObjectType, UserMode, &object, nullptr))) {
    ObDereferenceObject(object);
    if (object == found.object) ObCloseHandle(found.handle, UserMode);
  }
  KeUnstackDetachProcess(&before);
  ObDereferenceObject(process);
}

}  // namespace

void evict(Adapter& adapter, Removal removal) {
  {
    SerialHold hold(adapter.serial);
    if (removal > adapter.removal) adapter.removal = removal;
    adapter.end_session();
  }
  SystemHandles* const table = list_handles();
  if (table == nullptr) return;
  for (ULONG_PTR i = 0; i < table->count; ++i) {
    if (is_open_file(adapter, table->handles[i].object)) close_in_process(table->handles[i]);
  }
  ExFreePoolWithTag(table, kPoolTag);
}

}  // namespace wintun
