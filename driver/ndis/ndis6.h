/* NDIS 6.20 to 6.83 as far as this driver uses it: structures, constants and functions of Microsoft's public
 * documentation, under their published names, since no free header has them. Include nt.hpp, which brings the NT
 * types first. tests/kernel implements the functions; in a real kernel they come from ndis.sys. Sizes and offsets are
 * those of 64 bits and are held by the assertions at the end. Structures that the driver only hands on are left
 * incomplete. */
#pragma once

#define NDIS_RUNTIME_VERSION_620 0x00060014u
#define NDIS_RUNTIME_VERSION_630 0x0006001Eu
#define NDIS_RUNTIME_VERSION_680 0x00060050u
#define NDIS_RUNTIME_VERSION_683 0x00060053u

typedef LONG NDIS_STATUS;
typedef PVOID NDIS_HANDLE;
typedef ULONG NDIS_OID;
typedef ULONG NDIS_PORT_NUMBER;
typedef ULONG NET_IFINDEX;
typedef USHORT NET_IFTYPE;
typedef UNICODE_STRING NDIS_STRING;

#define NDIS_DEFAULT_PORT_NUMBER 0u

/* Statuses. The ones that NT has too are NT's. */
#define NDIS_STATUS_SUCCESS ((NDIS_STATUS)0)
#define NDIS_STATUS_PENDING ((NDIS_STATUS)0x00000103)
#define NDIS_STATUS_LINK_STATE ((NDIS_STATUS)0x40010017)
#define NDIS_STATUS_BAD_VERSION ((NDIS_STATUS)0xC0010004)
#define NDIS_STATUS_REQUEST_ABORTED ((NDIS_STATUS)0xC001000C)
#define NDIS_STATUS_INVALID_LENGTH ((NDIS_STATUS)0xC0010014)
#define NDIS_STATUS_INVALID_DATA ((NDIS_STATUS)0xC0010015)
#define NDIS_STATUS_BUFFER_TOO_SHORT ((NDIS_STATUS)0xC0010016)
#define NDIS_STATUS_INVALID_OID ((NDIS_STATUS)0xC0010017)
#define NDIS_STATUS_ADAPTER_REMOVED ((NDIS_STATUS)0xC0010018)
#define NDIS_STATUS_NOT_SUPPORTED ((NDIS_STATUS)0xC00000BB)
#define NDIS_STATUS_RESOURCES ((NDIS_STATUS)0xC000009A)
#define NDIS_STATUS_FAILURE ((NDIS_STATUS)0xC0000001)
#define NDIS_STATUS_INVALID_PARAMETER ((NDIS_STATUS)0xC000000D)
#define NDIS_STATUS_SEND_ABORTED ((NDIS_STATUS)0xC023000C)
#define NDIS_STATUS_PAUSED ((NDIS_STATUS)0xC023002A)
#define NDIS_STATUS_MEDIA_DISCONNECTED ((NDIS_STATUS)0xC023001F)
#define NDIS_STATUS_LOW_POWER_STATE ((NDIS_STATUS)0xC023002F)

/* What a structure begins with. */
#define NDIS_OBJECT_TYPE_DEFAULT 0x80
#define NDIS_OBJECT_TYPE_MINIPORT_INIT_PARAMETERS 0x81
#define NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES 0x85
#define NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS 0x8A
#define NDIS_OBJECT_TYPE_OID_REQUEST 0x96
#define NDIS_OBJECT_TYPE_STATUS_INDICATION 0x98
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES 0x9E
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES 0x9F

typedef struct _NDIS_OBJECT_HEADER {
  UCHAR Type;
  UCHAR Revision;
  USHORT Size;
} NDIS_OBJECT_HEADER;

/* A revision's size ends with its last member: what the compiler pads is not counted. */
#define NDIS_SIZE_THROUGH(type, member) ((USHORT)(offsetof(type, member) + sizeof(((type*)0)->member)))
#define NDIS_SIZE_THROUGH_POINTER(type, member) ((USHORT)(offsetof(type, member) + sizeof(PVOID)))

/* Packets. */
typedef struct _NET_BUFFER NET_BUFFER, *PNET_BUFFER;
typedef struct _NET_BUFFER_LIST NET_BUFFER_LIST, *PNET_BUFFER_LIST;

struct alignas(16) _NET_BUFFER {
  PNET_BUFFER Next;
  PMDL CurrentMdl;
  ULONG CurrentMdlOffset;
  union {
    ULONG DataLength;
    SIZE_T stDataLength;
  };
  PMDL MdlChain;
  ULONG DataOffset;
  alignas(16) USHORT ChecksumBias;
  USHORT Reserved;
  NDIS_HANDLE NdisPoolHandle;
  alignas(16) PVOID NdisReserved[2];
  alignas(16) PVOID ProtocolReserved[6];
  alignas(16) PVOID MiniportReserved[4];
  PHYSICAL_ADDRESS DataPhysicalAddress;
  PVOID SharedMemoryInfo;
};

