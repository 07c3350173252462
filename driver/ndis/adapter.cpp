// An adapter from initialize() to halt(), and its session, from the link going up to the rings being nobody's, for a
// program's rings and for bundles alike. PASSIVE_LEVEL.
#include "driver/ndis/adapter.hpp"

namespace wintun {

static_assert(alignof(Adapter) == sizeof(PVOID));  // as the extension of a device is

namespace {

// A name with the LUID's index behind it. 40 characters are enough for each.
struct Name {
  WCHAR text[40];
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
constexpr UCHAR kHighIntegrity[] = {1,    0, 0x10, 0x80, 0, 0, 0, 0,  0, 0,    0, 0,
                                    20,   0, 0,    0,    0, 0, 0, 0,  // self-relative: a SACL at 20, and nothing else
                                    2,    0, 28,   0,    1, 0, 0, 0,  // the SACL: revision, bytes, entries
                                    0x11, 0, 20,   0,    7, 0, 0, 0,  // mandatory label: bytes, policy
                                    1,    1, 0,    0,    0, 0, 0, 16, 0, 0x30, 0, 0};  // S-1-16-12288
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

NDIS_STATUS NTAPI initialize(NDIS_HANDLE handle, NDIS_HANDLE, PNDIS_MINIPORT_INIT_PARAMETERS parameters) {
  const ULONG index = static_cast<ULONG>(parameters->NetLuid.Info.NetLuidIndex);
  Name name, symbolic;
  if (!name.set(L"\\Device\\RINGTUN", index) || !symbolic.set(L"\\DosDevices\\Global\\RINGTUN", index)) {
    return STATUS_BUFFER_TOO_SMALL;
  }
  PDRIVER_DISPATCH functions[IRP_MJ_MAXIMUM_FUNCTION + 1] = {};
  functions[IRP_MJ_CREATE] = functions[IRP_MJ_CLEANUP] = functions[IRP_MJ_CLOSE] = dispatch;
  functions[IRP_MJ_READ] = functions[IRP_MJ_WRITE] = functions[IRP_MJ_DEVICE_CONTROL] = dispatch;
  UNICODE_STRING access;
  RtlInitUnicodeString(&access, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
  NDIS_DEVICE_OBJECT_ATTRIBUTES attributes = {};
  attributes.Header = {NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES, NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1,
                       NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1};
  attributes.DeviceName = &name.string;
  attributes.SymbolicName = &symbolic.string;
  attributes.MajorFunctions = functions;
  attributes.ExtensionSize = sizeof(Adapter);
  attributes.DefaultSDDLString = &access;
  PDEVICE_OBJECT device = nullptr;
  NDIS_HANDLE device_handle = nullptr;
  NTSTATUS status = NdisRegisterDeviceEx(driver.handle, &attributes, &device, &device_handle);
  if (status != NDIS_STATUS_SUCCESS) return status;
  // Who opens it from here on finds an extension of zeros, and is refused.
  Adapter* const adapter = new (NdisGetDeviceReservedExtension(device)) Adapter(handle, device_handle);
  device->Flags |= DO_DIRECT_IO;
  status = require_high_integrity(device);
  if (NT_SUCCESS(status)) status = adapter->allocate();
  if (NT_SUCCESS(status)) status = set_attributes(*adapter);
  if (!NT_SUCCESS(status)) {
    adapter->free();
    return status;
  }
  SerialHold all(driver.serial);
  adapter->next = driver.adapters;
  driver.adapters = adapter;
  __atomic_store_n(&adapter->is_ready, 1, __ATOMIC_RELEASE);
  return NDIS_STATUS_SUCCESS;
}

VOID NTAPI halt(NDIS_HANDLE context, NDIS_HALT_ACTION) {
  Adapter* const adapter = static_cast<Adapter*>(context);
  evict(*adapter, Removal::by_halt);
  {
    SerialHold all(driver.serial);
    Adapter** at = &driver.adapters;
    while (*at != adapter) at = &(*at)->next;
    *at = adapter->next;
  }
  ExWaitForRundownProtectionRelease(&adapter->rundown);
  adapter->free();
}

Adapter::Adapter(NDIS_HANDLE handle, NDIS_HANDLE device_handle) : device(device_handle) {
  host.adapter = handle;
  ExInitializeRundownProtection(&rundown);
  InitializeListHead(&files);
  serial.initialize();
  KeInitializeEvent(&host.stop, NotificationEvent, FALSE);
  KeInitializeEvent(&go, NotificationEvent, FALSE);
}

NTSTATUS Adapter::allocate() {
  NET_BUFFER_LIST_POOL_PARAMETERS parameters = {};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                       NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1};
  parameters.fAllocateNetBuffer = TRUE;
  parameters.PoolTag = kPoolTag;
  host.pool = NdisAllocateNetBufferListPool(host.adapter, &parameters);
  const bool has_all = host.pool != nullptr && state.lock(Direction::to_user).allocate(host.adapter) &&
                       state.lock(Direction::to_network).allocate(host.adapter);
  return has_all ? initialize_reads(reads) : STATUS_INSUFFICIENT_RESOURCES;
}

void Adapter::free() {
  if (host.pool != nullptr) NdisFreeNetBufferListPool(host.pool);
  state.lock(Direction::to_user).free();
  state.lock(Direction::to_network).free();
  NdisDeregisterDeviceEx(device);
}

NTSTATUS Adapter::begin_session(const Rings& rings) {
  KeClearEvent(&go);
  KeClearEvent(&host.stop);
  OBJECT_ATTRIBUTES attributes;
  InitializeObjectAttributes(&attributes, nullptr, OBJ_KERNEL_HANDLE, nullptr, nullptr);
  NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
  if (rings.to_network.mdl != nullptr)  // of bundles it may have failed; the thread is the last that can
    status = PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, &attributes, nullptr, nullptr, receive_thread, this);
  if (!NT_SUCCESS(status)) {
    give_back(rings);
    return status;
  }
  host.rings = rings;
  to_user.attach(rings.to_user.ring, rings.to_user.capacity);
  to_network.attach(rings.to_network.ring, rings.to_network.capacity);
  state.connect();
  indicate_link(MediaConnectStateConnected);  // before the thread indicates a packet
  KeSetEvent(&go, IO_NO_INCREMENT, FALSE);
  return STATUS_SUCCESS;
}

void Adapter::end_session() {
  if (!state.is_connected()) return;
  state.disconnect(to_user, to_network);  // waits for the packets that the stack has
  if (removal != Removal::by_halt) indicate_link(MediaConnectStateDisconnected);
  KeSetEvent(&host.stop, IO_NO_INCREMENT, FALSE);
  ZwWaitForSingleObject(thread, FALSE, nullptr);
  ZwClose(thread);
  to_user.end();
  to_network.end();
  give_back(host.rings);
  host.rings = {};
  owner_file = nullptr;
  owner_process = nullptr;
}

// A transition waits for packets that others have.
void Host::let_others_run() {
  LARGE_INTEGER interval = {.QuadPart = -10'000};  // a millisecond
  KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

}  // namespace wintun
