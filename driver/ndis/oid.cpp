// What the adapter says of itself: its attributes, its link, and what NDIS does not answer from the attributes by
// itself (docs/driver-ndis.md). Exact lengths: too little room is BUFFER_TOO_SHORT (a query) or INVALID_LENGTH (a
// set) with the bytes that are needed, and nothing is written or changed. DISPATCH_LEVEL or below, except
// OID_PNP_SET_POWER, which comes at PASSIVE_LEVEL and waits for packets.
#include "driver/ndis/adapter.hpp"

namespace wintun {

namespace {

using Query = decltype(NDIS_OID_REQUEST::DATA.QUERY_INFORMATION);
using Set = decltype(NDIS_OID_REQUEST::DATA.SET_INFORMATION);

constexpr char kVendor[] = "RingTUN layer 3 tunnel";
constexpr ULONG kVersion = RINGTUN_VERSION_MAJOR << 16 | RINGTUN_VERSION_MINOR;
constexpr ULONG kNoVendor = 0xFFFFFFFF;  // no IEEE number
constexpr ULONG kReady = NdisHardwareStatusReady;
constexpr ULONG64 kLinkSpeed = 100'000'000'000;
constexpr ULONG kPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_MULTICAST |
                                 NDIS_PACKET_TYPE_ALL_MULTICAST | NDIS_PACKET_TYPE_BROADCAST |
                                 NDIS_PACKET_TYPE_ALL_LOCAL | NDIS_PACKET_TYPE_PROMISCUOUS;
constexpr ULONG kStatistics = 0x003F87FF;  // everything: a TUN's packets are all counted as directed ones

template <class Value>
NDIS_STATUS answer(Query& query, const Value& value) {
  query.BytesWritten = 0;
  query.BytesNeeded = sizeof(value);
  if (query.InformationBufferLength < sizeof(value)) return NDIS_STATUS_BUFFER_TOO_SHORT;
  memcpy(query.InformationBuffer, &value, sizeof(value));
  query.BytesWritten = sizeof(value);
  return NDIS_STATUS_SUCCESS;
}

// "In" is to the stack. Each drop is a discard; errors there are none, since there is no wire.
NDIS_STATISTICS_INFO statistics(const Adapter& adapter) {
  const Traffic& in = adapter.to_network.traffic();
  const Traffic& out = adapter.to_user.traffic();
  NDIS_STATISTICS_INFO info = {};
  info.Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_STATISTICS_INFO_REVISION_1, NDIS_SIZEOF_STATISTICS_INFO_REVISION_1};
  info.SupportedStatistics = kStatistics;
  info.ifInDiscards = in.drops.value() + adapter.host.drops(Direction::to_network);
  info.ifHCInOctets = info.ifHCInUcastOctets = in.bytes.value();
  info.ifHCInUcastPkts = in.packets.value();
  info.ifHCOutOctets = info.ifHCOutUcastOctets = out.bytes.value();
  info.ifHCOutUcastPkts = out.packets.value();
  info.ifOutDiscards = out.drops.value() + adapter.host.drops(Direction::to_user);
  return info;
}

// Counters have 64 bits; who has room for 32 only gets those, and is told of the others.
template <auto kCounter>
NDIS_STATUS counter(const Adapter& adapter, Query& query) {
  const uint64_t value = statistics(adapter).*kCounter;
  if (query.InformationBufferLength >= sizeof(value)) return answer(query, value);
  const NDIS_STATUS status = answer(query, static_cast<ULONG>(value));
  query.BytesNeeded = sizeof(value);
  return status;
}

template <const auto& kValue>
NDIS_STATUS constant(const Adapter&, Query& query) {
  return answer(query, kValue);
}

NDIS_STATUS all_statistics(const Adapter& adapter, Query& query) { return answer(query, statistics(adapter)); }

// May the system sleep? Yes.
NDIS_STATUS query_power(const Adapter&, Query& query) {
  query.BytesWritten = query.BytesNeeded = 0;
  return NDIS_STATUS_SUCCESS;
}

constexpr NDIS_INTERRUPT_MODERATION_PARAMETERS kNoModeration = {
    {NDIS_OBJECT_TYPE_DEFAULT, NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1,
     NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1},
    0,
    NdisInterruptModerationNotSupported};

// Every OID that is supported, and what answers a query of it, unless it can be set only.
struct Supported {
  NDIS_OID oid;
  NDIS_STATUS (*query)(const Adapter&, Query&);
};
constexpr Supported kSupported[] = {
    {OID_GEN_HARDWARE_STATUS, constant<kReady>},
    {OID_GEN_MAXIMUM_FRAME_SIZE, constant<kMaxPacketSize>},
    {OID_GEN_MAXIMUM_TOTAL_SIZE, constant<kMaxPacketSize>},
    {OID_GEN_TRANSMIT_BLOCK_SIZE, constant<kMaxPacketSize>},
    {OID_GEN_RECEIVE_BLOCK_SIZE, constant<kMaxPacketSize>},
    {OID_GEN_TRANSMIT_BUFFER_SPACE, constant<kMaxCapacity>},
    {OID_GEN_RECEIVE_BUFFER_SPACE, constant<kMaxCapacity>},
    {OID_GEN_VENDOR_ID, constant<kNoVendor>},
    {OID_GEN_VENDOR_DESCRIPTION, constant<kVendor>},
    {OID_GEN_VENDOR_DRIVER_VERSION, constant<kVersion>},
    {OID_GEN_INTERRUPT_MODERATION, constant<kNoModeration>},
    {OID_GEN_STATISTICS, all_statistics},
    {OID_GEN_XMIT_OK, counter<&NDIS_STATISTICS_INFO::ifHCOutUcastPkts>},
    {OID_GEN_RCV_OK, counter<&NDIS_STATISTICS_INFO::ifHCInUcastPkts>},
    {OID_GEN_CURRENT_PACKET_FILTER, nullptr},
    {OID_GEN_CURRENT_LOOKAHEAD, nullptr},
    {OID_PNP_QUERY_POWER, query_power},
    {OID_PNP_SET_POWER, nullptr},
};
constexpr struct OidList {
  constexpr OidList() {
    for (size_t i = 0; i < sizeof(oids) / sizeof(*oids); ++i) oids[i] = kSupported[i].oid;
  }
  NDIS_OID oids[sizeof(kSupported) / sizeof(*kSupported)] = {};
} kOids;

NDIS_STATUS query_information(const Adapter& adapter, Query& query) {
  for (const Supported& one : kSupported) {
    if (one.oid == query.Oid && one.query != nullptr) return one.query(adapter, query);
  }
  return NDIS_STATUS_NOT_SUPPORTED;
}

NDIS_STATUS set_information(Adapter& adapter, Set& set) {
  const bool is_filter = set.Oid == OID_GEN_CURRENT_PACKET_FILTER;
  const bool is_power = set.Oid == OID_PNP_SET_POWER;
  if (set.Oid == OID_GEN_INTERRUPT_MODERATION) return NDIS_STATUS_INVALID_DATA;
  if (!is_filter && !is_power && set.Oid != OID_GEN_CURRENT_LOOKAHEAD) return NDIS_STATUS_NOT_SUPPORTED;
  ULONG value = 0;
  set.BytesRead = 0;
  set.BytesNeeded = sizeof(value);
  if (set.InformationBufferLength != sizeof(value)) return NDIS_STATUS_INVALID_LENGTH;
  memcpy(&value, set.InformationBuffer, sizeof(value));
  set.BytesRead = sizeof(value);
  if (is_power && (value < NdisDeviceStateD0 || value > NdisDeviceStateD3)) return NDIS_STATUS_INVALID_DATA;
  // NDIS keeps filter and lookahead and answers for them; packets are indicated all and whole.
  if (is_filter && (value & ~kPacketFilters) != 0) return NDIS_STATUS_NOT_SUPPORTED;
  const Power power = static_cast<Power>(value - NdisDeviceStateD0);
  if (is_power) adapter.state.set_power(power, adapter.to_user, adapter.to_network);
  return NDIS_STATUS_SUCCESS;
}

}  // namespace