/* Slots of NetBufferListInfo. Newer versions have more of them, so nobody takes the size of a list. */
#define NetBufferListCancelId 5
#define NetBufferListFrameType 7 /* the Ethernet type that the packet would have, in network order */
#define NDIS_KNOWN_NET_BUFFER_LIST_INFO 18

struct alignas(16) _NET_BUFFER_LIST {
  PNET_BUFFER_LIST Next;
  PNET_BUFFER FirstNetBuffer;
  PVOID Context;
  PNET_BUFFER_LIST ParentNetBufferList;
  NDIS_HANDLE NdisPoolHandle;
  alignas(16) PVOID NdisReserved[2];
  alignas(16) PVOID ProtocolReserved[4];
  alignas(16) PVOID MiniportReserved[2];
  PVOID Scratch;
  NDIS_HANDLE SourceHandle;
  ULONG NblFlags;
  LONG ChildRefCount;
  ULONG Flags;
  NDIS_STATUS Status;
  PVOID NetBufferListInfo[NDIS_KNOWN_NET_BUFFER_LIST_INFO];
};

#define NDIS_NBL_FLAGS_IS_IPV4 0x00000200u
#define NDIS_NBL_FLAGS_IS_IPV6 0x00000400u
#define NDIS_SEND_FLAGS_DISPATCH_LEVEL 0x00000001u
#define NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL 0x00000001u
#define NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL 0x00000001u
#define NDIS_RETURN_FLAGS_DISPATCH_LEVEL 0x00000001u

typedef struct _NET_BUFFER_LIST_POOL_PARAMETERS {
  NDIS_OBJECT_HEADER Header;
  UCHAR ProtocolId;
  BOOLEAN fAllocateNetBuffer;
  USHORT ContextSize;
  ULONG PoolTag;
  ULONG DataSize;
  ULONG Flags; /* since NDIS 6.81; revision 1 ends before it */
} NET_BUFFER_LIST_POOL_PARAMETERS;
#define NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1 1
#define NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1 \
  NDIS_SIZE_THROUGH(NET_BUFFER_LIST_POOL_PARAMETERS, DataSize)

/* A miniport's life. */
typedef union _NET_LUID {
  ULONG64 Value;
  struct {
    ULONG64 Reserved : 24;
    ULONG64 NetLuidIndex : 24;
    ULONG64 IfType : 16;
  } Info;
} NET_LUID;
#define IF_TYPE_PROP_VIRTUAL 53

typedef struct _NDIS_MINIPORT_INIT_PARAMETERS {
  NDIS_OBJECT_HEADER Header;
  ULONG Flags;
  PVOID AllocatedResources;
  NDIS_HANDLE IMDeviceInstanceContext;
  NDIS_HANDLE MiniportAddDeviceContext;
  NET_IFINDEX IfIndex;
  NET_LUID NetLuid;
  PVOID DefaultPortAuthStates;
  PVOID PciDeviceCustomProperties;
} NDIS_MINIPORT_INIT_PARAMETERS, *PNDIS_MINIPORT_INIT_PARAMETERS;
#define NDIS_MINIPORT_INIT_PARAMETERS_REVISION_1 1

typedef enum _NDIS_HALT_ACTION {
  NdisHaltDeviceDisabled,
  NdisHaltDeviceInstanceDeInitialized,
  NdisHaltDevicePoweredDown,
  NdisHaltDeviceSurpriseRemoved,
  NdisHaltDeviceFailed,
  NdisHaltDeviceInitializationFailed,
  NdisHaltDeviceStopped
} NDIS_HALT_ACTION;

typedef enum _NDIS_SHUTDOWN_ACTION { NdisShutdownPowerOff, NdisShutdownBugCheck } NDIS_SHUTDOWN_ACTION;

typedef struct _NDIS_MINIPORT_PAUSE_PARAMETERS {
  NDIS_OBJECT_HEADER Header;
  ULONG Flags;
  ULONG PauseReason;
} NDIS_MINIPORT_PAUSE_PARAMETERS, *PNDIS_MINIPORT_PAUSE_PARAMETERS;

typedef struct _NDIS_MINIPORT_RESTART_PARAMETERS {
  NDIS_OBJECT_HEADER Header;
  PVOID RestartAttributes;
  ULONG Flags;
} NDIS_MINIPORT_RESTART_PARAMETERS, *PNDIS_MINIPORT_RESTART_PARAMETERS;

