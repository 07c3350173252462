// One packet: read, read_into, wait_read_event, write. Raw methods, since this is what a program calls most.
// read and write keep the GIL: what they call never sleeps, and no lock below is ever held by a thread that waits for
// the GIL. They give it up around long copies and waits. Neighbours: packets.hpp, waiting.hpp, bind_batches.cpp.
#include <cerrno>
#include <cstring>

#include "native/bind.hpp"
#include "native/errors.hpp"
#include "native/gil.hpp"
#include "native/packets.hpp"
#include "native/waiting.hpp"
#include "net/ip.hpp"

namespace wintun::python {

PyObject* bytes_of(const Packet& packet) {
  const auto size = static_cast<Py_ssize_t>(packet.size);
  if (packet.size <= kLongCopy) return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(packet.data), size);
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, size);
  if (bytes == nullptr) return nullptr;
  // Without the GIL: the object is nobody else's yet, and the packet is lent to us.
  Py_BEGIN_ALLOW_THREADS;
  std::memcpy(PyBytes_AS_STRING(bytes), packet.data, packet.size);
  Py_END_ALLOW_THREADS;
  return bytes;
}

bool PacketBuffer::take(PyObject* object) {
  if (PyBytes_CheckExact(object)) {
    Py_INCREF(object);
    view_.obj = object;
    view_.buf = PyBytes_AS_STRING(object);
    view_.len = PyBytes_GET_SIZE(object);
  } else if (PyObject_GetBuffer(object, &view_, PyBUF_SIMPLE) != 0) {
    view_.obj = nullptr;
    if (!PyErr_ExceptionMatches(PyExc_BufferError)) return false;
    PyErr_Clear();
    PyObject* copy = PyBytes_FromObject(object);
    if (copy == nullptr) return false;
    const bool taken = PyObject_GetBuffer(copy, &view_, PyBUF_SIMPLE) == 0;
    Py_DECREF(copy);
    if (!taken) return false;
  }
  bytes_ = {static_cast<const std::uint8_t*>(view_.buf), static_cast<std::size_t>(view_.len)};
  return true;
}

std::span<const std::uint8_t> PacketBuffer::packet(const NativeDevice& device) const {
  const auto bytes = bytes_.subspan(packet_information_size(bytes_.data(), bytes_.size()));
  if (const IpStatus status = check_ip(bytes.data(), bytes.size()); status != IpStatus::ok) [[unlikely]] {
    raise_bad_packet(status, bytes.data(), bytes.size(), device);
    return {};
  }
  return bytes;
}

namespace {

constexpr const char* kReading = "reading from";

PyObject* take_bytes(NativeDevice& device, const Packet& packet) {
  PyObject* bytes = bytes_of(packet);
  device.device().release(packet);
  deliver_log_lines();
  return bytes;
}

PyObject* read_until(NativeDevice& device, const Deadline& deadline) {
  const std::uint64_t cancels = device.cancels();
  for (;;) {
    Packet packet;
    errno = 0;
    IoStatus status = device.receive(packet);
    if (status == IoStatus::ok) return take_bytes(device, packet);
    if (status == IoStatus::empty) {
      status = wait_for_packet(device, deadline, cancels);
      if (status == IoStatus::ok) continue;  // or another reader was faster: look, and wait again
      if (status == IoStatus::interrupted) return nullptr;
      if (status == IoStatus::cancelled) Py_RETURN_NONE;
    }
    return raise_status(status, errno, kReading, device);
  }
}

// read(*, timeout=...)
PyObject* read(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  if (count == 0 && names == nullptr) [[likely]] {
    Packet packet;
    const IoStatus status = device->receive(packet);
    if (status == IoStatus::ok) return take_bytes(*device, packet);
    if (status == IoStatus::empty) Py_RETURN_NONE;
    return raise_status(status, errno, kReading, *device);
  }
  if (count != 0) {
    PyErr_SetString(PyExc_TypeError,
                    "read(): a whole packet is read, so it takes no size; for a time in seconds: "
                    "read(timeout=...)");
    return nullptr;
  }
  PyObject* timeout = Py_Ellipsis;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (PyUnicode_CompareWithASCIIString(name, "timeout") != 0) {
      return PyErr_Format(PyExc_TypeError, "read() got an unexpected keyword argument '%U'", name);
    }
    timeout = arguments[i];
  }
  if (timeout == Py_Ellipsis) return read(self, nullptr, 0, nullptr);
  Deadline deadline;
  if (!deadline_of(timeout, deadline)) return nullptr;
  return read_until(*device, deadline);
}

// wait_read_event(timeout=None)
PyObject* wait_read_event(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  if (count + named > 1) {
    return PyErr_Format(PyExc_TypeError, "wait_read_event() takes 1 argument (%zd given)", count + named);
  }
  if (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout") != 0) {
    return PyErr_Format(PyExc_TypeError, "wait_read_event() got an unexpected keyword argument '%U'",
                        PyTuple_GET_ITEM(names, 0));
  }
  Deadline deadline;
  if (!deadline_of(count + named == 1 ? arguments[0] : Py_None, deadline)) return nullptr;
  errno = 0;
  switch (const IoStatus status = wait_for_packet(*device, deadline, device->cancels())) {
    case IoStatus::ok:
      Py_RETURN_TRUE;
    case IoStatus::timed_out:
    case IoStatus::cancelled:
      Py_RETURN_FALSE;
    case IoStatus::interrupted:
      return nullptr;
    default:
      return raise_status(status, errno, "waiting for a packet of", *device);
  }
}

