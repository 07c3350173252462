// Every failure becomes a Windows error code here: the one table of ring statuses, exceptions and platform errors.
// The last error is each thread's own. last_error_linux.cpp keeps it; Windows has it in the system.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

#include "ring/layout.hpp"
#include "wintun.h"

namespace wintun {

void set_last_error(DWORD code) noexcept;
[[nodiscard]] DWORD last_error() noexcept;

// A call that cannot be done, found by dll/ itself. Cold paths only; never leaves an export.
class Failure : public std::runtime_error {
 public:
  Failure(DWORD code, const std::string& why) : std::runtime_error(why), code_(code) {}
  DWORD code() const { return code_; }

 private:
  DWORD code_;
};

// Of a status other than ok.
constexpr DWORD code_of(RingStatus status) {
  switch (status) {
    case RingStatus::empty:
      return ERROR_NO_MORE_ITEMS;
    case RingStatus::full:
      return ERROR_BUFFER_OVERFLOW;
    case RingStatus::ended:
      return ERROR_HANDLE_EOF;
    case RingStatus::corrupt:
      return ERROR_INVALID_DATA;
    case RingStatus::ok:
    case RingStatus::too_large:
    case RingStatus::not_held:
      break;
  }
  return ERROR_INVALID_PARAMETER;
}

// The platform's own error, as std::system_error carries it.
[[nodiscard]] DWORD code_of(const std::error_code& error) noexcept;

// Of the exception that is being handled, with its text.
[[nodiscard]] DWORD code_of_current_exception(std::string& why);

}  // namespace wintun