typedef enum _NDIS_DEVICE_PNP_EVENT {
  NdisDevicePnPEventQueryRemoved,
  NdisDevicePnPEventRemoved,
  NdisDevicePnPEventSurpriseRemoved,
  NdisDevicePnPEventQueryStopped,
  NdisDevicePnPEventStopped,
  NdisDevicePnPEventPowerProfileChanged,
  NdisDevicePnPEventFilterListChanged
} NDIS_DEVICE_PNP_EVENT;

typedef struct _NET_DEVICE_PNP_EVENT {
  NDIS_OBJECT_HEADER Header;
  NDIS_PORT_NUMBER PortNumber;
  NDIS_DEVICE_PNP_EVENT DevicePnPEvent;
  PVOID InformationBuffer;
  ULONG InformationBufferLength;
  UCHAR NdisReserved[2 * sizeof(PVOID)];
} NET_DEVICE_PNP_EVENT, *PNET_DEVICE_PNP_EVENT;

/* Requests. */
typedef enum _NDIS_REQUEST_TYPE {
  NdisRequestQueryInformation,
  NdisRequestSetInformation,
  NdisRequestQueryStatistics,
  NdisRequestMethod = 12
} NDIS_REQUEST_TYPE;

typedef struct _NDIS_OID_REQUEST {
  NDIS_OBJECT_HEADER Header;
  NDIS_REQUEST_TYPE RequestType;
  NDIS_PORT_NUMBER PortNumber;
  ULONG Timeout;
  PVOID RequestId;
  NDIS_HANDLE RequestHandle;
  union {
    struct {
      NDIS_OID Oid;
      PVOID InformationBuffer;
      ULONG InformationBufferLength;
      ULONG BytesWritten;
      ULONG BytesNeeded;
    } QUERY_INFORMATION;
    struct {
      NDIS_OID Oid;
      PVOID InformationBuffer;
      ULONG InformationBufferLength;
      ULONG BytesRead;
      ULONG BytesNeeded;
    } SET_INFORMATION;
    struct {
      NDIS_OID Oid;
      PVOID InformationBuffer;
      ULONG InputBufferLength;
      ULONG OutputBufferLength;
      ULONG MethodId;
      ULONG BytesWritten;
      ULONG BytesRead;
      ULONG BytesNeeded;
    } METHOD_INFORMATION;
  } DATA;
  UCHAR NdisReserved[16 * sizeof(PVOID)];
  UCHAR MiniportReserved[2 * sizeof(PVOID)];
  UCHAR SourceReserved[2 * sizeof(PVOID)];
  UCHAR SupportedRevision;
  UCHAR Reserved1;
  USHORT Reserved2;
} NDIS_OID_REQUEST, *PNDIS_OID_REQUEST;
#define NDIS_OID_REQUEST_REVISION_1 1

#define OID_GEN_HARDWARE_STATUS 0x00010102u
#define OID_GEN_MAXIMUM_FRAME_SIZE 0x00010106u
#define OID_GEN_TRANSMIT_BUFFER_SPACE 0x00010108u
#define OID_GEN_RECEIVE_BUFFER_SPACE 0x00010109u
#define OID_GEN_TRANSMIT_BLOCK_SIZE 0x0001010Au
#define OID_GEN_RECEIVE_BLOCK_SIZE 0x0001010Bu
#define OID_GEN_VENDOR_ID 0x0001010Cu
#define OID_GEN_VENDOR_DESCRIPTION 0x0001010Du
#define OID_GEN_CURRENT_PACKET_FILTER 0x0001010Eu
#define OID_GEN_CURRENT_LOOKAHEAD 0x0001010Fu
#define OID_GEN_MAXIMUM_TOTAL_SIZE 0x00010111u
#define OID_GEN_VENDOR_DRIVER_VERSION 0x00010116u
#define OID_GEN_PHYSICAL_MEDIUM 0x00010202u
#define OID_GEN_INTERRUPT_MODERATION 0x00010209u
#define OID_GEN_XMIT_OK 0x00020101u
#define OID_GEN_RCV_OK 0x00020102u
#define OID_GEN_STATISTICS 0x00020106u
#define OID_PNP_CAPABILITIES 0xFD010100u
#define OID_PNP_SET_POWER 0xFD010101u
#define OID_PNP_QUERY_POWER 0xFD010102u

