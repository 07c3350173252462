// See handles.hpp. A wait handle is an epoll descriptor here (man 7 epoll), so it can be nested and copied.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "native/handles.hpp"

namespace wintun::python {
namespace {

// One for the process and never closed: epoll forgets a descriptor that is closed everywhere, and a copy of the wait
// handle must stay readable for as long as anybody keeps it.
int always_ready() {
  static const int descriptor = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  return descriptor;
}

}  // namespace

void prepare_handles() {
  if (always_ready() < 0) throw std::system_error(errno, std::generic_category(), "making an eventfd");
}

WaitHandle duplicate_handle(WaitHandle handle) {
  const int copy = ::fcntl(static_cast<int>(handle), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw std::system_error(errno, std::generic_category(), "copying the wait descriptor");
  return copy;
}

void close_handle(WaitHandle handle) { ::close(static_cast<int>(handle)); }

void make_ready(WaitHandle handle) {
  epoll_event event{};
  event.events = EPOLLIN;
  // A failure means that it is in there already, or that memory is out: then whoever sleeps is woken by its timeout.
  ::epoll_ctl(static_cast<int>(handle), EPOLL_CTL_ADD, always_ready(), &event);
}

void unmake_ready(WaitHandle handle) {
  ::epoll_ctl(static_cast<int>(handle), EPOLL_CTL_DEL, always_ready(), nullptr);
}

}  // namespace wintun::python
