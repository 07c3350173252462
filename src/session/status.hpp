// What an operation on a packet's path can answer. Nothing on that path throws.
#pragma once

namespace wintun {

enum class IoStatus {
  ok,
  empty,  // nothing to read now
  full,   // no room to write now
  timed_out,
  cancelled,    // cancel_read() woke this reader
  interrupted,  // a signal handler ran: the caller decides whether to go on
  not_up,       // no session is started
  closed,       // the device is closed
  ended,        // the driver has ended: the interface is gone
  corrupt,      // the ring holds what cannot be: the session is over
  invalid,      // a size out of range, or a packet that is not lent
  failed,       // the platform's own error, in errno
};

}  // namespace wintun