/* What they carry. */
typedef enum _NDIS_MEDIUM { NdisMedium802_3 = 0, NdisMediumIP = 19 } NDIS_MEDIUM;
typedef enum _NDIS_PHYSICAL_MEDIUM { NdisPhysicalMediumUnspecified } NDIS_PHYSICAL_MEDIUM;
typedef enum _NDIS_HARDWARE_STATUS { NdisHardwareStatusReady } NDIS_HARDWARE_STATUS;
typedef enum _NDIS_INTERFACE_TYPE { NdisInterfaceInternal } NDIS_INTERFACE_TYPE;
typedef enum _NDIS_DEVICE_POWER_STATE {
  NdisDeviceStateUnspecified,
  NdisDeviceStateD0,
  NdisDeviceStateD1,
  NdisDeviceStateD2,
  NdisDeviceStateD3,
  NdisDeviceStateMaximum
} NDIS_DEVICE_POWER_STATE;
typedef enum _NET_IF_MEDIA_CONNECT_STATE {
  MediaConnectStateUnknown,
  MediaConnectStateConnected,
  MediaConnectStateDisconnected
} NDIS_MEDIA_CONNECT_STATE;
typedef enum _NET_IF_MEDIA_DUPLEX_STATE {
  MediaDuplexStateUnknown,
  MediaDuplexStateHalf,
  MediaDuplexStateFull
} NDIS_MEDIA_DUPLEX_STATE;
typedef enum _NET_IF_ACCESS_TYPE { NET_IF_ACCESS_BROADCAST = 2, NET_IF_ACCESS_POINT_TO_POINT } NET_IF_ACCESS_TYPE;
typedef enum _NET_IF_DIRECTION_TYPE { NET_IF_DIRECTION_SENDRECEIVE } NET_IF_DIRECTION_TYPE;
typedef enum _NET_IF_CONNECTION_TYPE { NET_IF_CONNECTION_DEDICATED = 1 } NET_IF_CONNECTION_TYPE;
typedef enum _NDIS_SUPPORTED_PAUSE_FUNCTIONS { NdisPauseFunctionsUnsupported } NDIS_SUPPORTED_PAUSE_FUNCTIONS;

#define NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA 0x00000001u
#define NDIS_MAC_OPTION_TRANSFERS_NOT_PEND 0x00000004u
#define NDIS_MAC_OPTION_NO_LOOPBACK 0x00000008u
#define NDIS_PACKET_TYPE_DIRECTED 0x00000001u
#define NDIS_PACKET_TYPE_MULTICAST 0x00000002u
#define NDIS_PACKET_TYPE_ALL_MULTICAST 0x00000004u
#define NDIS_PACKET_TYPE_BROADCAST 0x00000008u
#define NDIS_PACKET_TYPE_PROMISCUOUS 0x00000020u
#define NDIS_PACKET_TYPE_ALL_LOCAL 0x00000080u
#define NDIS_PACKET_TYPE_ALL_FUNCTIONAL 0x00002000u

typedef struct _NDIS_LINK_STATE {
  NDIS_OBJECT_HEADER Header;
  NDIS_MEDIA_CONNECT_STATE MediaConnectState;
  NDIS_MEDIA_DUPLEX_STATE MediaDuplexState;
  ULONG64 XmitLinkSpeed;
  ULONG64 RcvLinkSpeed;
  NDIS_SUPPORTED_PAUSE_FUNCTIONS PauseFunctions;
  ULONG AutoNegotiationFlags;
} NDIS_LINK_STATE;
#define NDIS_LINK_STATE_REVISION_1 1
#define NDIS_SIZEOF_LINK_STATE_REVISION_1 NDIS_SIZE_THROUGH(NDIS_LINK_STATE, AutoNegotiationFlags)

typedef enum _NDIS_INTERRUPT_MODERATION {
  NdisInterruptModerationUnknown,
  NdisInterruptModerationNotSupported
} NDIS_INTERRUPT_MODERATION;

typedef struct _NDIS_INTERRUPT_MODERATION_PARAMETERS {
  NDIS_OBJECT_HEADER Header;
  ULONG Flags;
  NDIS_INTERRUPT_MODERATION InterruptModeration;
} NDIS_INTERRUPT_MODERATION_PARAMETERS;
#define NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1 1
#define NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1 \
  NDIS_SIZE_THROUGH(NDIS_INTERRUPT_MODERATION_PARAMETERS, InterruptModeration)

