// An epoll descriptor, which polls readable itself: the kernel looks at both sources, and no thread has to.
#include "readiness.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace wintun {
namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::system_category(), what); }

// Descriptor 0 would be a null HANDLE, which means failure.
int not_null(int descriptor) {
  if (descriptor != 0) return descriptor;
  const int other = fcntl(descriptor, F_DUPFD_CLOEXEC, 1);
  const int error = errno;
  close(descriptor);
  errno = error;
  return other;
}

void watch(int epoll, WaitHandle source) {
  if (source == kNoWaitHandle) return;
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, static_cast<int>(source), &event) != 0) {
    const int error = errno;
    close(epoll);
    errno = error;
    fail("watching a descriptor for the session's event");
  }
}

}  // namespace

Readiness::Readiness(WaitHandle ring, WaitHandle driver) : handle_(kNoWaitHandle) {
  const int epoll = not_null(epoll_create1(EPOLL_CLOEXEC));
  if (epoll < 0) fail("making the session's event");
  watch(epoll, ring);
  watch(epoll, driver);
  handle_ = epoll;
}

Readiness::~Readiness() { close(static_cast<int>(handle_)); }

}  // namespace wintun
