// Processes: memory that a driver may lock, handles, the calling thread's process, and how one ends: its requests are
// cancelled, notify routines run, its handles are closed, its memory goes.
#include <algorithm>
#include <atomic>
#include <list>

#include "tests/kernel/nt/files.hpp"

namespace wintun::kernel {

_OBJECT_TYPE process_type{"Process", destroy_object<_EPROCESS>};

namespace {

std::atomic<std::uintptr_t> next_id{1000};

struct Notify {
  std::mutex lock;
  std::vector<PCREATE_PROCESS_NOTIFY_ROUTINE> routines;
  std::map<std::uintptr_t, _EPROCESS*> processes;
};
Notify& notify() {
  static Notify* const one = new Notify;
  return *one;
}

}  // namespace

Region::Region(std::size_t size, bool below_4_gib)
    : begin(map_pages(ROUND_TO_PAGES(size), below_4_gib)), bytes(ROUND_TO_PAGES(size)) {}

Region::~Region() { unmap_pages(begin, bytes); }

_EPROCESS* make_process(const Process::Kind& kind) {
  auto* const process = make_object<_EPROCESS>(&process_type);
  initialize_header(process->header, kProcess, 0);
  process->id = next_id.fetch_add(4);
  process->kind = kind;
  const std::lock_guard locked(notify().lock);
  notify().processes[process->id] = process;
  return process;
}

_EPROCESS& system_process() {
  static _EPROCESS* const one = make_process({false, kSystem});
  return *one;
}

_EPROCESS& current_process() {
  _EPROCESS* const attached = current_thread().attached;
  return attached != nullptr ? *attached : system_process();
}

std::shared_ptr<Region> find_memory(_EPROCESS& process, const volatile void* begin, std::size_t bytes, bool write) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::lock_guard locked(process.lock);
  for (const auto& [start, region] : process.memory) {
    const auto first = reinterpret_cast<std::uintptr_t>(start);
    if (address < first || address - first > region->bytes || bytes > region->bytes - (address - first)) continue;
    const Access access = region->access;
    if (access == Access::read_write || (access == Access::read && !write)) return region;
  }
  return nullptr;
}

std::vector<HandleOfProcess> all_handles() {
  std::vector<HandleOfProcess> all;
  const std::lock_guard locked(notify().lock);
  for (const auto& [id, process] : notify().processes) {
    const std::lock_guard handles_locked(process->lock);
    for (const auto& [handle, entry] : process->handles) all.push_back({entry.object, id, handle, entry.access});
  }
  return all;
}

_EPROCESS* find_process(std::uintptr_t id) {
  const std::lock_guard locked(notify().lock);
  const auto found = notify().processes.find(id);
  if (found == notify().processes.end()) return nullptr;
  reference(found->second);
  return found->second;
}

void call_process_notify(_EPROCESS& process, bool create) {
  std::vector<PCREATE_PROCESS_NOTIFY_ROUTINE> routines;
  {
    const std::lock_guard locked(notify().lock);
    routines = notify().routines;
  }
  for (const auto routine : routines) {
    routine(reinterpret_cast<HANDLE>(system_process().id), reinterpret_cast<HANDLE>(process.id),
            create ? TRUE : FALSE);
  }
}

struct Process::Body {
  _EPROCESS* process;
};

Process::Process(const Kind& kind) : body_(std::make_unique<Body>(Body{make_process(kind)})) {
  const Calling calling(*body_->process);
  call_process_notify(*body_->process, true);
}

Process::~Process() { exit(); }

PEPROCESS Process::object() const { return reinterpret_cast<PEPROCESS>(body_->process); }

void Process::exit() {
  if (body_ == nullptr) return;
  _EPROCESS& process = *body_->process;
  {
    const Calling calling(process);
    std::vector<std::shared_ptr<Request::State>> requests;
    {
      const std::lock_guard locked(process.lock);
      for (const auto& one : process.requests) requests.push_back(one.lock());
    }
    std::erase(requests, nullptr);
    for (const auto& one : requests) (void)cancel_request(*one);
    call_process_notify(process, false);
    for (;;) {
      HANDLE handle = nullptr;
      {
        const std::lock_guard locked(process.lock);
        if (process.handles.empty()) break;
        handle = reinterpret_cast<HANDLE>(process.handles.begin()->first);
      }
      close_handle(process, handle);
    }
    for (const auto& one : requests) wait_for_request(*one);
  }
  {
    const std::lock_guard locked(process.lock);
    process.memory.clear();
  }
  {
    const std::lock_guard locked(notify().lock);
    notify().processes.erase(process.id);
  }
  {
    const std::lock_guard locked(dispatcher());
    signal_locked(process.header, 1);
  }
  dereference(&process);
  body_.reset();
}

std::uint8_t* Process::allocate(std::size_t bytes, Access access) {
  _EPROCESS& process = *body_->process;
  auto region = std::make_shared<Region>(bytes, process.kind.is_32_bit);
  region->access = access;
  const std::lock_guard locked(process.lock);
  std::uint8_t* const begin = region->begin;
  process.memory[begin] = std::move(region);
  return begin;
}

void Process::protect(std::uint8_t* memory, Access access) {
  const std::lock_guard locked(body_->process->lock);
  body_->process->memory.at(memory)->access = access;
}

void Process::free(std::uint8_t* memory) {
  std::shared_ptr<Region> region;
  const std::lock_guard locked(body_->process->lock);
  region = std::move(body_->process->memory.at(memory));
  body_->process->memory.erase(memory);
}