typedef struct _NDIS_STATISTICS_INFO {
  NDIS_OBJECT_HEADER Header;
  ULONG SupportedStatistics;
  ULONG64 ifInDiscards;
  ULONG64 ifInErrors;
  ULONG64 ifHCInOctets;
  ULONG64 ifHCInUcastPkts;
  ULONG64 ifHCInMulticastPkts;
  ULONG64 ifHCInBroadcastPkts;
  ULONG64 ifHCOutOctets;
  ULONG64 ifHCOutUcastPkts;
  ULONG64 ifHCOutMulticastPkts;
  ULONG64 ifHCOutBroadcastPkts;
  ULONG64 ifOutErrors;
  ULONG64 ifOutDiscards;
  ULONG64 ifHCInUcastOctets;
  ULONG64 ifHCInMulticastOctets;
  ULONG64 ifHCInBroadcastOctets;
  ULONG64 ifHCOutUcastOctets;
  ULONG64 ifHCOutMulticastOctets;
  ULONG64 ifHCOutBroadcastOctets;
} NDIS_STATISTICS_INFO;
#define NDIS_STATISTICS_INFO_REVISION_1 1
#define NDIS_SIZEOF_STATISTICS_INFO_REVISION_1 NDIS_SIZE_THROUGH(NDIS_STATISTICS_INFO, ifHCOutBroadcastOctets)

typedef struct _NDIS_PM_CAPABILITIES {
  NDIS_OBJECT_HEADER Header;
  ULONG Flags;
  ULONG SupportedWoLPacketPatterns;
  ULONG NumTotalWoLPatterns;
  ULONG MaxWoLPatternSize;
  ULONG MaxWoLPatternOffset;
  ULONG MaxWoLPacketSaveBuffer;
  ULONG SupportedProtocolOffloads;
  ULONG NumArpOffloadIPv4Addresses;
  ULONG NumNSOffloadIPv6Addresses;
  NDIS_DEVICE_POWER_STATE MinMagicPacketWakeUp;
  NDIS_DEVICE_POWER_STATE MinPatternWakeUp;
  NDIS_DEVICE_POWER_STATE MinLinkChangeWakeUp;
  ULONG SupportedWakeUpEvents; /* revision 2, since NDIS 6.30 */
  ULONG MediaSpecificWakeUpEvents;
} NDIS_PM_CAPABILITIES;
#define NDIS_PM_CAPABILITIES_REVISION_1 1
#define NDIS_PM_CAPABILITIES_REVISION_2 2
#define NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_1 NDIS_SIZE_THROUGH(NDIS_PM_CAPABILITIES, MinLinkChangeWakeUp)
#define NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_2 NDIS_SIZE_THROUGH(NDIS_PM_CAPABILITIES, MediaSpecificWakeUpEvents)

typedef struct _NDIS_STATUS_INDICATION {
  NDIS_OBJECT_HEADER Header;
  NDIS_HANDLE SourceHandle;
  NDIS_PORT_NUMBER PortNumber;
  NDIS_STATUS StatusCode;
  ULONG Flags;
  NDIS_HANDLE DestinationHandle;
  PVOID RequestId;
  PVOID StatusBuffer;
  ULONG StatusBufferSize;
  GUID Guid;
  PVOID NdisReserved[4];
} NDIS_STATUS_INDICATION, *PNDIS_STATUS_INDICATION;
#define NDIS_STATUS_INDICATION_REVISION_1 1
#define NDIS_SIZEOF_STATUS_INDICATION_REVISION_1 NDIS_SIZE_THROUGH(NDIS_STATUS_INDICATION, NdisReserved)

/* What an adapter says of itself in MiniportInitializeEx. */
#define NDIS_MINIPORT_ATTRIBUTES_NDIS_WDM 0x00000002u
#define NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK 0x00000004u
#define NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND 0x00000020u

typedef struct _NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES {
  NDIS_OBJECT_HEADER Header;
  NDIS_HANDLE MiniportAdapterContext;
  ULONG AttributeFlags;
  ULONG CheckForHangTimeInSeconds;
  NDIS_INTERFACE_TYPE InterfaceType;
} NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES;
#define NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1 1
#define NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1 \
  NDIS_SIZE_THROUGH(NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES, InterfaceType)

#define NDIS_MAX_PHYS_ADDRESS_LENGTH 32

