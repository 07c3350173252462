// Waiting for a packet as Python expects it: without the GIL, until a deadline, and Ctrl-C gets through.
// With the GIL held on entry and on return.
#pragma once

#include <Python.h>

#include "native/native_device.hpp"

namespace wintun::python {

// None: without end. Else seconds from now. False with TypeError or ValueError.
[[nodiscard]] bool deadline_of(PyObject* timeout, Deadline& deadline);

// As Device::wait, but for good: a signal's handler runs and the wait goes on with the same deadline, unless the
// handler raised: then `interrupted`, and the exception is set. `cancels`: the device's, before the caller first
// looked for a packet, so that no cancel between looking and waiting is missed.
[[nodiscard]] IoStatus wait_for_packet(NativeDevice& device, const Deadline& deadline, std::uint64_t cancels);

// Whether this thread is the one that runs Python's signal handlers.
[[nodiscard]] bool on_main_thread();

// The end of the current slice of a wait: the deadline itself for any thread but the main one.
[[nodiscard]] Deadline slice_end(const Deadline& deadline, bool main_thread);

}  // namespace wintun::python
