// An adapter: the core, its host, its control device, and whose session it is. NDIS has it as the context of every
// call. It lives in the extension of its device, from initialize() to halt(), and on as long as somebody has the
// device open; requests enter by a rundown, which halt() ends.
// Three kinds of threads: NDIS's on the path of a packet (send, return_lists), our one in receive_thread, and those
// that change something (NDIS's life calls, programs' requests), which take turns by `serial`.
#pragma once

#include "driver/ndis/host.hpp"
#include "driver/ndis/protocol.hpp"

namespace wintun {

inline constexpr ULONG kPoolTag = 0x6E547452;  // "RtTn"

// One thread at a time, for work that may wait. PASSIVE_LEVEL. An event rather than a mutex, since the holder creates
// and ends threads; the critical region keeps a program from suspending its thread while it holds this.
struct Serial {
  void initialize() { KeInitializeEvent(&free, SynchronizationEvent, TRUE); }
  KEVENT free;
};
struct SerialHold : Unique {
  explicit SerialHold(Serial& held) : serial(held) {
    KeEnterCriticalRegion();
    KeWaitForSingleObject(&serial.free, Executive, KernelMode, FALSE, nullptr);
  }
  ~SerialHold() {
    KeSetEvent(&serial.free, IO_NO_INCREMENT, FALSE);
    KeLeaveCriticalRegion();
  }
  Serial& serial;
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

// That the adapter goes, for good: nobody is let in any more, and by_halt NDIS hears no more of the link.
enum class Removal { none, by_surprise, by_halt };

struct OpenFile : Pooled {
  LIST_ENTRY link;
  PFILE_OBJECT file;
  bool is_cleaned_up = false;    // under the adapter's `serial`, as the next two
  bool is_of_bundles = false;    // counted in bundle_files
  PVOID read_address = nullptr;  // of its first read
};

// Pended reads of bundles, oldest first. Any thread, DISPATCH_LEVEL or below. Not in Bundles, since a cancel routine
// may still hold the lock when the reads that it did not take are completed.
struct Reads {
  IO_CSQ queue;  // first, so that its callbacks find the rest
  LIST_ENTRY irps;
  Host::SpinLock lock;
};

struct Adapter : Unique {
  static void* operator new(size_t, void* extension) { return extension; }
  Adapter(NDIS_HANDLE handle, NDIS_HANDLE device_handle);
  NTSTATUS allocate();
  void free();  // with the device, unless somebody has it open

  // PASSIVE_LEVEL, `serial` held. The link goes up and packets move in these rings, which belong to the session, also
  // when it cannot begin; the link goes down, the queues are empty, and the rings are given back.
  NTSTATUS begin_session(const Rings& rings);
  void end_session();
  void indicate_link(NDIS_MEDIA_CONNECT_STATE connected);

  Host host;
  State<Host> state;
  ToUser<Host> to_user{host, state};
  ToNetwork<Host> to_network{host, state};

  const NDIS_HANDLE device;
  uint32_t is_ready = 0;  // requests are let in; zero as the device comes
  EX_RUNDOWN_REF rundown;
  Reads reads;

  Adapter* next = nullptr;  // in the driver's list
  Serial serial;            // covers what follows
  LIST_ENTRY files;         // open, from create to cleanup
  Removal removal = Removal::none;
  // Whose session it is: with rings the handle that registered them and the process whose memory they are, with
  // bundles (host.rings.bundles) all files that have read or written, which are counted.
  OpenFile* owner_file = nullptr;
  HANDLE owner_process = nullptr;
  ULONG bundle_files = 0;
  KEVENT go;                // the thread may begin
  HANDLE thread = nullptr;  // the kernel's handle of it, while there is a session
};

// control.cpp: all requests of programs, PASSIVE_LEVEL; how each ends (its information is set before), DISPATCH_LEVEL
// or below; what becomes of rings that were taken.
NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp);
NTSTATUS finish(PIRP irp, NTSTATUS status);
void give_back(const Rings& rings);

// bundles.cpp, PASSIVE_LEVEL, `serial` held: reads and writes of files that were let in; the queue of reads, which is
// emptied of a file's reads, or of all if it is null; a session's end.
NTSTATUS read_bundle(Adapter& adapter, OpenFile& file, PIRP irp);
NTSTATUS write_bundle(Adapter& adapter, OpenFile& file, PIRP irp);
NTSTATUS initialize_reads(Reads& reads);
void complete_reads(Reads& reads, PFILE_OBJECT file, NTSTATUS status);
void delete_bundles(Bundles* bundles);

// handles.cpp, PASSIVE_LEVEL, `serial` not held, since closing a handle comes back as a request: ends the session and
// takes the handles from whoever has them. A removal that is `none` is only asked for.
void evict(Adapter& adapter, Removal removal);

// What NDIS is told of an adapter, and what it calls: oid.cpp, adapter.cpp and packets.cpp have them.
NDIS_STATUS set_attributes(Adapter& adapter);
NDIS_STATUS NTAPI oid_request(NDIS_HANDLE context, PNDIS_OID_REQUEST request);
NDIS_STATUS NTAPI initialize(NDIS_HANDLE handle, NDIS_HANDLE, PNDIS_MINIPORT_INIT_PARAMETERS parameters);
VOID NTAPI halt(NDIS_HANDLE context, NDIS_HALT_ACTION);
VOID NTAPI send(NDIS_HANDLE context, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER, ULONG);
VOID NTAPI return_lists(NDIS_HANDLE context, PNET_BUFFER_LIST lists, ULONG);
VOID NTAPI receive_thread(PVOID context);

}  // namespace wintun