typedef struct _NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES {
  NDIS_OBJECT_HEADER Header;
  ULONG Flags;
  NDIS_MEDIUM MediaType;
  NDIS_PHYSICAL_MEDIUM PhysicalMediumType;
  ULONG MtuSize;
  ULONG64 MaxXmitLinkSpeed;
  ULONG64 XmitLinkSpeed;
  ULONG64 MaxRcvLinkSpeed;
  ULONG64 RcvLinkSpeed;
  NDIS_MEDIA_CONNECT_STATE MediaConnectState;
  NDIS_MEDIA_DUPLEX_STATE MediaDuplexState;
  ULONG LookaheadSize;
  PVOID PowerManagementCapabilities;
  ULONG MacOptions;
  ULONG SupportedPacketFilters;
  ULONG MaxMulticastListSize;
  USHORT MacAddressLength;
  UCHAR PermanentMacAddress[NDIS_MAX_PHYS_ADDRESS_LENGTH];
  UCHAR CurrentMacAddress[NDIS_MAX_PHYS_ADDRESS_LENGTH];
  PVOID RecvScaleCapabilities;
  NET_IF_ACCESS_TYPE AccessType;
  NET_IF_DIRECTION_TYPE DirectionType;
  NET_IF_CONNECTION_TYPE ConnectionType;
  NET_IFTYPE IfType;
  BOOLEAN IfConnectorPresent;
  ULONG SupportedStatistics;
  ULONG SupportedPauseFunctions;
  ULONG DataBackFillSize;
  ULONG ContextBackFillSize;
  NDIS_OID* SupportedOidList;
  ULONG SupportedOidListLength;
  ULONG AutoNegotiationFlags;
  NDIS_PM_CAPABILITIES* PowerManagementCapabilitiesEx; /* revision 2, since NDIS 6.20 */
} NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES;
#define NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2 2
#define NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2 \
  NDIS_SIZE_THROUGH_POINTER(NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES, PowerManagementCapabilitiesEx)

typedef union _NDIS_MINIPORT_ADAPTER_ATTRIBUTES {
  NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES RegistrationAttributes;
  NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES GeneralAttributes;
} NDIS_MINIPORT_ADAPTER_ATTRIBUTES, *PNDIS_MINIPORT_ADAPTER_ATTRIBUTES;

/* The driver's functions. */
typedef NDIS_STATUS(NTAPI* SET_OPTIONS_HANDLER)(NDIS_HANDLE driver, NDIS_HANDLE context);
typedef NDIS_STATUS(NTAPI* MINIPORT_INITIALIZE_HANDLER)(NDIS_HANDLE adapter, NDIS_HANDLE driver_context,
                                                        PNDIS_MINIPORT_INIT_PARAMETERS parameters);
typedef VOID(NTAPI* MINIPORT_HALT_HANDLER)(NDIS_HANDLE context, NDIS_HALT_ACTION action);
typedef VOID(NTAPI* MINIPORT_DRIVER_UNLOAD)(PDRIVER_OBJECT driver);
typedef NDIS_STATUS(NTAPI* MINIPORT_PAUSE_HANDLER)(NDIS_HANDLE context, PNDIS_MINIPORT_PAUSE_PARAMETERS parameters);
typedef NDIS_STATUS(NTAPI* MINIPORT_RESTART_HANDLER)(NDIS_HANDLE context,
                                                     PNDIS_MINIPORT_RESTART_PARAMETERS parameters);
typedef NDIS_STATUS(NTAPI* MINIPORT_OID_REQUEST_HANDLER)(NDIS_HANDLE context, PNDIS_OID_REQUEST request);
typedef VOID(NTAPI* MINIPORT_SEND_NET_BUFFER_LISTS_HANDLER)(NDIS_HANDLE context, PNET_BUFFER_LIST lists,
                                                            NDIS_PORT_NUMBER port, ULONG flags);
typedef VOID(NTAPI* MINIPORT_RETURN_NET_BUFFER_LISTS_HANDLER)(NDIS_HANDLE context, PNET_BUFFER_LIST lists,
                                                              ULONG flags);
typedef VOID(NTAPI* MINIPORT_CANCEL_SEND_HANDLER)(NDIS_HANDLE context, PVOID cancel_id);
typedef BOOLEAN(NTAPI* MINIPORT_CHECK_FOR_HANG_HANDLER)(NDIS_HANDLE context);
typedef NDIS_STATUS(NTAPI* MINIPORT_RESET_HANDLER)(NDIS_HANDLE context, BOOLEAN* addressing_reset);
typedef VOID(NTAPI* MINIPORT_DEVICE_PNP_EVENT_NOTIFY_HANDLER)(NDIS_HANDLE context, PNET_DEVICE_PNP_EVENT event);
typedef VOID(NTAPI* MINIPORT_SHUTDOWN_HANDLER)(NDIS_HANDLE context, NDIS_SHUTDOWN_ACTION action);
typedef VOID(NTAPI* MINIPORT_CANCEL_OID_REQUEST_HANDLER)(NDIS_HANDLE context, PVOID request_id);
typedef NDIS_STATUS(NTAPI* MINIPORT_DIRECT_OID_REQUEST_HANDLER)(NDIS_HANDLE context, PNDIS_OID_REQUEST request);
typedef VOID(NTAPI* MINIPORT_CANCEL_DIRECT_OID_REQUEST_HANDLER)(NDIS_HANDLE context, PVOID request_id);

