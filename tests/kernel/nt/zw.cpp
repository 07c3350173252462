// The system services that drivers call about handles: waiting, closing another process's, and who has which.
#include <cstring>
#include <string>

#include "tests/kernel/nt/objects.hpp"

using namespace wintun::kernel;

namespace {

// What ZwQuerySystemInformation gives for class 64, SystemExtendedHandleInformation. Published by its users only.
struct HandleLine {
  PVOID object;
  ULONG_PTR process;
  ULONG_PTR handle;
  ULONG access;
  USHORT back_trace;
  USHORT type;
  ULONG attributes;
  ULONG reserved;
};
struct HandleTable {
  ULONG_PTR count;
  ULONG_PTR reserved;
  HandleLine lines[1];
};
constexpr ULONG kExtendedHandles = 64;

}  // namespace

extern "C" {

NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE handle, BOOLEAN alertable, PLARGE_INTEGER timeout) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  const NTSTATUS status = find_handle(current_process(), handle, SYNCHRONIZE, nullptr, KernelMode, object, granted);
  if (!NT_SUCCESS(status)) {
    violation("ZwWaitForSingleObject of what is no handle in this process");
    return status;
  }
  const NTSTATUS woken = KeWaitForSingleObject(object, UserRequest, KernelMode, alertable, timeout);
  dereference(object);
  return woken;
}

NTSTATUS NTAPI ObCloseHandle(HANDLE handle, KPROCESSOR_MODE) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  give_back(Kind::handle, handle);  // if it is one of the driver's own
  return close_handle(current_process(), handle);
}

NTSTATUS NTAPI ZwQuerySystemInformation(ULONG what, PVOID buffer, ULONG bytes, PULONG needed) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if (what != kExtendedHandles) {
    violation("ZwQuerySystemInformation of class " + std::to_string(what) + ": not modelled");
    return STATUS_INVALID_PARAMETER;
  }
  if (should_fail(__func__)) return STATUS_INSUFFICIENT_RESOURCES;
  const std::vector<HandleOfProcess> all = all_handles();
  const std::size_t wanted = offsetof(HandleTable, lines) + all.size() * sizeof(HandleLine);
  if (needed != nullptr) *needed = static_cast<ULONG>(wanted);
  if (bytes < wanted) return STATUS_INFO_LENGTH_MISMATCH;
  auto* const table = static_cast<HandleTable*>(buffer);
  table->count = all.size();
  table->reserved = 0;
  auto* line = table->lines;
  for (const HandleOfProcess& one : all) {
    *line++ = {one.object, one.process, one.handle, one.access, 0, 0, 0, 0};
  }
  return STATUS_SUCCESS;
}

}  // extern "C"
