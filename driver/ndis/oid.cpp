// What the stack and management tools ask of the adapter and tell it. Exact lengths: too little room is
// BUFFER_TOO_SHORT (a query) or INVALID_LENGTH (a set) with the bytes that are needed, and nothing is written or
// changed; what is not known is NOT_SUPPORTED. DISPATCH_LEVEL or below, except OID_PNP_SET_POWER, which comes at
// PASSIVE_LEVEL and waits for packets. NDIS answers by itself what the attributes say already, for most callers.
#include "driver/ndis/oid.hpp"

#include "driver/ndis/adapter.hpp"

namespace wintun {

namespace {

using Query = decltype(NDIS_OID_REQUEST::DATA.QUERY_INFORMATION);
using Set = decltype(NDIS_OID_REQUEST::DATA.SET_INFORMATION);

constexpr char kVendor[] = "RingTUN layer 3 tunnel";
constexpr ULONG kNoVendor = 0xFFFFFFFF;  // no IEEE number

NDIS_STATUS answer(Query& query, const void* value, ULONG bytes) {
  query.BytesWritten = 0;
  query.BytesNeeded = bytes;
  if (query.InformationBufferLength < bytes) return NDIS_STATUS_BUFFER_TOO_SHORT;
  memcpy(query.InformationBuffer, value, bytes);
  query.BytesWritten = bytes;
  return NDIS_STATUS_SUCCESS;
}

NDIS_STATUS answer(Query& query, ULONG value) { return answer(query, &value, sizeof(value)); }

// Counters have 64 bits; who has room for 32 only gets those, and is told of the others.
NDIS_STATUS answer_counter(Query& query, uint64_t value) {
  if (query.InformationBufferLength >= sizeof(value)) return answer(query, &value, sizeof(value));
  const NDIS_STATUS status = answer(query, static_cast<ULONG>(value));
  query.BytesNeeded = sizeof(value);
  return status;
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

NDIS_STATUS query_statistics(const Adapter& adapter, Query& query) {
  const NDIS_STATISTICS_INFO info = statistics(adapter);
  switch (query.Oid) {
    case OID_GEN_XMIT_OK:
      return answer_counter(query, info.ifHCOutUcastPkts);
    case OID_GEN_RCV_OK:
      return answer_counter(query, info.ifHCInUcastPkts);
    case OID_GEN_XMIT_ERROR:
    case OID_GEN_RCV_ERROR:
      return answer_counter(query, 0);
    case OID_GEN_RCV_NO_BUFFER:
    case OID_GEN_RCV_DISCARDS:
      return answer_counter(query, info.ifInDiscards);
    case OID_GEN_XMIT_DISCARDS:
      return answer_counter(query, info.ifOutDiscards);
    case OID_GEN_BYTES_RCV:
      return answer_counter(query, info.ifHCInOctets);
    case OID_GEN_BYTES_XMIT:
      return answer_counter(query, info.ifHCOutOctets);
    case OID_GEN_STATISTICS:
      return answer(query, &info, NDIS_SIZEOF_STATISTICS_INFO_REVISION_1);
    default:
      return NDIS_STATUS_NOT_SUPPORTED;
  }
}

NDIS_STATUS query_information(const Adapter& adapter, Query& query) {
  switch (query.Oid) {
    case OID_GEN_SUPPORTED_LIST:
      return answer(query, kOids, sizeof(kOids));
    case OID_GEN_HARDWARE_STATUS:
      return answer(query, NdisHardwareStatusReady);
    case OID_GEN_MEDIA_SUPPORTED:
    case OID_GEN_MEDIA_IN_USE:
      return answer(query, NdisMediumIP);
    case OID_GEN_MAXIMUM_LOOKAHEAD:
    case OID_GEN_MAXIMUM_FRAME_SIZE:
    case OID_GEN_TRANSMIT_BLOCK_SIZE:
    case OID_GEN_RECEIVE_BLOCK_SIZE:
    case OID_GEN_MAXIMUM_TOTAL_SIZE:
      return answer(query, kMaxPacketSize);
    case OID_GEN_CURRENT_LOOKAHEAD:
      return answer(query, adapter.lookahead);
    case OID_GEN_TRANSMIT_BUFFER_SPACE:
    case OID_GEN_RECEIVE_BUFFER_SPACE:
      return answer(query, kMaxCapacity);
    case OID_GEN_VENDOR_ID:
      return answer(query, kNoVendor);
    case OID_GEN_VENDOR_DESCRIPTION:
      return answer(query, kVendor, sizeof(kVendor));
    case OID_GEN_CURRENT_PACKET_FILTER:
      return answer(query, adapter.packet_filter);
    case OID_GEN_DRIVER_VERSION: {
      const USHORT version = static_cast<USHORT>((driver.ndis_version >> 16 << 8) | (driver.ndis_version & 0xFF));
      return answer(query, &version, sizeof(version));
    }
    case OID_GEN_VENDOR_DRIVER_VERSION:
      return answer(query, kDriverMajor << 16 | kDriverMinor);
    case OID_GEN_MAC_OPTIONS:
      return answer(query, kMacOptions);
    case OID_GEN_MAXIMUM_SEND_PACKETS:
      return answer(query, 1);
    case OID_GEN_TRANSMIT_QUEUE_LENGTH:
      return answer(query, 0);
    case OID_GEN_INTERRUPT_MODERATION: {
      NDIS_INTERRUPT_MODERATION_PARAMETERS none = {};
      none.Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1,
                     NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1};
      none.InterruptModeration = NdisInterruptModerationNotSupported;
      return answer(query, &none, NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1);
    }
    case OID_PNP_QUERY_POWER:  // may the system sleep? Yes
      query.BytesWritten = query.BytesNeeded = 0;
      return NDIS_STATUS_SUCCESS;
    default:
      return query_statistics(adapter, query);
  }
}

NDIS_STATUS take(Set& set, ULONG& value) {
  set.BytesRead = 0;
  set.BytesNeeded = sizeof(value);
  if (set.InformationBufferLength != sizeof(value)) return NDIS_STATUS_INVALID_LENGTH;
  memcpy(&value, set.InformationBuffer, sizeof(value));
  set.BytesRead = sizeof(value);
  return NDIS_STATUS_SUCCESS;
}

NDIS_STATUS set_power(Adapter& adapter, ULONG value) {
  if (value < NdisDeviceStateD0 || value > NdisDeviceStateD3) return NDIS_STATUS_INVALID_DATA;
  adapter.state.set_power(static_cast<Power>(value - NdisDeviceStateD0), adapter.to_user, adapter.to_network);
  return NDIS_STATUS_SUCCESS;
}

NDIS_STATUS set_information(Adapter& adapter, Set& set) {
  ULONG value = 0;
  switch (set.Oid) {
    case OID_GEN_CURRENT_PACKET_FILTER:
    case OID_GEN_CURRENT_LOOKAHEAD:
    case OID_PNP_SET_POWER:
      break;
    case OID_GEN_INTERRUPT_MODERATION:
      return NDIS_STATUS_INVALID_DATA;
    default:
      return NDIS_STATUS_NOT_SUPPORTED;
  }
  const NDIS_STATUS status = take(set, value);
  if (status != NDIS_STATUS_SUCCESS) return status;
  if (set.Oid == OID_PNP_SET_POWER) return set_power(adapter, value);
  if (set.Oid == OID_GEN_CURRENT_LOOKAHEAD) {
    adapter.lookahead = value < kMaxPacketSize ? value : kMaxPacketSize;
    return NDIS_STATUS_SUCCESS;
  }
  if ((value & ~kPacketFilters) != 0) return NDIS_STATUS_NOT_SUPPORTED;
  adapter.packet_filter = value;
  return NDIS_STATUS_SUCCESS;
}

}  // namespace

NDIS_STATUS NTAPI oid_request(NDIS_HANDLE context, PNDIS_OID_REQUEST request) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  switch (request->RequestType) {
    case NdisRequestQueryInformation:
    case NdisRequestQueryStatistics:
      return query_information(adapter, request->DATA.QUERY_INFORMATION);
    case NdisRequestSetInformation:
      return set_information(adapter, request->DATA.SET_INFORMATION);
    default:
      return NDIS_STATUS_NOT_SUPPORTED;
  }
}

// Every request is answered before oid_request() returns.
VOID NTAPI cancel_oid_request(NDIS_HANDLE, PVOID) {}

// DISPATCH_LEVEL or below.
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