typedef struct _NDIS_MINIPORT_DRIVER_CHARACTERISTICS {
  NDIS_OBJECT_HEADER Header;
  UCHAR MajorNdisVersion;
  UCHAR MinorNdisVersion;
  UCHAR MajorDriverVersion;
  UCHAR MinorDriverVersion;
  ULONG Flags;
  SET_OPTIONS_HANDLER SetOptionsHandler;
  MINIPORT_INITIALIZE_HANDLER InitializeHandlerEx;
  MINIPORT_HALT_HANDLER HaltHandlerEx;
  MINIPORT_DRIVER_UNLOAD UnloadHandler;
  MINIPORT_PAUSE_HANDLER PauseHandler;
  MINIPORT_RESTART_HANDLER RestartHandler;
  MINIPORT_OID_REQUEST_HANDLER OidRequestHandler;
  MINIPORT_SEND_NET_BUFFER_LISTS_HANDLER SendNetBufferListsHandler;
  MINIPORT_RETURN_NET_BUFFER_LISTS_HANDLER ReturnNetBufferListsHandler;
  MINIPORT_CANCEL_SEND_HANDLER CancelSendHandler;
  MINIPORT_CHECK_FOR_HANG_HANDLER CheckForHangHandlerEx;
  MINIPORT_RESET_HANDLER ResetHandlerEx;
  MINIPORT_DEVICE_PNP_EVENT_NOTIFY_HANDLER DevicePnPEventNotifyHandler;
  MINIPORT_SHUTDOWN_HANDLER ShutdownHandlerEx;
  MINIPORT_CANCEL_OID_REQUEST_HANDLER CancelOidRequestHandler;
  MINIPORT_DIRECT_OID_REQUEST_HANDLER DirectOidRequestHandler;
  MINIPORT_CANCEL_DIRECT_OID_REQUEST_HANDLER CancelDirectOidRequestHandler;
  MINIPORT_OID_REQUEST_HANDLER SynchronousOidRequestHandler; /* revision 3, since NDIS 6.80 */
} NDIS_MINIPORT_DRIVER_CHARACTERISTICS, *PNDIS_MINIPORT_DRIVER_CHARACTERISTICS;
#define NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2 2
#define NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 3
#define NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2 \
  NDIS_SIZE_THROUGH(NDIS_MINIPORT_DRIVER_CHARACTERISTICS, CancelDirectOidRequestHandler)
#define NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 \
  NDIS_SIZE_THROUGH(NDIS_MINIPORT_DRIVER_CHARACTERISTICS, SynchronousOidRequestHandler)

typedef struct _NDIS_DEVICE_OBJECT_ATTRIBUTES {
  NDIS_OBJECT_HEADER Header;
  NDIS_STRING* DeviceName;
  NDIS_STRING* SymbolicName;
  PDRIVER_DISPATCH* MajorFunctions;
  ULONG ExtensionSize;
  PCUNICODE_STRING DefaultSDDLString;
  const GUID* DeviceClassGuid;
} NDIS_DEVICE_OBJECT_ATTRIBUTES, *PNDIS_DEVICE_OBJECT_ATTRIBUTES;
#define NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1 1
#define NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1 \
  NDIS_SIZE_THROUGH_POINTER(NDIS_DEVICE_OBJECT_ATTRIBUTES, DeviceClassGuid)

/* A reader-writer lock that works at DISPATCH_LEVEL and raises to it. */
typedef struct _NDIS_RW_LOCK_EX NDIS_RW_LOCK_EX, *PNDIS_RW_LOCK_EX;
typedef struct _LOCK_STATE_EX {
  KIRQL OldIrql;
  UCHAR LockState;
  UCHAR Flags;
} LOCK_STATE_EX, *PLOCK_STATE_EX;

