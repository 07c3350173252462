// What the kernel of the tests holds against a driver: rules broken, and what was taken and not given back.
// Any thread, at any level. Nothing here is a kernel function; nt/ and ndis/ call it from theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wintun::kernel {

// Records a broken rule with the stack of the caller, or ends the process if the kernel was started so.
void violation(const std::string& text);
void set_abort_on_violation(bool abort);

// The level of this thread must be at most that; says so of `function` if it is not.
void require_irql_at_most(unsigned most, const char* function);
// The same, and nothing that this thread holds may keep it from waiting.
void require_may_wait(const char* function);

// True: this call of `function` shall fail. Every fallible kernel function asks once, before it changes anything.
bool should_fail(const char* function);

// ---- what is out ----

enum class Kind : std::uint8_t {
  pool,
  mdl,
  locked_pages,
  mapping,
  handle,
  reference,
  thread,
  irp,
  device,
  link,
  notify_routine,
  net_buffer_list_pool,
  net_buffer_list,
  rw_lock,
  miniport_driver,
  adapter,
  rundown
};

void take(Kind kind, const void* what, const char* function, std::string note = {});
// False: it was not out. The caller says what that means.
bool give_back(Kind kind, const void* what);
bool is_out(Kind kind, const void* what);
std::size_t count_out();
// A violation for everything that is out, which is then forgotten.
void expect_nothing_out(const std::string& when);

// ---- where a call comes from ----

using Stack = std::vector<std::uintptr_t>;
Stack capture_stack(unsigned skip);              // stack_linux.cpp, stack_windows.cpp
std::string describe_stack(const Stack& stack);  // one line

}  // namespace wintun::kernel
