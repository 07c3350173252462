// Where the driver begins and ends: DriverEntry tells NDIS what to call. From a packet's call (packets.cpp) it is
// ToUser::give, reserve, fill and Host::copy to the packet in the ring. An adapter is initialized, then restarted and
// paused in turn, then halted; these calls come one at a time for it, at PASSIVE_LEVEL unless another is said.
#include "driver/ndis/adapter.hpp"

namespace wintun {

Driver driver;

namespace {

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

NDIS_STATUS NTAPI restart(NDIS_HANDLE context, PNDIS_MINIPORT_RESTART_PARAMETERS) {
  static_cast<Adapter*>(context)->state.start();
  return NDIS_STATUS_SUCCESS;
}

// Waits for the packets that the stack has, as NDIS would for a status that says "pending".
NDIS_STATUS NTAPI pause(NDIS_HANDLE context, PNDIS_MINIPORT_PAUSE_PARAMETERS) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  adapter.state.pause(adapter.to_user, adapter.to_network);
  return NDIS_STATUS_SUCCESS;
}

// A removal that is only asked for may be called off: the adapter then takes new sessions, the old one is gone.
VOID NTAPI pnp_event(NDIS_HANDLE context, PNET_DEVICE_PNP_EVENT event) {
  const NDIS_DEVICE_PNP_EVENT what = event->DevicePnPEvent;
  const bool is_surprise = what == NdisDevicePnPEventSurpriseRemoved;
  if (!is_surprise && what != NdisDevicePnPEventQueryRemoved && what != NdisDevicePnPEventRemoved) return;
  evict(*static_cast<Adapter*>(context), is_surprise ? Removal::by_surprise : Removal::none);
}

// The system goes down, perhaps by a bug check at any level: there is no hardware to stop, and nothing may wait.
VOID NTAPI shut_down(NDIS_HANDLE, NDIS_SHUTDOWN_ACTION) {}

// No packet waits between send() and its completion, and every OID request is answered before its call returns.
VOID NTAPI cancel_nothing(NDIS_HANDLE, PVOID) {}

VOID NTAPI unload(PDRIVER_OBJECT) {
  NdisMDeregisterMiniportDriver(driver.handle);
  PsSetCreateProcessNotifyRoutine(process_changed, TRUE);
}

NDIS_STATUS register_miniport(PDRIVER_OBJECT object, PUNICODE_STRING registry_path) {
  NDIS_MINIPORT_DRIVER_CHARACTERISTICS calls = {};
  const bool is_newer = driver.ndis_version >= NDIS_RUNTIME_VERSION_680;
  calls.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS;
  calls.Header.Revision =
      is_newer ? NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 : NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
  calls.Header.Size = is_newer ? NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3
                               : NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
  calls.MajorNdisVersion = static_cast<UCHAR>(driver.ndis_version >> 16);
  calls.MinorNdisVersion = static_cast<UCHAR>(driver.ndis_version);
  calls.MajorDriverVersion = RINGTUN_VERSION_MAJOR;
  calls.MinorDriverVersion = RINGTUN_VERSION_MINOR;
  calls.InitializeHandlerEx = initialize;
  calls.HaltHandlerEx = halt;
  calls.UnloadHandler = unload;
  calls.PauseHandler = pause;
  calls.RestartHandler = restart;
  calls.OidRequestHandler = oid_request;
  calls.SendNetBufferListsHandler = send;
  calls.ReturnNetBufferListsHandler = return_lists;
  calls.DevicePnPEventNotifyHandler = pnp_event;
  calls.ShutdownHandlerEx = shut_down;
  calls.CancelSendHandler = calls.CancelOidRequestHandler = cancel_nothing;
  return NdisMRegisterMiniportDriver(object, registry_path, nullptr, &calls, &driver.handle);
}

}  // namespace

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING registry_path) {
  const ULONG version = NdisGetVersion();
  if (version < NDIS_RUNTIME_VERSION_620) return NDIS_STATUS_BAD_VERSION;
  driver = {};
  driver.ndis_version = version < NDIS_RUNTIME_VERSION_683 ? version : NDIS_RUNTIME_VERSION_683;
  driver.pool = version < NDIS_RUNTIME_VERSION_630 ? NonPagedPool : NonPagedPoolNx;  // 6.20 is Windows 7
  driver.serial.initialize();
  const NTSTATUS status = PsSetCreateProcessNotifyRoutine(process_changed, FALSE);
  if (!NT_SUCCESS(status)) return status;
  const NDIS_STATUS registered = register_miniport(object, registry_path);
  if (registered != NDIS_STATUS_SUCCESS) PsSetCreateProcessNotifyRoutine(process_changed, TRUE);
  return registered;
}

}  // namespace wintun
