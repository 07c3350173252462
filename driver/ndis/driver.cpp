// Where the driver begins and ends. DriverEntry tells NDIS what to call; from a packet's call (send.cpp) it is
// ToUser::give, reserve, fill and Host::copy to the packet in the ring. PASSIVE_LEVEL.
#include "driver/ndis/adapter.hpp"

namespace wintun {

Driver driver;

namespace {

constexpr ULONG kOldestNdis = NDIS_RUNTIME_VERSION_620;
constexpr ULONG kNewestNdis = NDIS_RUNTIME_VERSION_683;
constexpr ULONG kNdisWithRevision3 = 0x00060050;  // 6.80

// A process ends. Its handles are closed after this; but a duplicate in another process would keep the registration,
// and memory must not stay locked when its process goes.
VOID NTAPI process_changed(HANDLE, HANDLE process, BOOLEAN is_new) {
  if (is_new) return;
  SerialHold all(driver.serial);
  for (Adapter* adapter = driver.adapters; adapter != nullptr; adapter = adapter->next) {
    SerialHold hold(adapter->serial);
    if (adapter->owner_process == process) adapter->end_session();
  }
}

NDIS_STATUS register_miniport(PDRIVER_OBJECT object, PUNICODE_STRING registry_path) {
  NDIS_MINIPORT_DRIVER_CHARACTERISTICS calls = {};
  const bool is_newer = driver.ndis_version >= kNdisWithRevision3;
  calls.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS;
  calls.Header.Revision =
      is_newer ? NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 : NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
  calls.Header.Size = is_newer ? NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3
                               : NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
  calls.MajorNdisVersion = static_cast<UCHAR>(driver.ndis_version >> 16);
  calls.MinorNdisVersion = static_cast<UCHAR>(driver.ndis_version);
  calls.MajorDriverVersion = kDriverMajor;
  calls.MinorDriverVersion = kDriverMinor;
  calls.InitializeHandlerEx = initialize;
  calls.HaltHandlerEx = halt;
  calls.UnloadHandler = unload;
  calls.PauseHandler = pause;
  calls.RestartHandler = restart;
  calls.OidRequestHandler = oid_request;
  calls.SendNetBufferListsHandler = send;
  calls.ReturnNetBufferListsHandler = return_lists;
  calls.CancelSendHandler = cancel_send;
  calls.DevicePnPEventNotifyHandler = pnp_event;
  calls.ShutdownHandlerEx = shut_down;
  calls.CancelOidRequestHandler = cancel_oid_request;
  return NdisMRegisterMiniportDriver(object, registry_path, nullptr, &calls, &driver.handle);
}

}  // namespace

VOID NTAPI unload(PDRIVER_OBJECT) {
  NdisMDeregisterMiniportDriver(driver.handle);
  PsSetCreateProcessNotifyRoutine(process_changed, TRUE);
}

}  // namespace wintun

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING registry_path) {
  using namespace wintun;
  const ULONG version = NdisGetVersion();
  if (version < kOldestNdis) return NDIS_STATUS_BAD_VERSION;
  driver = {};
  driver.ndis_version = version < kNewestNdis ? version : kNewestNdis;
  driver.pool = version < NDIS_RUNTIME_VERSION_630 ? NonPagedPool : NonPagedPoolNx;  // 6.20 is Windows 7
  driver.serial.initialize();
  const NTSTATUS status = PsSetCreateProcessNotifyRoutine(process_changed, FALSE);
  if (!NT_SUCCESS(status)) return status;
  const NDIS_STATUS registered = register_miniport(object, registry_path);
  if (registered != NDIS_STATUS_SUCCESS) PsSetCreateProcessNotifyRoutine(process_changed, TRUE);
  return registered;
}