HANDLE Process::create_event(bool manual_reset, bool set) {
  auto* const event = make_object<KEVENT>(&event_type);
  KeInitializeEvent(event, manual_reset ? NotificationEvent : SynchronizationEvent, set ? TRUE : FALSE);
  const HANDLE handle = insert_handle(*body_->process, event, EVENT_ALL_ACCESS);
  dereference(event);
  return handle;
}

HANDLE Process::create_semaphore() {
  auto* const semaphore = make_object<KSEMAPHORE>(&semaphore_type);
  initialize_header(semaphore->Header, kSemaphore, 0);
  const HANDLE handle = insert_handle(*body_->process, semaphore, EVENT_ALL_ACCESS);
  dereference(semaphore);
  return handle;
}

namespace {
HANDLE duplicate_into(_EPROCESS& from, HANDLE handle, ACCESS_MASK access, _EPROCESS& into) {
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  if (!NT_SUCCESS(find_handle(from, handle, 0, nullptr, UserMode, object, granted))) return nullptr;
  if (header_of(object).type == &file_type) ++static_cast<File*>(object)->handles;
  const HANDLE copy = insert_handle(into, object, granted & access);
  dereference(object);
  return copy;
}
}  // namespace

HANDLE Process::duplicate(HANDLE handle, ACCESS_MASK access) {
  return duplicate_into(*body_->process, handle, access, *body_->process);
}

HANDLE Process::duplicate(HANDLE handle, Process& into) {
  return duplicate_into(*body_->process, handle, ~ACCESS_MASK{0}, *into.body_->process);
}

void Process::set_event(HANDLE handle) {
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  if (!NT_SUCCESS(find_handle(*body_->process, handle, 0, &event_type, UserMode, object, granted))) return;
  KeSetEvent(static_cast<PKEVENT>(object), 0, FALSE);
  dereference(object);
}

bool Process::wait_event(HANDLE handle, std::chrono::milliseconds limit) {
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  if (!NT_SUCCESS(find_handle(*body_->process, handle, 0, &event_type, UserMode, object, granted))) return false;
  LARGE_INTEGER timeout;
  timeout.QuadPart = -std::int64_t{limit.count()} * 10'000;
  const NTSTATUS status = KeWaitForSingleObject(object, UserRequest, UserMode, FALSE, &timeout);
  dereference(object);
  return status == STATUS_SUCCESS;
}

NTSTATUS Process::close(HANDLE handle) {
  const Calling calling(*body_->process);
  return close_handle(*body_->process, handle);
}

std::size_t Process::open_handles() const {
  const std::lock_guard locked(body_->process->lock);
  return body_->process->handles.size();
}

void Process::cancel(HANDLE handle) {
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  if (!NT_SUCCESS(find_handle(*body_->process, handle, 0, &file_type, UserMode, object, granted))) return;
  std::vector<std::shared_ptr<Request::State>> requests;
  {
    const std::lock_guard locked(body_->process->lock);
    for (const auto& one : body_->process->requests) requests.push_back(one.lock());
  }
  for (const auto& one : requests) {
    if (one != nullptr && one->file == object) (void)cancel_request(*one);
  }
  dereference(object);
}

InProcess::InProcess(const Process& process) {
  KeStackAttachProcess(reinterpret_cast<PKPROCESS>(process.object()), &before_);
}

InProcess::~InProcess() { KeUnstackDetachProcess(&before_); }

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

PEPROCESS PsInitialSystemProcess = nullptr;  // set by Kernel

PEPROCESS NTAPI IoGetCurrentProcess(VOID) { return reinterpret_cast<PEPROCESS>(&current_process()); }

HANDLE NTAPI PsGetCurrentProcessId(VOID) { return reinterpret_cast<HANDLE>(current_process().id); }

NTSTATUS NTAPI PsLookupProcessByProcessId(HANDLE id, PEPROCESS* process) {
  require_irql_at_most(APC_LEVEL, __func__);
  _EPROCESS* const found = find_process(reinterpret_cast<std::uintptr_t>(id));
  if (found == nullptr) return STATUS_INVALID_CID;
  take(Kind::reference, found, __func__, "Process");
  *process = reinterpret_cast<PEPROCESS>(found);
  return STATUS_SUCCESS;
}

VOID NTAPI KeStackAttachProcess(PKPROCESS process, PRKAPC_STATE state) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  *reinterpret_cast<_EPROCESS**>(state) = current_thread().attached;
  current_thread().attached = reinterpret_cast<_EPROCESS*>(process);
}

VOID NTAPI KeUnstackDetachProcess(PRKAPC_STATE state) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  current_thread().attached = *reinterpret_cast<_EPROCESS**>(state);
}

NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE routine, BOOLEAN remove) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if (!remove && should_fail(__func__)) return STATUS_INVALID_PARAMETER;
  const std::lock_guard locked(notify().lock);
  auto& routines = notify().routines;
  const auto found = std::find(routines.begin(), routines.end(), routine);
  const bool is_there = found != routines.end();
  if (is_there != (remove != FALSE)) return remove ? STATUS_NOT_FOUND : STATUS_INVALID_PARAMETER;
  if (remove) {
    routines.erase(found);
    give_back(Kind::notify_routine, reinterpret_cast<const void*>(routine));
  } else {
    routines.push_back(routine);
    take(Kind::notify_routine, reinterpret_cast<const void*>(routine), __func__);
  }
  return STATUS_SUCCESS;
}

}  // extern "C"
