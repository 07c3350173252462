// A program's rings and events, taken into the kernel: probed, locked, mapped. Locked pages stay what they are,
// whatever the program does with its addresses afterwards; what it writes into them is core's to check.
// PASSIVE_LEVEL, the adapter's `serial` held; lock_rings() runs in the program.
#include "driver/ndis/adapter.hpp"
#include "ring/atomics.h"

namespace wintun {

namespace {

NTSTATUS open_event(uint64_t handle, ACCESS_MASK access, PKEVENT& event) {
  PVOID object = nullptr;
  const NTSTATUS status = ObReferenceObjectByHandle(reinterpret_cast<HANDLE>(handle), access, *ExEventObjectType,
                                                    UserMode, &object, nullptr);
  if (NT_SUCCESS(status)) event = static_cast<PKEVENT>(object);
  return status;
}

// The one place where an exception is caught: a program's address may be anything. Nothing here has a destructor,
// since the exception passes over them.
NTSTATUS probe_and_lock(PMDL mdl) {
  __try {
    MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
  } __except (EXCEPTION_EXECUTE_HANDLER) {
    return static_cast<NTSTATUS>(GetExceptionCode());
  }
  return STATUS_SUCCESS;
}

NTSTATUS map(uint64_t address, uint32_t size, MappedRing& into) {
  if (address % kAlignment != 0) return STATUS_DATATYPE_MISALIGNMENT;
  if (address + size < address) return STATUS_ACCESS_VIOLATION;
  const PMDL mdl = IoAllocateMdl(reinterpret_cast<PVOID>(address), size, FALSE, FALSE, nullptr);
  if (mdl == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  const NTSTATUS status = probe_and_lock(mdl);
  if (!NT_SUCCESS(status)) {
    IoFreeMdl(mdl);
    return status;
  }
  into.mdl = mdl;
  into.ring = static_cast<Ring*>(system_address(mdl));
  return into.ring != nullptr ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

void unlock(const MappedRing& ring) {
  if (ring.moved != nullptr) ObDereferenceObject(ring.moved);
  if (ring.mdl == nullptr) return;
  MmUnlockPages(ring.mdl);  // takes the mapping back, too
  IoFreeMdl(ring.mdl);
}

}  // namespace

NTSTATUS lock_rings(const Registration<uint64_t>& from, Rings& into) {
  MappedRing& up = into.to_user;
  MappedRing& down = into.to_network;
  up.capacity = capacity_of(from.to_user.size);
  down.capacity = capacity_of(from.to_network.size);
  if (up.capacity == 0 || down.capacity == 0) return STATUS_INVALID_PARAMETER;
  NTSTATUS status = open_event(from.to_user.event, EVENT_MODIFY_STATE, up.moved);
  if (NT_SUCCESS(status)) status = open_event(from.to_network.event, SYNCHRONIZE, down.moved);
  if (NT_SUCCESS(status)) status = map(from.to_user.ring, from.to_user.size, up);
  if (NT_SUCCESS(status)) status = map(from.to_network.ring, from.to_network.size, down);
  if (!NT_SUCCESS(status)) return status;
  const bool is_new = load_once(&up.ring->head) == 0 && load_once(&up.ring->tail) == 0 &&
                      load_once(&down.ring->head) == 0 && is_offset(load_once(&down.ring->tail), down.capacity);
  return is_new ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

void unlock_rings(const Rings& rings) {
  unlock(rings.to_user);
  unlock(rings.to_network);
}

}  // namespace wintun
