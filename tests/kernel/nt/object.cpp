// Counted objects and handles. A driver's references stand in the ledger, so that those it forgets are found; the
// kernel's own do not. A handle holds one reference; the handle of a file that goes tells the driver
// (IRP_MJ_CLEANUP).
#include <new>
#include <string>

#include "tests/kernel/nt/files.hpp"
#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {

void* allocate_body(POBJECT_TYPE type, std::size_t bytes) {
  auto* memory = static_cast<char*>(::operator new(kHeaderBytes + bytes));
  auto* header = new (memory) ObjectHeader;
  header->type = type;
  return memory + kHeaderBytes;
}

ObjectHeader& header_of(void* body) {
  return *reinterpret_cast<ObjectHeader*>(static_cast<char*>(body) - kHeaderBytes);
}

void free_body(void* body) {
  ObjectHeader& header = header_of(body);
  header.~ObjectHeader();
  ::operator delete(static_cast<void*>(&header));
}

void reference(void* body) { ++header_of(body).references; }

void dereference(void* body) {
  if (--header_of(body).references == 0) header_of(body).type->destroy(body);
}

namespace {
constexpr std::uintptr_t kKernelHandle = 0xffffffff80000000u;

// The table that a handle's value speaks of.
_EPROCESS& table_of(_EPROCESS& process, std::uintptr_t value) {
  return (value & kKernelHandle) == kKernelHandle ? system_process() : process;
}
}  // namespace

HANDLE insert_handle(_EPROCESS& process, void* object, ACCESS_MASK access) {
  reference(object);
  const std::lock_guard locked(process.lock);
  std::uintptr_t value = process.next_handle;
  process.next_handle += 4;
  if (&process == &system_process()) value |= kKernelHandle;
  process.handles[value] = {object, access};
  return reinterpret_cast<HANDLE>(value);
}

NTSTATUS close_handle(_EPROCESS& process, HANDLE handle) {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  _EPROCESS& table = table_of(process, value);
  HandleEntry entry{};
  {
    const std::lock_guard locked(table.lock);
    const auto found = table.handles.find(value);
    if (found == table.handles.end()) return STATUS_INVALID_HANDLE;
    entry = found->second;
    table.handles.erase(found);
  }
  if (header_of(entry.object).type == &file_type) file_handle_closed(entry.object);
  dereference(entry.object);
  return STATUS_SUCCESS;
}

NTSTATUS find_handle(_EPROCESS& process, HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                     void*& object, ACCESS_MASK& granted) {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  _EPROCESS& table = table_of(process, value);
  if (mode == UserMode && (&table == &system_process()) != (&process == &system_process())) {
    return STATUS_INVALID_HANDLE;  // a program does not name the kernel's handles
  }
  const std::lock_guard locked(table.lock);
  const auto found = table.handles.find(value);
  if (found == table.handles.end()) return STATUS_INVALID_HANDLE;
  const HandleEntry& entry = found->second;
  if (type != nullptr && header_of(entry.object).type != type) return STATUS_OBJECT_TYPE_MISMATCH;
  if (mode == UserMode && (entry.access & access) != access) return STATUS_ACCESS_DENIED;
  reference(entry.object);
  object = entry.object;
  granted = entry.access;
  return STATUS_SUCCESS;
}

_OBJECT_TYPE event_type{"Event", destroy_object<KEVENT>};
_OBJECT_TYPE semaphore_type{"Semaphore", destroy_object<KSEMAPHORE>};

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

static POBJECT_TYPE event_pointer = &event_type;
static POBJECT_TYPE thread_pointer = &thread_type;
static POBJECT_TYPE process_pointer = &process_type;
static POBJECT_TYPE file_pointer = &file_type;
POBJECT_TYPE* ExEventObjectType = &event_pointer;
POBJECT_TYPE* PsThreadType = &thread_pointer;
POBJECT_TYPE* PsProcessType = &process_pointer;
POBJECT_TYPE* IoFileObjectType = &file_pointer;

NTSTATUS NTAPI ObReferenceObjectByHandle(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                                         PVOID* object, POBJECT_HANDLE_INFORMATION information) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  *object = nullptr;
  _EPROCESS& process = current_process();
  const bool is_kernel_handle = (reinterpret_cast<std::uintptr_t>(handle) & kKernelHandle) == kKernelHandle;
  if (mode == KernelMode && !is_kernel_handle && &process != &system_process()) {
    violation("ObReferenceObjectByHandle trusts a program's handle: its access mode must be the request's");
  }
  if (mode == UserMode && type == nullptr)
    violation("ObReferenceObjectByHandle of a program's handle without a type");
  if (!is_kernel_handle && should_fail(__func__)) return STATUS_INVALID_HANDLE;
  ACCESS_MASK granted = 0;
  const NTSTATUS status = find_handle(process, handle, access, type, mode, *object, granted);
  if (!NT_SUCCESS(status)) return status;
  take(Kind::reference, *object, __func__, header_of(*object).type->name);
  if (information != nullptr) *information = {0, granted};
  return STATUS_SUCCESS;
}

LONG_PTR FASTCALL ObfReferenceObject(PVOID object) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  reference(object);
  take(Kind::reference, object, __func__, header_of(object).type->name);
  return header_of(object).references;
}

LONG_PTR FASTCALL ObfDereferenceObject(PVOID object) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!give_back(Kind::reference, object)) {
    violation("ObDereferenceObject without a reference of the driver's");
    return 0;
  }
  const LONG_PTR left = header_of(object).references - 1;
  dereference(object);
  return left;
}

NTSTATUS NTAPI ZwClose(HANDLE handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  const NTSTATUS status = close_handle(current_process(), handle);
  if (!NT_SUCCESS(status)) violation("ZwClose of what is no handle in this process");
  give_back(Kind::handle, handle);
  return status;
}

}  // extern "C"
