// Events, and waiting for all that can be waited for. One mutex, as NT has one dispatcher lock: a
// waiter stands in the list of each of its objects, and looks again whenever one of them is signalled.
#include <chrono>
#include <string>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {
namespace {

struct WaitBlock {
  LIST_ENTRY entry;
  _KTHREAD* thread;
};

bool is_initialized(const DISPATCHER_HEADER& header) { return header.WaitListHead.Flink != nullptr; }

bool is_signalled(const DISPATCHER_HEADER& header) { return header.SignalState > 0; }

void consume(DISPATCHER_HEADER& header) {
  if (header.Type == kSynchronization) header.SignalState = 0;
  if (header.Type == kSemaphore) --header.SignalState;
}

// The first of them that is signalled, or count if none; for WaitAll 0 or count.
ULONG satisfied(DISPATCHER_HEADER** objects, ULONG count, WAIT_TYPE type) {
  ULONG set = 0;
  for (ULONG i = 0; i < count; ++i) {
    if (!is_signalled(*objects[i])) continue;
    if (type == WaitAny) return i;
    ++set;
  }
  return type == WaitAll && set == count ? 0 : count;
}

using Clock = std::chrono::steady_clock;

// NT's: relative if negative, in 100 ns. Waiting until a date is not modelled.
Clock::time_point deadline(const LARGE_INTEGER& timeout) {
  if (timeout.QuadPart > 0) violation("a wait until a date, which a clock that is set would move");
  const std::int64_t day = std::int64_t{10'000'000} * 60 * 60 * 24;
  const std::int64_t ticks = timeout.QuadPart < -day ? day : -timeout.QuadPart;
  return Clock::now() + std::chrono::nanoseconds(ticks * 100);
}

NTSTATUS wait(DISPATCHER_HEADER** objects, ULONG count, WAIT_TYPE type, bool alertable, const LARGE_INTEGER* timeout,
              const char* function) {
  if (timeout == nullptr || timeout->QuadPart != 0) {
    require_may_wait(function);
  } else {
    require_irql_at_most(DISPATCH_LEVEL, function);  // published: with a zero timeout it does not wait
  }
  _KTHREAD& self = current_thread();
  WaitBlock blocks[MAXIMUM_WAIT_OBJECTS];
  const Clock::time_point end = timeout != nullptr ? deadline(*timeout) : Clock::time_point{};
  std::unique_lock locked(dispatcher());
  for (ULONG i = 0; i < count; ++i) {
    if (objects[i] != nullptr && is_initialized(*objects[i])) continue;
    violation(std::string(function) + " for an object that was not initialized");
    return STATUS_INVALID_PARAMETER;
  }
  for (ULONG i = 0; i < count; ++i) {
    blocks[i].thread = &self;
    InsertTailList(&objects[i]->WaitListHead, &blocks[i].entry);
  }
  NTSTATUS status = STATUS_TIMEOUT;
  for (bool in_time = true;;) {
    const ULONG which = count > 0 ? satisfied(objects, count, type) : count;
    if (which < count) {
      for (ULONG i = 0; i < count; ++i) {
        if (type == WaitAll || i == which) consume(*objects[i]);
      }
      status = static_cast<NTSTATUS>(which);
      break;
    }
    if (alertable && self.alerted) {
      self.alerted = false;
      status = STATUS_ALERTED;
      break;
    }
    if (!in_time || (timeout != nullptr && timeout->QuadPart == 0)) break;
    if (timeout == nullptr) {
      self.wake.wait(locked);
    } else {
      in_time = self.wake.wait_until(locked, end) == std::cv_status::no_timeout;
    }
  }
  for (ULONG i = 0; i < count; ++i) RemoveEntryList(&blocks[i].entry);
  return status;
}

}  // namespace

std::mutex& dispatcher() {
  static std::mutex* const one = new std::mutex;
  return *one;
}

void initialize_header(DISPATCHER_HEADER& header, UCHAR type, LONG state) {
  header.Type = type;
  header.Signalling = 0;
  header.SignalState = state;
  InitializeListHead(&header.WaitListHead);
}

void signal_locked(DISPATCHER_HEADER& header, LONG state) {
  header.SignalState = state;
  if (state <= 0) return;
  for (LIST_ENTRY* entry = header.WaitListHead.Flink; entry != &header.WaitListHead; entry = entry->Flink) {
    CONTAINING_RECORD(entry, WaitBlock, entry)->thread->wake.notify_all();
  }
}

namespace {

bool is_event(const KEVENT* event, const char* function) {
  const bool is = event != nullptr && is_initialized(event->Header) && event->Header.Type <= kSynchronization;
  if (!is) violation(std::string(function) + " with what is no event, or was not initialized");
  return is;
}

LONG change_event(PRKEVENT event, LONG state, const char* function) {
  require_irql_at_most(DISPATCH_LEVEL, function);
  const std::lock_guard locked(dispatcher());
  if (!is_event(event, function)) return 0;
  const LONG before = event->Header.SignalState;
  signal_locked(event->Header, state);
  return before;
}

}  // namespace
}  // namespace wintun::kernel

using wintun::kernel::violation;

extern "C" {

VOID NTAPI KeInitializeEvent(PRKEVENT event, EVENT_TYPE type, BOOLEAN state) {
  const UCHAR kind = type == NotificationEvent ? wintun::kernel::kNotification : wintun::kernel::kSynchronization;
  wintun::kernel::initialize_header(event->Header, kind, state ? 1 : 0);
}

LONG NTAPI KeSetEvent(PRKEVENT event, KPRIORITY, BOOLEAN wait) {
  if (wait) violation("KeSetEvent with Wait: no wait follows here");
  return wintun::kernel::change_event(event, 1, __func__);
}

VOID NTAPI KeClearEvent(PRKEVENT event) { (void)wintun::kernel::change_event(event, 0, __func__); }

NTSTATUS NTAPI KeWaitForSingleObject(PVOID object, KWAIT_REASON, KPROCESSOR_MODE, BOOLEAN alertable,
                                     PLARGE_INTEGER timeout) {
  auto* header = static_cast<DISPATCHER_HEADER*>(object);
  return wintun::kernel::wait(&header, 1, WaitAny, alertable != FALSE, timeout, __func__);
}

NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG count, PVOID objects[], WAIT_TYPE type, KWAIT_REASON, KPROCESSOR_MODE,
                                        BOOLEAN alertable, PLARGE_INTEGER timeout, PKWAIT_BLOCK blocks) {
  if (count == 0 || count > MAXIMUM_WAIT_OBJECTS || (blocks == nullptr && count > THREAD_WAIT_OBJECTS)) {
    violation("KeWaitForMultipleObjects: a bad number of objects, or no wait blocks for more than three");
    return STATUS_INVALID_PARAMETER;
  }
  DISPATCHER_HEADER* headers[MAXIMUM_WAIT_OBJECTS];
  for (ULONG i = 0; i < count; ++i) headers[i] = static_cast<DISPATCHER_HEADER*>(objects[i]);
  return wintun::kernel::wait(headers, count, type, alertable != FALSE, timeout, __func__);
}

NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE, BOOLEAN alertable, PLARGE_INTEGER interval) {
  wintun::kernel::require_may_wait(__func__);
  LARGE_INTEGER no_zero = *interval;
  if (no_zero.QuadPart == 0) {
    std::this_thread::yield();
    return STATUS_SUCCESS;
  }
  const NTSTATUS status = wintun::kernel::wait(nullptr, 0, WaitAny, alertable != FALSE, &no_zero, __func__);
  return status == STATUS_TIMEOUT ? STATUS_SUCCESS : status;
}

}  // extern "C"