NDIS_STATUS set_attributes(Adapter& adapter) {
  NDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes = {};
  auto& registration = attributes.RegistrationAttributes;
  registration.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                         NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                         NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1};
  registration.MiniportAdapterContext = &adapter;
  registration.AttributeFlags =
      NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND | NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK;
  registration.InterfaceType = NdisInterfaceInternal;
  const NDIS_STATUS status = NdisMSetMiniportAttributes(adapter.host.adapter, &attributes);
  if (status != NDIS_STATUS_SUCCESS) return status;

  const bool is_newer = driver.ndis_version >= NDIS_RUNTIME_VERSION_630;
  NDIS_PM_CAPABILITIES power = {};  // nothing wakes the system
  power.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
  power.Header.Revision = is_newer ? NDIS_PM_CAPABILITIES_REVISION_2 : NDIS_PM_CAPABILITIES_REVISION_1;
  power.Header.Size =
      is_newer ? NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_2 : NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_1;
  attributes = {};
  auto& general = attributes.GeneralAttributes;
  general.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2,
                    NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2};
  general.MediaType = NdisMediumIP;
  general.MtuSize = general.LookaheadSize = kMaxPacketSize;
  general.MaxXmitLinkSpeed = general.XmitLinkSpeed = general.MaxRcvLinkSpeed = general.RcvLinkSpeed = kLinkSpeed;
  general.MediaConnectState = MediaConnectStateDisconnected;
  general.MediaDuplexState = MediaDuplexStateFull;
  general.MacOptions =
      NDIS_MAC_OPTION_TRANSFERS_NOT_PEND | NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA | NDIS_MAC_OPTION_NO_LOOPBACK;
  general.SupportedPacketFilters = kPacketFilters;
  general.AccessType = NET_IF_ACCESS_BROADCAST;
  general.DirectionType = NET_IF_DIRECTION_SENDRECEIVE;
  general.ConnectionType = NET_IF_CONNECTION_DEDICATED;
  general.IfType = IF_TYPE_PROP_VIRTUAL;
  general.SupportedStatistics = kStatistics;
  general.SupportedOidList = const_cast<NDIS_OID*>(kOids.oids);
  general.SupportedOidListLength = sizeof(kOids);
  general.PowerManagementCapabilitiesEx = &power;
  return NdisMSetMiniportAttributes(adapter.host.adapter, &attributes);
}

