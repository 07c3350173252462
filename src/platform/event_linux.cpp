// Events and waiting on Linux: an eventfd, and ppoll over descriptors. Any thread; setting never blocks.
// The neighbour with the contract is event.hpp.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "platform/event.hpp"

namespace wintun {
namespace {

// A wait longer than this is cut into several: time_t and ppoll take no larger ones everywhere.
constexpr std::chrono::seconds kLongestWait{24 * 60 * 60};

timespec time_until(std::chrono::steady_clock::time_point deadline) {
  using std::chrono::nanoseconds;
  const auto now = std::chrono::steady_clock::now();
  if (deadline <= now) return {0, 0};
  // Compared before it is subtracted: a deadline may be time_point::max(), and now may be negative.
  const nanoseconds left = deadline >= now + kLongestWait ? nanoseconds(kLongestWait) : nanoseconds(deadline - now);
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {static_cast<time_t>(whole.count()), static_cast<long>((left - whole).count())};
}

}  // namespace

WaitHandle duplicate_handle(WaitHandle handle) {
  // Never 0, which would be a null handle.
  const int other = ::fcntl(static_cast<int>(handle), F_DUPFD_CLOEXEC, 1);
  if (other < 0) throw std::system_error(errno, std::system_category(), "duplicating a descriptor");
  return other;
}

Event::Event() : handle_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (handle_ < 0) throw std::system_error(errno, std::system_category(), "making an event (eventfd)");
}

Event::~Event() { ::close(static_cast<int>(handle_)); }

void Event::set() {
  const int kept = errno;
  const std::uint64_t one = 1;
  // The only failure of a good descriptor is a counter at its limit, which is set all the same.
  [[maybe_unused]] const auto written = ::write(static_cast<int>(handle_), &one, sizeof one);
  errno = kept;
}

void Event::reset() {
  const int kept = errno;
  std::uint64_t count = 0;
  [[maybe_unused]] const auto taken = ::read(static_cast<int>(handle_), &count, sizeof count);
  errno = kept;
}

WaitStatus wait_any(std::span<const WaitHandle> handles, const Deadline& deadline) {
  std::array<pollfd, kMaxWaitHandles> polled;
  if (handles.size() > polled.size()) {
    errno = EINVAL;
    return WaitStatus::failed;
  }
  nfds_t count = 0;
  // poll passes over negative descriptors, so kNoWaitHandle is never signalled.
  for (const WaitHandle handle : handles) polled[count++] = {static_cast<int>(handle), POLLIN, 0};

  for (;;) {
    timespec left{};
    if (deadline) left = time_until(*deadline);
    const int ready = ::ppoll(polled.data(), count, deadline ? &left : nullptr, nullptr);
    if (ready < 0) return errno == EINTR ? WaitStatus::interrupted : WaitStatus::failed;
    for (nfds_t i = 0; i < count; ++i) {
      if ((polled[i].revents & POLLNVAL) != 0) {
        errno = EBADF;
        return WaitStatus::failed;
      }
    }
    if (ready > 0) return WaitStatus::signalled;
    if (std::chrono::steady_clock::now() >= *deadline) return WaitStatus::timed_out;
  }
}

}  // namespace wintun