extern "C" {
ULONG NTAPI NdisGetVersion(void);
NDIS_STATUS NTAPI NdisMRegisterMiniportDriver(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path,
                                              NDIS_HANDLE driver_context,
                                              PNDIS_MINIPORT_DRIVER_CHARACTERISTICS characteristics,
                                              NDIS_HANDLE* handle);
VOID NTAPI NdisMDeregisterMiniportDriver(NDIS_HANDLE driver);
NDIS_STATUS NTAPI NdisMSetMiniportAttributes(NDIS_HANDLE adapter, PNDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes);
VOID NTAPI NdisMIndicateStatusEx(NDIS_HANDLE adapter, PNDIS_STATUS_INDICATION indication);
VOID NTAPI NdisMSendNetBufferListsComplete(NDIS_HANDLE adapter, PNET_BUFFER_LIST lists, ULONG flags);
VOID NTAPI NdisMIndicateReceiveNetBufferLists(NDIS_HANDLE adapter, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER port,
                                              ULONG count, ULONG flags);

NDIS_STATUS NTAPI NdisRegisterDeviceEx(NDIS_HANDLE driver, PNDIS_DEVICE_OBJECT_ATTRIBUTES attributes,
                                       PDEVICE_OBJECT* device, NDIS_HANDLE* handle);
VOID NTAPI NdisDeregisterDeviceEx(NDIS_HANDLE handle);
PVOID NTAPI NdisGetDeviceReservedExtension(PDEVICE_OBJECT device);

NDIS_HANDLE NTAPI NdisAllocateNetBufferListPool(NDIS_HANDLE owner, NET_BUFFER_LIST_POOL_PARAMETERS* parameters);
VOID NTAPI NdisFreeNetBufferListPool(NDIS_HANDLE pool);
PNET_BUFFER_LIST NTAPI NdisAllocateNetBufferAndNetBufferList(NDIS_HANDLE pool, USHORT context_size,
                                                             USHORT context_back_fill, PMDL mdl, ULONG data_offset,
                                                             SIZE_T data_length);
VOID NTAPI NdisFreeNetBufferList(PNET_BUFFER_LIST list);
PVOID NTAPI NdisGetDataBuffer(PNET_BUFFER buffer, ULONG bytes, PVOID storage, ULONG align_multiple,
                              ULONG align_offset);

PNDIS_RW_LOCK_EX NTAPI NdisAllocateRWLock(NDIS_HANDLE owner);
VOID NTAPI NdisFreeRWLock(PNDIS_RW_LOCK_EX lock);
VOID NTAPI NdisAcquireRWLockRead(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state, UCHAR flags);
VOID NTAPI NdisAcquireRWLockWrite(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state, UCHAR flags);
VOID NTAPI NdisReleaseRWLock(PNDIS_RW_LOCK_EX lock, PLOCK_STATE_EX state);
}

static_assert(sizeof(PVOID) == 8, "a 32-bit kernel would need other offsets");
static_assert(offsetof(NET_BUFFER, DataLength) == 24 && offsetof(NET_BUFFER, MdlChain) == 32);
static_assert(offsetof(NET_BUFFER, DataOffset) == 40 && offsetof(NET_BUFFER, NdisPoolHandle) == 56);
static_assert(offsetof(NET_BUFFER, MiniportReserved) == 128 && sizeof(NET_BUFFER) == 176);
static_assert(offsetof(NET_BUFFER_LIST, MiniportReserved) == 96 && offsetof(NET_BUFFER_LIST, SourceHandle) == 120);
static_assert(offsetof(NET_BUFFER_LIST, NblFlags) == 128 && offsetof(NET_BUFFER_LIST, Status) == 140);
static_assert(offsetof(NET_BUFFER_LIST, NetBufferListInfo) == 144);
static_assert(NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1 == 16);
static_assert(offsetof(NDIS_MINIPORT_INIT_PARAMETERS, NetLuid) == 40 && sizeof(NDIS_MINIPORT_INIT_PARAMETERS) == 64);
static_assert(offsetof(NET_DEVICE_PNP_EVENT, DevicePnPEvent) == 8 && sizeof(NET_DEVICE_PNP_EVENT) == 48);
static_assert(offsetof(NDIS_OID_REQUEST, DATA) == 32 && sizeof(NDIS_OID_REQUEST) == 240);
static_assert(offsetof(NDIS_OID_REQUEST, DATA.QUERY_INFORMATION.InformationBuffer) == 40);
static_assert(offsetof(NDIS_OID_REQUEST, DATA.METHOD_INFORMATION.BytesNeeded) == 68);
static_assert(NDIS_SIZEOF_LINK_STATE_REVISION_1 == 40 && NDIS_SIZEOF_STATISTICS_INFO_REVISION_1 == 152);
static_assert(sizeof(NDIS_STATISTICS_INFO) == 152 && sizeof(NDIS_INTERRUPT_MODERATION_PARAMETERS) == 12);
static_assert(NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1 == 12);
static_assert(NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_1 == 52 && NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_2 == 60);
static_assert(offsetof(NDIS_STATUS_INDICATION, StatusCode) == 20 && sizeof(NDIS_STATUS_INDICATION) == 112);
static_assert(offsetof(NDIS_STATUS_INDICATION, StatusBuffer) == 48);
static_assert(NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1 == 28);
static_assert(offsetof(NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES, RecvScaleCapabilities) == 160);
static_assert(offsetof(NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES, SupportedOidList) == 200);
static_assert(NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2 == 224);
static_assert(NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2 == 152);
static_assert(NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 == 160);
static_assert(NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1 == 56);
