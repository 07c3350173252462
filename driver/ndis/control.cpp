// See control.hpp: making and removing the device, and the requests that it answers. All at PASSIVE_LEVEL, in the
// thread of the program that asks. docs/driver-ndis.md lists what bad input gets.
#include "driver/ndis/control.hpp"

namespace wintun {

namespace {

Control& control_of(PDEVICE_OBJECT device) { return *static_cast<Control*>(NdisGetDeviceReservedExtension(device)); }

// `serial` held, as for all that follows: evict() finds every file that was let in.
NTSTATUS create(Control& control, PFILE_OBJECT object) {
  OpenFile* const file = new OpenFile;
  if (file == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  file->file = object;
  object->FsContext = file;
  Host::SpinHold hold(control.files_lock);
  InsertTailList(&control.files, &file->link);
  return STATUS_SUCCESS;
}

// The last handle is closed: by the program, by its end, or by evict().
NTSTATUS cleanup(Control& control, OpenFile& file) {
  Adapter& adapter = *control.adapter;
  file.is_cleaned_up = true;
  cancel_reads(control.reads, file.file);
  const bool was_last = file.is_of_bundles && --adapter.bundle_files == 0 && adapter.host.rings.bundles != nullptr;
  file.is_of_bundles = false;
  if (was_last || adapter.owner_file == &file) adapter.end_session();
  return STATUS_SUCCESS;
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
  if (!NT_SUCCESS(status)) {
    unlock_rings(rings);
    return status;
  }
  status = adapter.begin_session(rings);
  if (!NT_SUCCESS(status)) return status;
  adapter.owner_file = &file;
  adapter.owner_process = PsGetCurrentProcessId();
  return STATUS_SUCCESS;
}

NTSTATUS serve(Control& control, PIRP irp) {
  const PIO_STACK_LOCATION asked = IoGetCurrentIrpStackLocation(irp);
  OpenFile* const file = static_cast<OpenFile*>(asked->FileObject->FsContext);
  SerialHold hold(control.adapter->serial);
  if (asked->MajorFunction == IRP_MJ_CLEANUP) return cleanup(control, *file);
  if (control.adapter->removed) return STATUS_DEVICE_REMOVED;
  if (asked->MajorFunction == IRP_MJ_CREATE) return create(control, asked->FileObject);
  if (file->is_cleaned_up) return STATUS_FILE_CLOSED;
  switch (asked->MajorFunction) {
    case IRP_MJ_READ:
      return read_bundle(control, *file, irp);
    case IRP_MJ_WRITE:
      return write_bundle(control, *file, irp);
    default:
      return register_rings(*control.adapter, *file, irp);
  }
}

// Every request but the last of a file. The rundown keeps the adapter while a request is inside; if it has gone or is
// not there yet, its session went with it, and there is nothing to clean up.
NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const bool is_cleanup = IoGetCurrentIrpStackLocation(irp)->MajorFunction == IRP_MJ_CLEANUP;
  irp->IoStatus.Information = 0;
  if (__atomic_load_n(&control.adapter, __ATOMIC_ACQUIRE) == nullptr ||
      ExAcquireRundownProtection(&control.rundown) == FALSE) {
    return finish(irp, is_cleanup ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED);
  }
  const NTSTATUS status = serve(control, irp);
  if (status != STATUS_PENDING) finish(irp, status);
  ExReleaseRundownProtection(&control.rundown);
  return status;
}

NTSTATUS NTAPI close(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  OpenFile* const file = static_cast<OpenFile*>(IoGetCurrentIrpStackLocation(irp)->FileObject->FsContext);
  {
    Host::SpinHold hold(control.files_lock);
    RemoveEntryList(&file->link);
  }
  delete file;
  irp->IoStatus.Information = 0;
  return finish(irp, STATUS_SUCCESS);
}

// A name with the LUID's index behind it. 32 characters are enough for each.
struct Name {
  WCHAR text[32];
  UNICODE_STRING string{0, sizeof(text), text};
  bool set(PCWSTR prefix, ULONG index) {
    WCHAR digits[9];
    UNICODE_STRING number{0, sizeof(digits), digits};
    return NT_SUCCESS(RtlAppendUnicodeToString(&string, prefix)) &&
           NT_SUCCESS(RtlIntegerToUnicodeString(index, 10, &number)) &&
           NT_SUCCESS(RtlAppendUnicodeStringToString(&string, &number));
  }
};

// A self-relative security descriptor that holds nothing but the label: high integrity, no reading, writing or
// executing from below. The SDDL that a device can be made with has no words for it.
constexpr UCHAR kHighIntegrity[] = {
    1,    0, 0x10, 0x80,                              // revision; a SACL is present, self-relative
    0,    0, 0,    0,    0, 0, 0, 0,                  // no owner, no group
    20,   0, 0,    0,    0, 0, 0, 0,                  // the SACL's offset, no DACL
    2,    0, 28,   0,    1, 0, 0, 0,                  // ACL: revision, bytes, entries
    0x11, 0, 20,   0,    7, 0, 0, 0,                  // mandatory label: bytes, policy
    1,    1, 0,    0,    0, 0, 0, 16, 0, 0x30, 0, 0,  // S-1-16-12288
};
static_assert(sizeof(kHighIntegrity) == 48);
constexpr ULONG kLabelInformation = 0x10;  // LABEL_SECURITY_INFORMATION
constexpr ACCESS_MASK kWriteOwner = 0x00080000;

NTSTATUS require_high_integrity(PDEVICE_OBJECT device) {
  HANDLE handle = nullptr;
  NTSTATUS status =
      ObOpenObjectByPointer(device, OBJ_KERNEL_HANDLE, nullptr, kWriteOwner, nullptr, KernelMode, &handle);
  if (!NT_SUCCESS(status)) return status;
  status = ZwSetSecurityObject(handle, kLabelInformation, const_cast<UCHAR*>(kHighIntegrity));
  ZwClose(handle);
  return status;
}

}  // namespace

NTSTATUS finish(PIRP irp, NTSTATUS status) {
  irp->IoStatus.Status = status;
  IoCompleteRequest(irp, IO_NO_INCREMENT);
  return status;
}

NTSTATUS create_control_device(Adapter& adapter, NET_LUID luid) {
  const ULONG index = static_cast<ULONG>(luid.Info.NetLuidIndex);
  Name name, symbolic;
  if (!name.set(L"\\Device\\RINGTUN", index) || !symbolic.set(L"\\DosDevices\\Global\\RINGTUN", index)) {
    return STATUS_BUFFER_TOO_SMALL;
  }
  PDRIVER_DISPATCH functions[IRP_MJ_MAXIMUM_FUNCTION + 1] = {};
  functions[IRP_MJ_CREATE] = functions[IRP_MJ_CLEANUP] = functions[IRP_MJ_DEVICE_CONTROL] = dispatch;
  functions[IRP_MJ_READ] = functions[IRP_MJ_WRITE] = dispatch;
  functions[IRP_MJ_CLOSE] = close;
  UNICODE_STRING access;
  RtlInitUnicodeString(&access, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
  NDIS_DEVICE_OBJECT_ATTRIBUTES attributes = {};
  attributes.Header = {NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES, NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1,
                       NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1};
  attributes.DeviceName = &name.string;
  attributes.SymbolicName = &symbolic.string;
  attributes.MajorFunctions = functions;
  attributes.ExtensionSize = sizeof(Control);
  attributes.DefaultSDDLString = &access;
  PDEVICE_OBJECT device = nullptr;
  NTSTATUS status = NdisRegisterDeviceEx(driver.handle, &attributes, &device, &adapter.device);
  if (status != NDIS_STATUS_SUCCESS) return status;
  // Who opens it from here on finds an extension of zeros, and is refused.
  Control& control = control_of(device);
  ExInitializeRundownProtection(&control.rundown);
  InitializeListHead(&control.files);
  status = initialize_reads(control.reads);
  if (NT_SUCCESS(status)) status = require_high_integrity(device);
  if (!NT_SUCCESS(status)) {
    NdisDeregisterDeviceEx(adapter.device);
    return status;
  }
  device->Flags |= DO_DIRECT_IO;
  adapter.control = &control;
  __atomic_store_n(&control.adapter, &adapter, __ATOMIC_RELEASE);
  return STATUS_SUCCESS;
}

void delete_control_device(Adapter& adapter) {
  ExWaitForRundownProtectionRelease(&adapter.control->rundown);
  NdisDeregisterDeviceEx(adapter.device);
}

}  // namespace wintun
