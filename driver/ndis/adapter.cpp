// An adapter's life as NDIS drives it: initialize, then restart and pause in turn, then halt. Its calls come one at a
// time, at PASSIVE_LEVEL unless another is said.
#include "driver/ndis/adapter.hpp"

#include "driver/ndis/bundles.hpp"
#include "driver/ndis/control.hpp"
#include "driver/ndis/oid.hpp"

namespace wintun {

Adapter::Adapter() {
  serial.initialize();
  KeInitializeEvent(&host.stop, NotificationEvent, FALSE);
  KeInitializeEvent(&go, NotificationEvent, FALSE);
}

Adapter::~Adapter() {
  if (host.pool != nullptr) NdisFreeNetBufferListPool(host.pool);
}

namespace {

bool allocate(Adapter& adapter) {
  const NDIS_HANDLE handle = adapter.host.adapter;
  NET_BUFFER_LIST_POOL_PARAMETERS parameters = {};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                       NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1};
  parameters.fAllocateNetBuffer = TRUE;
  parameters.PoolTag = kPoolTag;
  adapter.host.pool = NdisAllocateNetBufferListPool(handle, &parameters);
  return adapter.host.pool != nullptr && adapter.state.lock(Direction::to_user).allocate(handle) &&
         adapter.state.lock(Direction::to_network).allocate(handle);
}

NDIS_STATUS set_registration(Adapter& adapter) {
  NDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes = {};
  auto& registration = attributes.RegistrationAttributes;
  registration.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                         NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                         NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1};
  registration.MiniportAdapterContext = &adapter;
  registration.AttributeFlags =
      NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND | NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK;
  registration.InterfaceType = NdisInterfaceInternal;
  return NdisMSetMiniportAttributes(adapter.host.adapter, &attributes);
}

NDIS_STATUS set_general(Adapter& adapter) {
  const bool is_newer = driver.ndis_version >= NDIS_RUNTIME_VERSION_630;
  NDIS_PM_CAPABILITIES power = {};  // nothing wakes the system
  power.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
  power.Header.Revision = is_newer ? NDIS_PM_CAPABILITIES_REVISION_2 : NDIS_PM_CAPABILITIES_REVISION_1;
  power.Header.Size =
      is_newer ? NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_2 : NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_1;
  NDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes = {};
  auto& general = attributes.GeneralAttributes;
  general.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2,
                    NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2};
  general.MediaType = NdisMediumIP;
  general.MtuSize = kMaxPacketSize;
  general.MaxXmitLinkSpeed = general.XmitLinkSpeed = kLinkSpeed;
  general.MaxRcvLinkSpeed = general.RcvLinkSpeed = kLinkSpeed;
  general.MediaConnectState = MediaConnectStateDisconnected;
  general.MediaDuplexState = MediaDuplexStateFull;
  general.LookaheadSize = kMaxPacketSize;
  general.MacOptions = kMacOptions;
  general.SupportedPacketFilters = kPacketFilters;
  general.AccessType = NET_IF_ACCESS_BROADCAST;
  general.DirectionType = NET_IF_DIRECTION_SENDRECEIVE;
  general.ConnectionType = NET_IF_CONNECTION_DEDICATED;
  general.IfType = IF_TYPE_PROP_VIRTUAL;
  general.SupportedStatistics = kStatistics;
  general.SupportedOidList = const_cast<NDIS_OID*>(kOids);
  general.SupportedOidListLength = sizeof(kOids);
  general.PowerManagementCapabilitiesEx = &power;
  return NdisMSetMiniportAttributes(adapter.host.adapter, &attributes);
}

}  // namespace

NDIS_STATUS NTAPI initialize(NDIS_HANDLE handle, NDIS_HANDLE, PNDIS_MINIPORT_INIT_PARAMETERS parameters) {
  Adapter* const adapter = new Adapter;
  if (adapter == nullptr) return NDIS_STATUS_RESOURCES;
  adapter->host.adapter = handle;
  NDIS_STATUS status = allocate(*adapter) ? NDIS_STATUS_SUCCESS : NDIS_STATUS_RESOURCES;
  if (status == NDIS_STATUS_SUCCESS) status = set_registration(*adapter);
  if (status == NDIS_STATUS_SUCCESS) status = set_general(*adapter);
  if (status == NDIS_STATUS_SUCCESS) status = create_control_device(*adapter, parameters->NetLuid);
  if (status != NDIS_STATUS_SUCCESS) {
    delete adapter;
    return status;
  }
  SerialHold all(driver.serial);
  adapter->next = driver.adapters;
  driver.adapters = adapter;
  return NDIS_STATUS_SUCCESS;
}

VOID NTAPI halt(NDIS_HANDLE context, NDIS_HALT_ACTION) {
  Adapter* const adapter = static_cast<Adapter*>(context);
  {
    SerialHold hold(adapter->serial);
    adapter->removed = adapter->halting = true;
  }
  evict(*adapter);
  {
    SerialHold all(driver.serial);
    Adapter** at = &driver.adapters;
    while (*at != adapter) at = &(*at)->next;
    *at = adapter->next;
  }
  delete_control_device(*adapter);
  delete adapter;
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
  Adapter& adapter = *static_cast<Adapter*>(context);
  switch (event->DevicePnPEvent) {
    case NdisDevicePnPEventSurpriseRemoved: {
      SerialHold hold(adapter.serial);
      adapter.removed = true;
    }
      [[fallthrough]];
    case NdisDevicePnPEventQueryRemoved:
    case NdisDevicePnPEventRemoved:
      evict(adapter);
      break;
    default:
      break;
  }
}

// The system goes down, perhaps by a bug check at any level: there is no hardware to stop, and nothing may wait.
VOID NTAPI shut_down(NDIS_HANDLE, NDIS_SHUTDOWN_ACTION) {}

// A transition waits for packets that others have. PASSIVE_LEVEL.
void Host::let_others_run() {
  LARGE_INTEGER interval;
  interval.QuadPart = -10'000;  // a millisecond
  KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

void Host::wake_program() {
  if (rings.bundles != nullptr) {
    rings.bundles->complete_reads();
  } else {
    KeSetEvent(rings.to_user_moved, IO_NETWORK_INCREMENT, FALSE);
  }
}

}  // namespace wintun
