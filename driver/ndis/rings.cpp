// See rings.hpp. Locked pages stay what they are, whatever the program does with its addresses afterwards; what it
// writes into them is core's to check.
#include "driver/ndis/rings.hpp"

#include "driver/ndis/adapter.hpp"
#include "driver/ndis/probe.hpp"
#include "ring/atomics.h"

namespace wintun {

NTSTATUS LockedRing::open(uint64_t address, uint32_t size) {
  capacity_ = capacity_of(size);
  if (capacity_ == 0) return STATUS_INVALID_PARAMETER;
  if (address % kAlignment != 0) return STATUS_DATATYPE_MISALIGNMENT;
  if (address + size < address) return STATUS_ACCESS_VIOLATION;
  mdl_ = IoAllocateMdl(reinterpret_cast<PVOID>(address), size, FALSE, FALSE, nullptr);
  if (mdl_ == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  const NTSTATUS status = probe_and_lock(mdl_);
  if (!NT_SUCCESS(status)) return status;
  is_locked_ = true;
  ring_ = static_cast<Ring*>(system_address(mdl_));
  return ring_ != nullptr ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

void LockedRing::close() {
  if (is_locked_) MmUnlockPages(mdl_);  // takes the mapping back, too
  if (mdl_ != nullptr) IoFreeMdl(mdl_);
  *this = LockedRing();
}

namespace {

NTSTATUS open_event(uint64_t handle, ACCESS_MASK access, PKEVENT& event) {
  PVOID object = nullptr;
  const NTSTATUS status = ObReferenceObjectByHandle(reinterpret_cast<HANDLE>(handle), access, *ExEventObjectType,
                                                    UserMode, &object, nullptr);
  if (NT_SUCCESS(status)) event = static_cast<PKEVENT>(object);
  return status;
}

}  // namespace

NTSTATUS LockedRings::open(const Registration<uint64_t>& registration) {
  const NTSTATUS status = open_all(registration);
  if (!NT_SUCCESS(status)) close();
  return status;
}

NTSTATUS LockedRings::open_all(const Registration<uint64_t>& registration) {
  const RegisteredRing<uint64_t>& up = registration.to_user;
  const RegisteredRing<uint64_t>& down = registration.to_network;
  if (capacity_of(up.size) == 0 || capacity_of(down.size) == 0) return STATUS_INVALID_PARAMETER;
  NTSTATUS status = open_event(up.event, EVENT_MODIFY_STATE, to_user_moved_);
  if (NT_SUCCESS(status)) status = open_event(down.event, SYNCHRONIZE, to_network_moved_);
  if (NT_SUCCESS(status)) status = to_user_.open(up.ring, up.size);
  if (NT_SUCCESS(status)) status = to_network_.open(down.ring, down.size);
  if (!NT_SUCCESS(status)) return status;
  const Ring& filled = *to_user_.ring();
  const Ring& drained = *to_network_.ring();
  const bool is_new = load_once(&filled.head) == 0 && load_once(&filled.tail) == 0 && load_once(&drained.head) == 0 &&
                      is_offset(load_once(&drained.tail), to_network_.capacity());
  return is_new ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

void LockedRings::close() {
  to_user_.close();
  to_network_.close();
  if (to_user_moved_ != nullptr) ObDereferenceObject(to_user_moved_);
  if (to_network_moved_ != nullptr) ObDereferenceObject(to_network_moved_);
  to_user_moved_ = to_network_moved_ = nullptr;
}

}  // namespace wintun
