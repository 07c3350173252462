// The last error of a thread, and what the errors of Linux are called on Windows. Any thread.
#include <array>
#include <cerrno>

#include "last_error.hpp"

namespace wintun {
namespace {

thread_local DWORD this_threads_error = ERROR_SUCCESS;

struct Pair {
  int platform;
  DWORD windows;
};
// Busy is an interface that somebody else holds: to the caller its name is taken.
constexpr std::array kPairs = {
    Pair{ENOENT, ERROR_FILE_NOT_FOUND},      Pair{ENODEV, ERROR_FILE_NOT_FOUND},
    Pair{ENXIO, ERROR_FILE_NOT_FOUND},       Pair{EPERM, ERROR_ACCESS_DENIED},
    Pair{EACCES, ERROR_ACCESS_DENIED},       Pair{EEXIST, ERROR_ALREADY_EXISTS},
    Pair{EBUSY, ERROR_ALREADY_EXISTS},       Pair{EINVAL, ERROR_INVALID_PARAMETER},
    Pair{ENOMEM, ERROR_NOT_ENOUGH_MEMORY},   Pair{ENOBUFS, ERROR_NOT_ENOUGH_MEMORY},
    Pair{EMFILE, ERROR_TOO_MANY_OPEN_FILES}, Pair{ENFILE, ERROR_TOO_MANY_OPEN_FILES},
    Pair{EOPNOTSUPP, ERROR_NOT_SUPPORTED},   Pair{ENOTTY, ERROR_NOT_SUPPORTED},
};

}  // namespace

void set_last_error(DWORD code) noexcept { this_threads_error = code; }
DWORD last_error() noexcept { return this_threads_error; }

DWORD code_of(const std::error_code& error) noexcept {
  if (error.category() != std::system_category() && error.category() != std::generic_category()) {
    return ERROR_GEN_FAILURE;
  }
  for (const Pair& pair : kPairs) {
    if (pair.platform == error.value()) return pair.windows;
  }
  return ERROR_GEN_FAILURE;
}

}  // namespace wintun
