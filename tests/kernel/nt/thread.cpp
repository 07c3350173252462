// Threads: every thread of this process has an object when it first needs one; system threads are made by drivers.
// A system thread's object is signalled when its routine has returned.
#include <atomic>
#include <list>

#include "tests/kernel/nt/objects.hpp"
#include "tests/kernel/nt/per_thread.hpp"

namespace wintun::kernel {

_OBJECT_TYPE thread_type{"Thread", destroy_object<_KTHREAD>};

namespace {

std::atomic<std::uint64_t> next_id{4};

_KTHREAD* make_thread() {
  auto* thread = make_object<_KTHREAD>(&thread_type);
  initialize_header(thread->header, kThread, 0);
  thread->id = next_id.fetch_add(4);
  return thread;
}

PerThread& own() {
  static auto* const one = new PerThread([](void* thread) { dereference(thread); });
  return *one;
}

struct Started {
  std::mutex lock;
  std::list<std::thread> all;
  std::atomic<std::size_t> running{0};
};
Started& started() {
  static Started* const one = new Started;
  return *one;
}

}  // namespace

_KTHREAD& current_thread() {
  if (own().get() == nullptr) own().set(make_thread());
  return *static_cast<_KTHREAD*>(own().get());
}

_KTHREAD* start_thread(PKSTART_ROUTINE routine, void* context, _EPROCESS* process) {
  _KTHREAD* const thread = make_thread();
  reference(thread);
  thread->attached = process;
  take(Kind::thread, thread, "PsCreateSystemThread");
  ++started().running;
  const std::lock_guard locked(started().lock);
  started().all.emplace_back([=] {
    own().set(thread);
    routine(context);
    expect_passive_after("a system thread");
    // Before the signal: whoever waits for it may look at the count.
    --started().running;
    give_back(Kind::thread, thread);
    const std::lock_guard signalling(dispatcher());
    signal_locked(thread->header, 1);
  });
  return thread;
}

void run_later(std::function<void()> work) {
  const std::lock_guard locked(started().lock);
  started().all.emplace_back(std::move(work));
}

void join_finished_threads() {
  for (;;) {
    std::list<std::thread> all;
    {
      const std::lock_guard locked(started().lock);
      all.swap(started().all);
    }
    if (all.empty()) return;
    for (std::thread& one : all) one.join();
  }
}

std::size_t running_threads() { return started().running; }

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

NTSTATUS NTAPI PsCreateSystemThread(PHANDLE handle, ULONG access, POBJECT_ATTRIBUTES attributes, HANDLE process,
                                    PCLIENT_ID id, PKSTART_ROUTINE routine, PVOID context) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if (process != nullptr) {
    violation("PsCreateSystemThread in another process than the system's");
    return STATUS_INVALID_PARAMETER;
  }
  const bool kernel_handle = attributes != nullptr && (attributes->Attributes & OBJ_KERNEL_HANDLE) != 0;
  if (&current_process() != &system_process() && !kernel_handle) {
    violation("PsCreateSystemThread makes a handle that the calling program can use: OBJ_KERNEL_HANDLE is missing");
  }
  if (should_fail(__func__)) return STATUS_INSUFFICIENT_RESOURCES;
  _KTHREAD* const thread = start_thread(routine, context, &system_process());
  *handle = insert_handle(system_process(), thread, access);
  take(Kind::handle, *handle, __func__, "thread");
  if (id != nullptr) {
    id->UniqueProcess = reinterpret_cast<HANDLE>(system_process().id);
    id->UniqueThread = reinterpret_cast<HANDLE>(thread->id);
  }
  dereference(thread);
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI PsTerminateSystemThread(NTSTATUS) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  return STATUS_SUCCESS;
}

}  // extern "C"
