// See errors.hpp. The tables from the ABI's last errors; dll/last_error.cpp is where ours come from. Any thread; only
// throw_error allocates. GetLastError of the linked library, hence WINTUN_LINKED.
#define WINTUN_LINKED
#include "session/errors.hpp"

#include <cerrno>
#include <system_error>

namespace wintun {
namespace {

struct Pair {
  std::uint32_t error;
  int error_number;
};

// By Windows' published numbers; wintun.h names those that a Wintun library promises.
constexpr Pair kErrnos[] = {
    {1, ENOSYS},         // invalid function
    {2, ENOENT},         // file not found
    {3, ENOENT},         // path not found
    {4, EMFILE},         // too many open files
    {5, EPERM},          // access denied
    {6, EBADF},          // invalid handle
    {8, ENOMEM},         // not enough memory
    {13, EBADMSG},       // invalid data
    {14, ENOMEM},        // out of memory
    {21, ENODEV},        // not ready
    {31, EIO},           // general failure
    {32, EBUSY},         // sharing violation
    {38, EPIPE},         // end of file: the driver has ended
    {50, EOPNOTSUPP},    // not supported
    {55, ENODEV},        // device does not exist
    {80, EEXIST},        // file exists
    {87, EINVAL},        // invalid parameter
    {111, ENOBUFS},      // buffer overflow
    {122, ENOBUFS},      // insufficient buffer
    {123, EINVAL},       // invalid name
    {126, ENOENT},       // module not found
    {127, ENOSYS},       // procedure not found
    {170, EBUSY},        // busy
    {183, EEXIST},       // already exists
    {258, ETIMEDOUT},    // wait timeout
    {259, EAGAIN},       // no more items
    {433, ENODEV},       // no such device
    {997, EINPROGRESS},  // input and output pending
    {1168, ENOENT},      // element not found
    {1247, EBUSY},       // already initialized
    {1314, EPERM},       // privilege not held
    {1450, ENOMEM},      // no system resources
    {1460, ETIMEDOUT},   // timeout
};

}  // namespace

std::uint32_t last_error(const Functions& functions) {
  return functions.get_last_error != nullptr ? functions.get_last_error() : GetLastError();
}

int errno_of(std::uint32_t error) {
  for (const Pair& pair : kErrnos) {
    if (pair.error == error) return pair.error_number;
  }
  return EIO;
}

IoStatus status_of(std::uint32_t error) {
  switch (error) {
    case ERROR_NO_MORE_ITEMS:
      return IoStatus::empty;
    case ERROR_BUFFER_OVERFLOW:
      return IoStatus::full;
    case ERROR_HANDLE_EOF:
      return IoStatus::ended;
    case ERROR_INVALID_DATA:
      return IoStatus::corrupt;
    case ERROR_INVALID_PARAMETER:
      return IoStatus::invalid;
    default:
      errno = errno_of(error);
      return IoStatus::failed;
  }
}

void throw_error(int error_number, const Complaint& complaint) {
  std::string text = complaint.doing;
  if (!complaint.cause.empty()) text += ": " + complaint.cause;
  if (!complaint.library.empty()) text += " (the library says: " + complaint.library + ")";
  if (!complaint.remedy.empty()) text += "; " + complaint.remedy;
  throw std::system_error(error_number, std::generic_category(), text);
}

}  // namespace wintun
