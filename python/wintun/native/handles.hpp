// What the binding does with the wait handle itself: copies, and making one readable for good. One file per platform.
// Any thread, without the GIL or with it: nothing here waits.
#pragma once

#include "platform/event.hpp"

namespace wintun::python {

// When the module is imported, so that no later operation is seen to leave a descriptor behind.
void prepare_handles();

WaitHandle duplicate_handle(WaitHandle handle);  // throws std::system_error
void close_handle(WaitHandle handle);

// A wait handle is a set of things to wait for. Makes it readable by putting something into it that always is; every
// copy of the handle sees that, and whoever sleeps on one is woken. Taking it out again leaves the rest as it was.
void make_ready(WaitHandle handle);
void unmake_ready(WaitHandle handle);

}  // namespace wintun::python
