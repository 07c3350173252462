// An adapter: the core, its host, and whose session it is. NDIS has it as the context of every call, the control
// device (control.hpp) in its extension. It lives from initialize() to halt(). Three kinds of threads: NDIS's on the
// path of a packet (send, return_lists), our one in receive_thread, and those that change something (NDIS's life
// calls, programs' requests), which take turns by `serial`.
#pragma once

#include "driver/ndis/host.hpp"
#include "driver/ndis/protocol.hpp"

namespace wintun {

struct Control;
struct OpenFile;

inline constexpr ULONG kPoolTag = 0x6E547452;  // "RtTn"
inline constexpr ULONG kDriverMajor = RINGTUN_VERSION_MAJOR, kDriverMinor = RINGTUN_VERSION_MINOR;

// One thread at a time, for work that may wait. PASSIVE_LEVEL. An event rather than a mutex, since the holder creates
// and ends threads; the critical region keeps a program from suspending its thread while it holds this.
struct Serial {
  void initialize() { KeInitializeEvent(&free, SynchronizationEvent, TRUE); }
  KEVENT free;
};
class SerialHold : Unique {
 public:
  explicit SerialHold(Serial& serial) : serial_(serial) {
    KeEnterCriticalRegion();
    KeWaitForSingleObject(&serial_.free, Executive, KernelMode, FALSE, nullptr);
  }
  ~SerialHold() {
    KeSetEvent(&serial_.free, IO_NO_INCREMENT, FALSE);
    KeLeaveCriticalRegion();
  }

 private:
  Serial& serial_;
};

// The one driver, from DriverEntry to unload. Its lock is taken before an adapter's.
struct Driver {
  NDIS_HANDLE handle;
  ULONG ndis_version;  // what both NDIS and this driver know
  POOL_TYPE pool;      // non-paged, and never executable where Windows knows that
  Serial serial;       // covers the list
  struct Adapter* adapters;
};
extern Driver driver;

// Non-paged pool for what core and its neighbours live in; null when there is none.
struct Pooled : Unique {
  static void* operator new(size_t bytes) noexcept { return ExAllocatePoolWithTag(driver.pool, bytes, kPoolTag); }
  static void operator delete(void* memory) { ExFreePoolWithTag(memory, kPoolTag); }
};

// Where the kernel sees an MDL's memory, never executable; null when there is no room for a mapping.
inline void* system_address(PMDL mdl) {
  const ULONG no_execute =
      driver.pool == NonPagedPoolNx ? MdlMappingNoExecute : 0;  // the enumeration has no name for it
  return MmGetSystemAddressForMdlSafe(mdl, static_cast<MM_PAGE_PRIORITY>(NormalPagePriority | no_execute));
}

struct Adapter : Pooled {
  explicit Adapter(NDIS_HANDLE handle);
  ~Adapter();
  NDIS_STATUS allocate();

  // PASSIVE_LEVEL, `serial` held. The link goes up and packets move in these rings, which belong to the session, also
  // when it cannot begin; the link goes down, the queues are empty, and the rings are given back.
  NTSTATUS begin_session(const Rings& rings);
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
  // Whose session it is: with rings the handle that registered them and the process whose memory they are, with
  // bundles (host.rings.bundles) all files that have read or written, which are counted.
  OpenFile* owner_file = nullptr;
  HANDLE owner_process = nullptr;
  ULONG bundle_files = 0;

  Control* control = nullptr;
  NDIS_HANDLE device = nullptr;  // of the control device
  KEVENT go;                     // the thread may begin
  HANDLE thread = nullptr;       // the kernel's handle of it, while there is a session
};

// oid.cpp: what NDIS is told in initialize().
NDIS_STATUS set_attributes(Adapter& adapter);

// rings.cpp. Locked are those of a new session: nothing consumed, nothing in the one that we fill. What was taken
// before a failure stays in `into`, for unlock_rings().
NTSTATUS lock_rings(const Registration<uint64_t>& from, Rings& into);
void unlock_rings(const Rings& rings);

// What NDIS calls, beside driver.cpp's own: oid.cpp, send.cpp and receive.cpp have them in this order.
NDIS_STATUS NTAPI oid_request(NDIS_HANDLE context, PNDIS_OID_REQUEST request);
VOID NTAPI send(NDIS_HANDLE context, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER, ULONG);
VOID NTAPI return_lists(NDIS_HANDLE context, PNET_BUFFER_LIST lists, ULONG);
VOID NTAPI receive_thread(PVOID context);

}  // namespace wintun
