// Control devices that a miniport driver registers: a device of NT's with a link, whose requests go to the functions
// that were registered with it. Public pages: NdisRegisterDeviceEx, NDIS_DEVICE_OBJECT_ATTRIBUTES,
// NdisDeregisterDeviceEx, NdisGetDeviceReservedExtension.
#include <cstring>
#include <new>

#include "tests/kernel/ndis/ndis.hpp"

// Not of the WDK's headers: a library there, a function of the kernel here and in Wine.
extern "C" NTSTATUS NTAPI IoCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name,
                                               DEVICE_TYPE type, ULONG characteristics, BOOLEAN exclusive,
                                               PCUNICODE_STRING sddl, const GUID* group, PDEVICE_OBJECT* device);

namespace wintun::kernel {
namespace {

// In front of the driver's part of the extension, which stays as long as somebody has the device open.
struct alignas(16) Extension {
  MiniportDriver* driver;
  PDRIVER_DISPATCH functions[IRP_MJ_MAXIMUM_FUNCTION + 1];
};

struct Registered {
  PDEVICE_OBJECT device;
  std::u16string link;
};

NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp) {
  const auto* const extension = static_cast<const Extension*>(device->DeviceExtension);
  const PDRIVER_DISPATCH function = extension->functions[IoGetCurrentIrpStackLocation(irp)->MajorFunction];
  if (function != nullptr) {
    // Counted here, as another kernel may be below: a file is open from its create's success to its close.
    MiniportDriver& driver = *extension->driver;
    const UCHAR major = IoGetCurrentIrpStackLocation(irp)->MajorFunction;
    if (major == IRP_MJ_CLOSE) --driver.open_files;
    const NTSTATUS status = function(device, irp);
    if (major == IRP_MJ_CREATE && NT_SUCCESS(status)) ++driver.open_files;
    return status;
  }
  irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
  irp->IoStatus.Information = 0;
  IofCompleteRequest(irp, IO_NO_INCREMENT);
  return STATUS_NOT_SUPPORTED;
}

}  // namespace
}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

NDIS_STATUS NTAPI NdisRegisterDeviceEx(NDIS_HANDLE handle, PNDIS_DEVICE_OBJECT_ATTRIBUTES attributes,
                                       PDEVICE_OBJECT* device, NDIS_HANDLE* device_handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  auto* const driver = static_cast<MiniportDriver*>(handle);
  if (!is_out(Kind::miniport_driver, driver)) {
    violation("NdisRegisterDeviceEx with what is no handle of a miniport driver");
    return NDIS_STATUS_FAILURE;
  }
  if (attributes->Header.Type != NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES ||
      attributes->Header.Revision != NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1 ||
      attributes->Header.Size < NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1 ||
      attributes->MajorFunctions == nullptr || attributes->DeviceName == nullptr) {
    violation("NdisRegisterDeviceEx with bad attributes");
    return NDIS_STATUS_INVALID_PARAMETER;
  }
  UNICODE_STRING standard;
  RtlInitUnicodeString(&standard, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
  const PCUNICODE_STRING sddl = attributes->DefaultSDDLString != nullptr ? attributes->DefaultSDDLString : &standard;
  PDEVICE_OBJECT made = nullptr;
  const auto extension_bytes = static_cast<ULONG>(sizeof(Extension) + attributes->ExtensionSize);
  const NTSTATUS status =
      IoCreateDeviceSecure(driver->object, extension_bytes, attributes->DeviceName, FILE_DEVICE_NETWORK,
                           FILE_DEVICE_SECURE_OPEN, FALSE, sddl, attributes->DeviceClassGuid, &made);
  if (!NT_SUCCESS(status)) return status;
  auto registered = std::make_unique<Registered>();
  registered->device = made;
  if (attributes->SymbolicName != nullptr) {
    registered->link.resize(attributes->SymbolicName->Length / sizeof(WCHAR));
    std::memcpy(registered->link.data(), attributes->SymbolicName->Buffer, attributes->SymbolicName->Length);
    const NTSTATUS linked = IoCreateSymbolicLink(attributes->SymbolicName, attributes->DeviceName);
    if (!NT_SUCCESS(linked)) {
      IoDeleteDevice(made);
      return linked;
    }
  }
  auto* const extension = new (made->DeviceExtension) Extension{};
  extension->driver = driver;
  std::memcpy(extension->functions, attributes->MajorFunctions, sizeof(extension->functions));
  for (PDRIVER_DISPATCH& function : driver->object->MajorFunction) function = dispatch;
  made->Flags &= ~static_cast<ULONG>(DO_DEVICE_INITIALIZING);
  *device = made;
  *device_handle = registered.release();
  return NDIS_STATUS_SUCCESS;
}

VOID NTAPI NdisDeregisterDeviceEx(NDIS_HANDLE handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  const std::unique_ptr<Registered> registered(static_cast<Registered*>(handle));
  if (!registered->link.empty()) {
    const auto bytes = static_cast<USHORT>(registered->link.size() * sizeof(WCHAR));
    UNICODE_STRING link{bytes, bytes, reinterpret_cast<PWSTR>(registered->link.data())};
    IoDeleteSymbolicLink(&link);
  }
  IoDeleteDevice(registered->device);
}

PVOID NTAPI NdisGetDeviceReservedExtension(PDEVICE_OBJECT device) {
  return static_cast<char*>(device->DeviceExtension) + sizeof(Extension);
}

}  // extern "C"
