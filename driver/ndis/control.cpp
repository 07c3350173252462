// The requests of programs to the control device: files are opened and closed, and a program's rings and events are
// taken into the kernel, probed, locked and mapped. Locked pages stay what they are, whatever the program does with
// its addresses afterwards; what it writes into them is core's to check. All at PASSIVE_LEVEL, in the thread of the
// program that asks. docs/driver-ndis.md lists what bad input gets.
#include "driver/ndis/adapter.hpp"
#include "ring/atomics.h"

namespace wintun {

namespace {

void unlock(const MappedRing& ring) {
  if (ring.moved != nullptr) ObDereferenceObject(ring.moved);
  if (ring.mdl == nullptr) return;
  MmUnlockPages(ring.mdl);  // takes the mapping back, too
  IoFreeMdl(ring.mdl);
}

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

// As a session begins: nothing consumed, nothing in the one that we fill.
bool are_new(const Ring& filled, const Ring& drained, uint32_t drained_capacity) {
  return load_once(&filled.head) == 0 && load_once(&filled.tail) == 0 && load_once(&drained.head) == 0 &&
         is_offset(load_once(&drained.tail), drained_capacity);
}

// All of a program's rings or nothing.
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
  if (NT_SUCCESS(status) && !are_new(*up.ring, *down.ring, down.capacity)) status = STATUS_INVALID_PARAMETER;
  if (!NT_SUCCESS(status)) give_back(into);
  return status;
}

// Nothing is changed unless all of it succeeds. The buffer is the system's copy of the program's.
NTSTATUS register_rings(Adapter& adapter, OpenFile& file, PIRP irp) {
  const auto& asked = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
  if (asked.IoControlCode != kRegisterRings) return STATUS_INVALID_DEVICE_REQUEST;
  const bool is_32_bit = IoIs32bitProcess(irp) != FALSE;
  const ULONG size = is_32_bit ? sizeof(Registration<uint32_t>) : sizeof(Registration<uint64_t>);
  if (asked.InputBufferLength != size || asked.OutputBufferLength != 0) return STATUS_INVALID_BUFFER_SIZE;
  if (adapter.state.is_connected()) return STATUS_ALREADY_INITIALIZED;
  const PVOID buffer = irp->AssociatedIrp.SystemBuffer;
  Rings rings = {};
  NTSTATUS status = lock_rings(is_32_bit ? widen(*static_cast<const Registration<uint32_t>*>(buffer))
                                         : *static_cast<const Registration<uint64_t>*>(buffer),
                               rings);
  if (NT_SUCCESS(status)) status = adapter.begin_session(rings);
  if (!NT_SUCCESS(status)) return status;
  adapter.owner_file = &file;
  adapter.owner_process = PsGetCurrentProcessId();
  return STATUS_SUCCESS;
}

// `serial` held: evict() finds every file that was let in.
NTSTATUS create(Adapter& adapter, PFILE_OBJECT object) {
  OpenFile* const file = new OpenFile;
  if (file == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  file->file = object;
  object->FsContext = file;
  InsertTailList(&adapter.files, &file->link);
  return STATUS_SUCCESS;
}

// The last handle is closed: by the program, by its end, or by evict().
NTSTATUS cleanup(Adapter& adapter, OpenFile& file) {
  SerialHold hold(adapter.serial);
  file.is_cleaned_up = true;
  RemoveEntryList(&file.link);
  complete_reads(adapter.reads, file.file, STATUS_CANCELLED);
  const bool was_last = file.is_of_bundles && --adapter.bundle_files == 0 && adapter.host.rings.bundles != nullptr;
  file.is_of_bundles = false;
  if (was_last || adapter.owner_file == &file) adapter.end_session();
  return STATUS_SUCCESS;
}

NTSTATUS serve(Adapter& adapter, OpenFile* file, PIRP irp) {
  const PIO_STACK_LOCATION asked = IoGetCurrentIrpStackLocation(irp);
  SerialHold hold(adapter.serial);
  if (adapter.removal != Removal::none) return STATUS_DEVICE_REMOVED;
  if (asked->MajorFunction == IRP_MJ_CREATE) return create(adapter, asked->FileObject);
  if (file->is_cleaned_up) return STATUS_FILE_CLOSED;
  if (asked->MajorFunction == IRP_MJ_READ) return read_bundle(adapter, *file, irp);
  if (asked->MajorFunction == IRP_MJ_WRITE) return write_bundle(adapter, *file, irp);
  return register_rings(adapter, *file, irp);
}

}  // namespace

NTSTATUS finish(PIRP irp, NTSTATUS status) {
  irp->IoStatus.Status = status;
  IoCompleteRequest(irp, IO_NO_INCREMENT);
  return status;
}

void give_back(const Rings& rings) {
  if (rings.bundles != nullptr) return delete_bundles(rings.bundles);
  unlock(rings.to_user);
  unlock(rings.to_network);
}

// The rundown keeps the adapter while a request is inside. If it has gone or is not there yet, its session went with
// it, and there is nothing to clean up. NT cleans a file up before it closes it, Wine only closes it.
NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp) {
  Adapter& adapter = *static_cast<Adapter*>(NdisGetDeviceReservedExtension(device));
  const PIO_STACK_LOCATION asked = IoGetCurrentIrpStackLocation(irp);
  OpenFile* const file = static_cast<OpenFile*>(asked->FileObject->FsContext);
  const bool is_close = asked->MajorFunction == IRP_MJ_CLOSE;
  const bool is_end = is_close || asked->MajorFunction == IRP_MJ_CLEANUP;
  const bool is_inside = !(is_close && file->is_cleaned_up) &&
                         __atomic_load_n(&adapter.is_ready, __ATOMIC_ACQUIRE) != 0 &&
                         ExAcquireRundownProtection(&adapter.rundown);
  NTSTATUS status = is_end ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED;
  irp->IoStatus.Information = 0;
  if (is_inside) status = is_end ? cleanup(adapter, *file) : serve(adapter, file, irp);
  if (is_close) delete file;
  if (status != STATUS_PENDING) finish(irp, status);
  if (is_inside) ExReleaseRundownProtection(&adapter.rundown);
  return status;
}

}  // namespace wintun
