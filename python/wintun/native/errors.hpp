// How a failure below becomes a Python exception: an OSError of the class that fits its errno, or a ValueError.
// With the GIL held. OSError is *called*, since its constructor is what chooses BlockingIOError, TimeoutError and kin
// (setting the base class with arguments leaves the choice to whoever normalises it, which `except` may not wait
// for).
#pragma once

#include <Python.h>

#include <string>

#include "net/ip.hpp"
#include "session/status.hpp"

namespace wintun::python {

class NativeDevice;

// Each sets the exception and returns null, so that a raw method can return it.
PyObject* raise_os_error(int error_number, const std::string& text);
PyObject* raise_status(IoStatus status, int error_number, const char* doing, const NativeDevice& device);
PyObject* raise_bad_packet(IpStatus status, const unsigned char* packet, size_t size, const NativeDevice& device);

// For what is bound by pybind11: std::system_error becomes an OSError, std::invalid_argument a ValueError.
void bind_errors();

}  // namespace wintun::python
