// Something that threads wait for, and that an event loop can watch. Set stays set until reset.
// Linux: an eventfd. Windows: a manual-reset event object. Any thread may call anything but the destructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace wintun {

// What the platform waits on: a descriptor on Linux, a HANDLE on Windows.
using WaitHandle = std::intptr_t;
inline constexpr WaitHandle kNoWaitHandle = -1;

class Event {
 public:
  Event();  // throws std::system_error
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void set();
  void reset();
  WaitHandle handle() const { return handle_; }

 private:
  WaitHandle handle_;
};

// Another handle of the same object, which its receiver closes; throws std::system_error.
[[nodiscard]] WaitHandle duplicate_handle(WaitHandle handle);

enum class WaitStatus { signalled, timed_out, interrupted, failed };
using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // none: without end

inline constexpr std::size_t kMaxWaitHandles = 64;  // in one wait, on every platform

// Returns when any handle is signalled, at the deadline, or when a signal handler ran (interrupted: the caller
// decides; on `failed` errno or the last error says why).
[[nodiscard]] WaitStatus wait_any(std::span<const WaitHandle> handles, const Deadline& deadline);

}  // namespace wintun