PyObject* read_into(PyObject* self, PyObject* buffer) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  Py_buffer view;
  if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) != 0) {
    return PyErr_Format(PyExc_TypeError, "read_into(): a writable, contiguous bytes-like object, not %.100s",
                        Py_TYPE(buffer)->tp_name);
  }
  Packet packet;
  const IoStatus status = device->receive(packet);
  const int error_number = errno;
  PyObject* answer = nullptr;
  if (status == IoStatus::empty) {
    answer = Py_None;
    Py_INCREF(answer);
  } else if (status != IoStatus::ok) {
    raise_status(status, error_number, kReading, *device);
  } else if (packet.size > static_cast<std::size_t>(view.len)) {
    // Without the GIL: hold() may wait for an up() or down() of another thread.
    Py_BEGIN_ALLOW_THREADS;
    device->hold(packet);
    Py_END_ALLOW_THREADS;
    raise_os_error(EMSGSIZE, std::string(kReading) + " '" + device->name() + "': the packet has " +
                                 std::to_string(packet.size) + " bytes and the buffer " + std::to_string(view.len) +
                                 "; nothing is lost, read it again into a larger one");
  } else {
    // The exporter keeps the memory where it is while `view` lives, so a long copy can do without the GIL.
    if (packet.size <= kLongCopy) {
      std::memcpy(view.buf, packet.data, packet.size);
    } else {
      Py_BEGIN_ALLOW_THREADS;
      std::memcpy(view.buf, packet.data, packet.size);
      Py_END_ALLOW_THREADS;
    }
    device->device().release(packet);
    answer = PyLong_FromUnsignedLong(packet.size);
  }
  PyBuffer_Release(&view);
  deliver_log_lines();
  return answer;
}

PyObject* write(PyObject* self, PyObject* object) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  PacketBuffer buffer;
  if (!buffer.take(object)) return nullptr;
  const auto packet = buffer.packet(*device);
  if (packet.empty()) return nullptr;
  IoStatus status;
  if (packet.size() <= kLongCopy) [[likely]] {
    status = device->device().write(packet);
  } else {
    // Without the GIL: `buffer` keeps the memory in its place. Whoever changes the bytes meanwhile sends them
    // changed.
    Py_BEGIN_ALLOW_THREADS;
    status = device->device().write(packet);
    Py_END_ALLOW_THREADS;
  }
  const int error_number = errno;
  deliver_log_lines();
  if (status == IoStatus::ok) [[likely]]
    return PyLong_FromSize_t(packet.size());
  return raise_status(status, error_number, "writing to", *device);
}

PyMethodDef methods[] = {
    {"read", raw(&read), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "read($self, /, *, timeout=...)\n--\n\n"
         "One whole IP packet, without any header in front, or None.\n\n"
         "Without the argument it never waits: None means that there is no packet now. `timeout=None` waits until\n"
         "there is one, a number waits so many seconds. None is then the answer to `cancel_read()`.\n\n"
         "Raises:\n"
         "    TimeoutError: no packet in time.\n"
         "    OSError: ENETDOWN (not up), EBADF (closed), ENODEV (its interface was removed).")},
    {"read_into", raw(&read_into), METH_O,
     PyDoc_STR(
         "read_into($self, buffer, /)\n--\n\n"
         "One packet into the caller's memory, a writable, contiguous buffer. Its size in bytes, or None when\n"
         "there is none now. Never waits.\n\n"
         "Raises:\n"
         "    OSError: EMSGSIZE when it does not fit (it stays first in line, and the text says its size), and as\n"
         "        `read()`.")},
    {"wait_read_event", raw(&wait_read_event), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "wait_read_event($self, /, timeout=None)\n--\n\n"
         "Wait until a packet can be read, or for so many seconds. True: `read()` will find one, unless another\n"
         "thread is faster. False: the time is over, or `cancel_read()` was called. The GIL is released, Ctrl-C\n"
         "works, several threads may wait.\n\n"
         "Raises:\n"
         "    OSError: as `read()`.")},
    {"write", raw(&write), METH_O,
     PyDoc_STR(
         "write($self, packet, /)\n--\n\n"
         "Send one IP packet, any bytes-like object, to the network stack. The number of its bytes. Never waits.\n"
         "The 4 bytes 00 00 08 00 or 00 00 86 dd in front (struct tun_pi of linux/if_tun.h) are taken off.\n\n"
         "Raises:\n"
         "    BlockingIOError: no room now; counted as `sent_drops`.\n"
         "    ValueError: it is empty, longer than 65535 bytes, shorter than its header says, or no IP.\n"
         "    OSError: as `read()`.")},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_packets(DeviceClass& device) { add_raw_methods(device, methods); }

}  // namespace wintun::python
