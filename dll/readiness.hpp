// One handle that is signalled while either of two is: the driver's own, and the event of packets already in the
// ring. It is what WintunGetReadWaitEvent gives out. Any thread may wait for it; the session owns it.
#pragma once

#include "platform/event.hpp"

namespace wintun {

class Readiness {
 public:
  // `driver` may be kNoWaitHandle. Both outlive this. Throws std::system_error.
  Readiness(WaitHandle ring, WaitHandle driver);
  ~Readiness();
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  WaitHandle handle() const { return handle_; }

 private:
  WaitHandle handle_;
};

}  // namespace wintun
