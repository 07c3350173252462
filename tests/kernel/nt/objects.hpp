// What the opaque kernel objects are here: counted bodies behind a header, threads, processes, handles, memory of
// programs. Only nt/ and ndis/ see this. Locks: dispatcher() covers all that can be waited for; each process has its
// own for handles and memory. Neither is held while a driver is called.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/kernel/kernel.hpp"
#include "tests/kernel/nt/checker.hpp"
#include "tests/kernel/nt/level.hpp"

struct WdkTryFrame;

struct _OBJECT_TYPE {
  const char* name;
  void (*destroy)(void* body);
};

namespace wintun::kernel {

struct ObjectHeader {
  std::atomic<LONG> references{1};
  POBJECT_TYPE type;
};
inline constexpr std::size_t kHeaderBytes = 32;  // keeps the body's alignment
static_assert(sizeof(ObjectHeader) <= kHeaderBytes);

void* allocate_body(POBJECT_TYPE type, std::size_t bytes);  // one reference; memory for the body's constructor
void free_body(void* body);                                 // for destroy functions, after the destructor
ObjectHeader& header_of(void* body);
void reference(void* body);
void dereference(void* body);  // the last one destroys

template <class Body>
Body* make_object(POBJECT_TYPE type) {
  return new (allocate_body(type, sizeof(Body))) Body();
}
template <class Body>
void destroy_object(void* body) {
  static_cast<Body*>(body)->~Body();
  free_body(body);
}

extern _OBJECT_TYPE event_type, semaphore_type, thread_type, process_type, file_type;

std::mutex& dispatcher();
void initialize_header(DISPATCHER_HEADER& header, UCHAR type, LONG state);
enum HeaderType : UCHAR { kNotification = 0, kSynchronization = 1, kProcess = 3, kSemaphore = 5, kThread = 6 };
void signal_locked(DISPATCHER_HEADER& header, LONG state);  // with dispatcher() held

}  // namespace wintun::kernel

struct _KTHREAD {
  DISPATCHER_HEADER header;
  std::uint64_t id = 0;
  // Of the thread itself.
  KPROCESSOR_MODE previous_mode = KernelMode;
  _EPROCESS* attached = nullptr;
  WdkTryFrame* frames = nullptr;
  unsigned critical_regions = 0;
  // Under dispatcher().
  std::condition_variable wake;
  bool alerted = false;
};

namespace wintun::kernel {

_KTHREAD& current_thread();
// Starts a thread whose object has one reference for the caller and one for itself.
_KTHREAD* start_thread(PKSTART_ROUTINE routine, void* context, _EPROCESS* process);
// At PASSIVE_LEVEL in a thread of the kernel's, as NT defers what cannot be done at a raised IRQL.
void run_later(std::function<void()> work);
void join_finished_threads();  // waits for all that start_thread has started
std::size_t running_threads();

struct HandleEntry {
  void* object;  // one reference
  ACCESS_MASK access;
};

struct Region {
  std::uint8_t* begin = nullptr;
  std::size_t bytes = 0;
  std::atomic<Access> access{Access::read_write};
  Region(std::size_t size, bool below_4_gib);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
};
std::uint8_t* map_pages(std::size_t bytes, bool below_4_gib);  // memory_linux.cpp, memory_windows.cpp; zeroed
void unmap_pages(std::uint8_t* pages, std::size_t bytes);

}  // namespace wintun::kernel

struct _EPROCESS {
  DISPATCHER_HEADER header;
  std::uintptr_t id = 0;
  wintun::kernel::Process::Kind kind;
  std::mutex lock;  // covers what follows
  std::map<std::uintptr_t, wintun::kernel::HandleEntry> handles;
  std::uintptr_t next_handle = 4;
  std::map<std::uint8_t*, std::shared_ptr<wintun::kernel::Region>> memory;
  std::vector<std::weak_ptr<wintun::kernel::Request::State>> requests;
};

namespace wintun::kernel {

_EPROCESS& system_process();
_EPROCESS& current_process();
_EPROCESS* make_process(const Process::Kind& kind);
HANDLE insert_handle(_EPROCESS& process, void* object, ACCESS_MASK access);  // takes a reference of its own
NTSTATUS close_handle(_EPROCESS& process, HANDLE handle);
// A reference for the caller.
NTSTATUS find_handle(_EPROCESS& process, HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                     void*& object, ACCESS_MASK& granted);
struct HandleOfProcess {
  void* object;  // no reference: it may be gone
  std::uintptr_t process;
  std::uintptr_t handle;
  ACCESS_MASK access;
};
std::vector<HandleOfProcess> all_handles();
_EPROCESS* find_process(std::uintptr_t id);  // with a reference, or null
void call_process_notify(_EPROCESS& process, bool create);
// The region that holds all of it with that access, or null.
std::shared_ptr<Region> find_memory(_EPROCESS& process, const volatile void* begin, std::size_t bytes, bool write);
// What MmProbeAndLockPages does, without raising.
NTSTATUS lock_pages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation, const char* function);

extern std::uint32_t ndis_version;  // ndis/miniport.cpp
// Memory that is not executable came with Windows 8, whose NDIS is 6.30.
inline bool knows_no_execute() { return ndis_version >= 0x0006001E; }

}  // namespace wintun::kernel
