// The session core's log lines on their way to Python. The core calls its logger from whichever thread logs, perhaps
// without the GIL and inside a destructor, where a thread that Python ends at exit must not take the GIL. So a line
// is queued there, and delivered by the same thread's call into this module before it returns to Python.
#pragma once

#include <atomic>

namespace wintun::python {

extern std::atomic<bool> log_lines_waiting;
void deliver_waiting_log_lines();

// With the GIL. Keeps an exception that is set.
inline void deliver_log_lines() {
  if (log_lines_waiting.load(std::memory_order_relaxed)) [[unlikely]] {
    deliver_waiting_log_lines();
  }
}

}  // namespace wintun::python
