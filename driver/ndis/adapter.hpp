// An adapter: the core, its host, and who owns it. NDIS has it as the context of every call, the control device
// (control.hpp) in its extension. It lives from initialize() to halt().
// Three kinds of threads: NDIS's on the path of a packet (send, return_lists), our one in receive_thread, and those
// that change something (NDIS's life calls, programs' requests), which take turns by `serial`.
#pragma once

#include "driver/ndis/host.hpp"
#include "driver/ndis/lock.hpp"
#include "driver/ndis/rings.hpp"

namespace wintun {

struct Control;
struct OpenFile;

inline constexpr ULONG kPoolTag = 0x6E547452;  // "RtTn"
inline constexpr ULONG64 kLinkSpeed = 100'000'000'000;
inline constexpr ULONG kDriverMajor = RINGTUN_VERSION_MAJOR, kDriverMinor = RINGTUN_VERSION_MINOR;

// The one driver, from DriverEntry to unload. Its lock is taken before an adapter's.
struct Driver {
  NDIS_HANDLE handle;
  ULONG ndis_version;  // what both NDIS and this driver know
  POOL_TYPE pool;      // non-paged, and never executable where Windows knows that
  Serial serial;       // covers the list
  class Adapter* adapters;
};
extern Driver driver;

// Non-paged pool for what core and its neighbours live in; null when there is none.
struct Pooled {
  static void* operator new(size_t bytes) noexcept { return ExAllocatePoolWithTag(driver.pool, bytes, kPoolTag); }
  static void operator delete(void* memory) { ExFreePoolWithTag(memory, kPoolTag); }
};

// Where the kernel sees an MDL's memory, never executable; null when there is no room for a mapping.
inline void* system_address(PMDL mdl) {
  const ULONG no_execute =
      driver.pool == NonPagedPoolNx ? MdlMappingNoExecute : 0;  // the enumeration has no name for it
  return MmGetSystemAddressForMdlSafe(mdl, static_cast<MM_PAGE_PRIORITY>(NormalPagePriority | no_execute));
}

enum class Owner : uint32_t { nobody, rings, bundles };

class Adapter : public Pooled {
 public:
  Adapter();
  ~Adapter();
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  // session.cpp, PASSIVE_LEVEL, `serial` held: the link goes up and packets move; the link goes down, the queues are
  // empty and the rings are not touched any more.
  NTSTATUS connect(const Rings& rings);
  void disconnect();
  // Ends whatever session there is; for good, if the adapter goes.
  void end_session();
  void indicate_link(NDIS_MEDIA_CONNECT_STATE connected);

  Host host;
  State<Host> state;
  ToUser<Host> to_user{host, state};
  ToNetwork<Host> to_network{host, state};

  Adapter* next = nullptr;  // in the driver's list
  Serial serial;            // covers what follows
  bool removed = false;     // nobody is let in any more
  bool halting = false;     // NDIS hears no more of the link
  Owner owner = Owner::nobody;
  OpenFile* owner_file = nullptr;  // rings: the handle that registered them
  HANDLE owner_process = nullptr;  // rings: whose memory they are
  ULONG bundle_files = 0;          // bundles: files that have read or written
  LockedRings locked;
  Bundles* bundles = nullptr;

  Control* control = nullptr;
  NDIS_HANDLE device = nullptr;  // of the control device
  KEVENT go;                     // the thread may begin
  HANDLE thread = nullptr;       // the kernel's handle of it, while connected
  ULONG packet_filter = 0;
  ULONG lookahead = 0;
};

// What NDIS calls: driver.cpp, adapter.cpp, oid.cpp, send.cpp and receive.cpp have them in this order.

VOID NTAPI unload(PDRIVER_OBJECT object);
NDIS_STATUS NTAPI initialize(NDIS_HANDLE handle, NDIS_HANDLE, PNDIS_MINIPORT_INIT_PARAMETERS parameters);
VOID NTAPI halt(NDIS_HANDLE context, NDIS_HALT_ACTION action);
NDIS_STATUS NTAPI pause(NDIS_HANDLE context, PNDIS_MINIPORT_PAUSE_PARAMETERS);
NDIS_STATUS NTAPI restart(NDIS_HANDLE context, PNDIS_MINIPORT_RESTART_PARAMETERS);
VOID NTAPI pnp_event(NDIS_HANDLE context, PNET_DEVICE_PNP_EVENT event);
VOID NTAPI shut_down(NDIS_HANDLE context, NDIS_SHUTDOWN_ACTION);
NDIS_STATUS NTAPI oid_request(NDIS_HANDLE context, PNDIS_OID_REQUEST request);
VOID NTAPI cancel_oid_request(NDIS_HANDLE, PVOID);
VOID NTAPI send(NDIS_HANDLE context, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER, ULONG);
VOID NTAPI cancel_send(NDIS_HANDLE, PVOID);
VOID NTAPI return_lists(NDIS_HANDLE context, PNET_BUFFER_LIST lists, ULONG);
VOID NTAPI receive_thread(PVOID context);

}  // namespace wintun
