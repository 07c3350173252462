// See errors.hpp. The texts say what was being done, to which device, why it failed and what to do.
#include "native/errors.hpp"

#include <pybind11/pybind11.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "native/native_device.hpp"

namespace py = pybind11;

namespace wintun::python {

PyObject* raise_os_error(int error_number, const std::string& text) {
  PyObject* words = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (words == nullptr) return nullptr;
  PyObject* error = PyObject_CallFunction(PyExc_OSError, "iN", error_number, words);
  if (error == nullptr) return nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  Py_DECREF(error);
  return nullptr;
}

PyObject* raise_status(IoStatus status, int error_number, const char* doing, const NativeDevice& device) {
  const std::string what = std::string(doing) + " '" + device.name() + "': ";
  switch (status) {
    case IoStatus::not_up:
      return raise_os_error(ENETDOWN, what + "the device is down; call up() first");
    case IoStatus::closed:
      return raise_os_error(EBADF, what + "the device is closed; make another TunDevice");
    case IoStatus::ended:
      return raise_os_error(ENODEV, what + "its interface is gone; close() the device and make another");
    case IoStatus::full:
      return raise_os_error(EAGAIN, what + "no room for the packet now, and it was not sent; write it again later");
    case IoStatus::timed_out:
      return raise_os_error(ETIMEDOUT, what + "no packet came in time");
    case IoStatus::corrupt:
      return raise_os_error(EBADMSG, what +
                                         "the ring holds what cannot be, and the session is over; "
                                         "call down() and up()");
    case IoStatus::invalid:
      return raise_os_error(EINVAL, what + "the driver refused the packet's size");
    default:
      break;
  }
  if (error_number == 0) error_number = EIO;
  return raise_os_error(error_number, what + std::generic_category().message(error_number));
}

PyObject* raise_bad_packet(IpStatus status, const unsigned char* packet, size_t size, const NativeDevice& device) {
  const char* name = device.name().c_str();
  switch (status) {
    case IpStatus::empty:
      return PyErr_Format(PyExc_ValueError, "writing to '%s': the packet is empty", name);
    case IpStatus::oversized:
      return PyErr_Format(PyExc_ValueError, "writing to '%s': a packet of %zu bytes; 65535 is the most", name, size);
    case IpStatus::truncated:
      return PyErr_Format(PyExc_ValueError,
                          "writing to '%s': the packet is truncated; its %zu bytes are fewer than its IP header "
                          "has or promises",
                          name, size);
    default:
      return PyErr_Format(PyExc_ValueError,
                          "writing to '%s': no IP packet; its first byte 0x%02x names neither version 4 nor 6", name,
                          size == 0 ? 0u : static_cast<unsigned>(packet[0]));
  }
}

void bind_errors() {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 takes a function of this type.
  py::register_local_exception_translator([](std::exception_ptr error) {
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const std::system_error& failure) {
      raise_os_error(failure.code().value(), failure.what());
    } catch (const std::invalid_argument& refusal) {
      PyErr_SetString(PyExc_ValueError, refusal.what());
    }
  });
}

}  // namespace wintun::python
