// See control.hpp: making and removing the device, and the requests that it answers. All at PASSIVE_LEVEL, in the
// thread of the program that asks. docs/driver-ndis.md lists what bad input gets.
#include "driver/ndis/control.hpp"

#include "driver/ndis/bundles.hpp"

namespace wintun {

namespace {

Control& control_of(PDEVICE_OBJECT device) { return *static_cast<Control*>(NdisGetDeviceReservedExtension(device)); }

// Keeps the adapter while a request is inside; false when it has gone, or is not there yet.
class Inside {
 public:
  explicit Inside(Control& control) : control_(control) {
    is_inside_ = __atomic_load_n(&control.adapter, __ATOMIC_ACQUIRE) != nullptr &&
                 ExAcquireRundownProtection(&control.rundown) != FALSE;
  }
  ~Inside() {
    if (is_inside_) ExReleaseRundownProtection(&control_.rundown);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  explicit operator bool() const { return is_inside_; }

 private:
  Control& control_;
  bool is_inside_;
};

OpenFile& open_file(PIRP irp) {
  return *static_cast<OpenFile*>(IoGetCurrentIrpStackLocation(irp)->FileObject->FsContext);
}

NTSTATUS NTAPI create(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const Inside inside(control);
  if (!inside) return finish(irp, STATUS_DEVICE_REMOVED);
  SerialHold serial(control.adapter->serial);  // evict() finds every file that was let in
  if (control.adapter->removed) return finish(irp, STATUS_DEVICE_REMOVED);
  OpenFile* const file = new OpenFile;
  if (file == nullptr) return finish(irp, STATUS_INSUFFICIENT_RESOURCES);
  file->file = IoGetCurrentIrpStackLocation(irp)->FileObject;
  file->file->FsContext = file;
  {
    Host::SpinHold hold(control.files_lock);
    InsertTailList(&control.files, &file->link);
  }
  return finish(irp, STATUS_SUCCESS);
}

// The last handle is closed: by the program, by its end, or by close_handles().
NTSTATUS NTAPI cleanup(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const Inside inside(control);
  if (!inside) return finish(irp, STATUS_SUCCESS);  // the session went with the adapter
  OpenFile& file = open_file(irp);
  Adapter& adapter = *control.adapter;
  SerialHold hold(adapter.serial);
  file.is_cleaned_up = true;
  cancel_reads(control.reads, file.file);
  const bool was_last = file.is_of_bundles && --adapter.bundle_files == 0 && adapter.owner == Owner::bundles;
  file.is_of_bundles = false;
  if (was_last || adapter.owner_file == &file) adapter.end_session();
  return finish(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI close(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  OpenFile* const file = &open_file(irp);
  {
    Host::SpinHold hold(control.files_lock);
    RemoveEntryList(&file->link);
  }
  delete file;
  return finish(irp, STATUS_SUCCESS);
}

// The buffer is the system's copy of the program's, so it is what it is.
template <class Pointer>
Registration<uint64_t> widen(const void* buffer) {
  const Registration<Pointer>& from = *static_cast<const Registration<Pointer>*>(buffer);
  return {{from.to_user.size, from.to_user.ring, from.to_user.event},
          {from.to_network.size, from.to_network.ring, from.to_network.event}};
}

// `serial` held. Nothing is changed unless all of it succeeds.
NTSTATUS register_rings(Adapter& adapter, OpenFile& file, const Registration<uint64_t>& registration) {
  if (file.is_cleaned_up) return STATUS_FILE_CLOSED;
  if (adapter.removed) return STATUS_DEVICE_REMOVED;
  if (adapter.owner != Owner::nobody) return STATUS_ALREADY_INITIALIZED;
  LockedRings& locked = adapter.locked;
  NTSTATUS status = locked.open(registration);
  if (!NT_SUCCESS(status)) return status;
  status = adapter.connect({locked.to_user().ring(), locked.to_network().ring(), locked.to_user().capacity(),
                            locked.to_network().capacity(), locked.to_network().mdl(), locked.to_user_moved(),
                            locked.to_network_moved(), nullptr});
  if (!NT_SUCCESS(status)) {
    locked.close();
    return status;
  }
  adapter.owner = Owner::rings;
  adapter.owner_file = &file;
  adapter.owner_process = PsGetCurrentProcessId();
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI device_control(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const Inside inside(control);
  if (!inside) return finish(irp, STATUS_DEVICE_REMOVED);
  const auto& asked = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
  if (asked.IoControlCode != kRegisterRings) return finish(irp, STATUS_INVALID_DEVICE_REQUEST);
  const bool is_32_bit = IoIs32bitProcess(irp) != FALSE;
  const ULONG size = is_32_bit ? sizeof(Registration<uint32_t>) : sizeof(Registration<uint64_t>);
  if (asked.InputBufferLength != size || asked.OutputBufferLength != 0)
    return finish(irp, STATUS_INVALID_BUFFER_SIZE);
  const PVOID buffer = irp->AssociatedIrp.SystemBuffer;
  const Registration<uint64_t> registration = is_32_bit ? widen<uint32_t>(buffer) : widen<uint64_t>(buffer);
  SerialHold hold(control.adapter->serial);
  return finish(irp, register_rings(*control.adapter, open_file(irp), registration));
}

NTSTATUS NTAPI read(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const Inside inside(control);
  return inside ? read_bundle(control, open_file(irp), irp) : finish(irp, STATUS_DEVICE_REMOVED);
}

NTSTATUS NTAPI write(PDEVICE_OBJECT device, PIRP irp) {
  Control& control = control_of(device);
  const Inside inside(control);
  return inside ? write_bundle(control, open_file(irp), irp) : finish(irp, STATUS_DEVICE_REMOVED);
}

// A name with the LUID's index behind it. 32 characters are enough for each.
struct Name {
  WCHAR text[32];
  UNICODE_STRING string{0, sizeof(text), text};
  NTSTATUS set(PCWSTR prefix, ULONG index) {
    WCHAR digits[9];
    UNICODE_STRING number{0, sizeof(digits), digits};
    NTSTATUS status = RtlAppendUnicodeToString(&string, prefix);
    if (NT_SUCCESS(status)) status = RtlIntegerToUnicodeString(index, 10, &number);
    return NT_SUCCESS(status) ? RtlAppendUnicodeStringToString(&string, &number) : status;
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

NTSTATUS finish(PIRP irp, NTSTATUS status, ULONG_PTR information) {
  irp->IoStatus.Status = status;
  irp->IoStatus.Information = information;
  IoCompleteRequest(irp, IO_NO_INCREMENT);
  return status;
}

NTSTATUS create_control_device(Adapter& adapter, NET_LUID luid) {
  const ULONG index = static_cast<ULONG>(luid.Info.NetLuidIndex);
  Name name, symbolic;
  NTSTATUS status = name.set(L"\\Device\\RINGTUN", index);
  if (NT_SUCCESS(status)) status = symbolic.set(L"\\DosDevices\\Global\\RINGTUN", index);
  if (!NT_SUCCESS(status)) return status;
  PDRIVER_DISPATCH functions[IRP_MJ_MAXIMUM_FUNCTION + 1] = {};
  functions[IRP_MJ_CREATE] = create;
  functions[IRP_MJ_CLEANUP] = cleanup;
  functions[IRP_MJ_CLOSE] = close;
  functions[IRP_MJ_READ] = read;
  functions[IRP_MJ_WRITE] = write;
  functions[IRP_MJ_DEVICE_CONTROL] = device_control;
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
  status = NdisRegisterDeviceEx(driver.handle, &attributes, &device, &adapter.device);
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

void evict(Adapter& adapter) {
  {
    SerialHold hold(adapter.serial);
    adapter.end_session();
  }
  close_handles(*adapter.control);
}

}  // namespace wintun