NDIS_STATUS NTAPI oid_request(NDIS_HANDLE context, PNDIS_OID_REQUEST request) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  const NDIS_REQUEST_TYPE type = request->RequestType;
  if (type == NdisRequestSetInformation) return set_information(adapter, request->DATA.SET_INFORMATION);
  const bool is_query = type == NdisRequestQueryInformation || type == NdisRequestQueryStatistics;
  return is_query ? query_information(adapter, request->DATA.QUERY_INFORMATION) : NDIS_STATUS_NOT_SUPPORTED;
}

void Adapter::indicate_link(NDIS_MEDIA_CONNECT_STATE connected) {
  NDIS_LINK_STATE link_state = {};
  link_state.Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_LINK_STATE_REVISION_1, NDIS_SIZEOF_LINK_STATE_REVISION_1};
  link_state.MediaConnectState = connected;
  link_state.MediaDuplexState = MediaDuplexStateFull;
  link_state.XmitLinkSpeed = link_state.RcvLinkSpeed = kLinkSpeed;
  link_state.PauseFunctions = NdisPauseFunctionsUnsupported;
  NDIS_STATUS_INDICATION indication = {};
  indication.Header = {NDIS_OBJECT_TYPE_STATUS_INDICATION, NDIS_STATUS_INDICATION_REVISION_1,
                       NDIS_SIZEOF_STATUS_INDICATION_REVISION_1};
  indication.SourceHandle = host.adapter;
  indication.StatusCode = NDIS_STATUS_LINK_STATE;
  indication.StatusBuffer = &link_state;
  indication.StatusBufferSize = sizeof(link_state);
  NdisMIndicateStatusEx(host.adapter, &indication);
}

}  // namespace wintun
