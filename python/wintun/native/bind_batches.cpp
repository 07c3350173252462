// Many packets a call: read_many, read_batch, write_many, write_batch, and the type PacketBatch. The system calls and
// the copies run without the GIL: they touch C++ memory, and Python memory that a reference or a buffer holds still.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "native/bind.hpp"
#include "native/errors.hpp"
#include "native/gil.hpp"
#include "native/packet_batch.hpp"
#include "native/packets.hpp"

namespace py = pybind11;

namespace wintun::python {

std::size_t round_size(std::size_t wanted, std::size_t most, std::size_t bytes, std::size_t largest) {
  const std::size_t fitting = bytes >= most ? 0 : (most - bytes) / std::max<std::size_t>(largest, 1);
  return std::min({wanted, kRound, fitting});
}

void PacketBatch::append(std::span<const Packet> packets, bool more_may_come) {
  std::size_t needed = bytes_.size();
  for (const Packet& packet : packets) needed += packet.size;
  // One allocation for a burst, and nothing unused in a batch of a few packets that somebody keeps.
  if (more_may_come && bytes_.capacity() < needed) needed = std::max(kBatchBytes, needed);
  bytes_.reserve(needed);
  for (const Packet& packet : packets) {
    bytes_.insert(bytes_.end(), packet.data, packet.data + packet.size);
    ends_.push_back(bytes_.size());
  }
}

IoStatus PacketBatch::read(NativeDevice& device, std::size_t limit, PacketBatch& batch) {
  std::array<Packet, kRound> packets;
  std::size_t largest = 0xFFFF;
  std::size_t asked = round_size(limit, kBatchBytes, 0, largest);
  IoStatus status = IoStatus::empty;
  while (asked > 0) {
    std::size_t count = 0;
    status = device.receive_many(std::span(packets).first(asked), count);
    if (status != IoStatus::ok) break;
    const auto received = std::span<const Packet>(packets).first(count);
    batch.append(received, count == asked && count < limit);
    largest = std::max_element(received.begin(), received.end(), [](const Packet& a, const Packet& b) {
                return a.size < b.size;
              })->size;
    device.device().release_many(received);
    if (count < asked) break;
    asked = round_size(limit - batch.size(), kBatchBytes, batch.bytes(), largest);
  }
  return batch.size() > 0 ? IoStatus::ok : status;  // what went wrong after some were read, the next call says
}

namespace {

constexpr std::size_t kDefaultLimit = 256;

// The one argument `limit`, by position or name. False with an exception.
bool parse_limit(const char* function, PyObject* const* arguments, Py_ssize_t count, PyObject* names,
                 std::size_t& limit) {
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  limit = kDefaultLimit;
  if (count + named == 0) return true;
  if (count + named > 1) {
    PyErr_Format(PyExc_TypeError, "%s() takes 1 argument (%zd given)", function, count + named);
    return false;
  }
  if (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "limit") != 0) {
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function,
                 PyTuple_GET_ITEM(names, 0));
    return false;
  }
  if (PyBool_Check(arguments[0]) || !PyIndex_Check(arguments[0])) {
    PyErr_Format(PyExc_TypeError, "limit: a number of packets, not %.100s", Py_TYPE(arguments[0])->tp_name);
    return false;
  }
  const Py_ssize_t number = PyNumber_AsSsize_t(arguments[0], nullptr);  // clips
  if (number == -1 && PyErr_Occurred() != nullptr) return false;
  if (number < 1) {
    PyErr_Format(PyExc_ValueError, "limit: a number of packets from 1 up, not %R", arguments[0]);
    return false;
  }
  limit = static_cast<std::size_t>(number);
  return true;
}

// Appends the packets and gives them back in every case. False with an exception: those not appended are lost.
bool append_all(PyObject* list, NativeDevice& device, std::span<const Packet> packets) {
  bool good = true;
  for (const Packet& packet : packets) {
    PyObject* bytes = PyBytes_FromStringAndSize(reinterpret_cast<const char*>(packet.data), packet.size);
    good = bytes != nullptr && PyList_Append(list, bytes) == 0;
    Py_XDECREF(bytes);
    if (!good) break;
  }
  device.device().release_many(packets);
  return good;
}

PyObject* read_many(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  NativeDevice* device = device_of(self);
  std::size_t limit;
  if (device == nullptr || !parse_limit("read_many", arguments, count, names, limit)) return nullptr;
  std::array<Packet, kRound> packets;
  // The first with the GIL, as read() does: one that finds nothing costs little.
  IoStatus status = device->receive(packets[0]);
  if (status != IoStatus::ok && status != IoStatus::empty) {
    return raise_status(status, errno, "reading from", *device);
  }
  PyObject* list = PyList_New(0);
  std::size_t received = status == IoStatus::ok ? 1 : 0;
  if (list == nullptr && received == 1) device->device().release(packets[0]);
  if (list == nullptr || received == 0) return list;
  std::size_t taken = 0, bytes = 0, asked = 1;
  while (received > 0) {
    std::size_t largest = 0;
    for (std::size_t i = 0; i < received; ++i) {
      bytes += packets[i].size;
      largest = std::max<std::size_t>(largest, packets[i].size);
    }
    if (!append_all(list, *device, std::span<const Packet>(packets).first(received))) {
      Py_DECREF(list);
      return nullptr;
    }
    taken += received;
    if (received < asked) break;
    asked = round_size(limit - taken, kListBytes, bytes, largest);
    received = 0;
    if (asked == 0) break;
    // Without the GIL: the packets are lent to this call, and the caller's frame holds the device.
    Py_BEGIN_ALLOW_THREADS;
    status = device->receive_many(std::span(packets).first(asked), received);
    Py_END_ALLOW_THREADS;
    if (status != IoStatus::ok) break;  // an error comes again at the next call; these packets are good
  }
  deliver_log_lines();
  return list;
}

PyObject* read_batch(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  NativeDevice* device = device_of(self);
  std::size_t limit;
  if (device == nullptr || !parse_limit("read_batch", arguments, count, names, limit)) return nullptr;
  PacketBatch batch;
  IoStatus status = IoStatus::ok;
  bool no_memory = false;
  // Without the GIL: the batch is this call's alone.
  Py_BEGIN_ALLOW_THREADS;
  try {
    status = PacketBatch::read(*device, limit, batch);
  } catch (const std::bad_alloc&) {
    no_memory = true;
  }
  Py_END_ALLOW_THREADS;
  const int error_number = errno;
  deliver_log_lines();
  if (no_memory) return PyErr_NoMemory();
  if (status != IoStatus::ok && status != IoStatus::empty) {
    return raise_status(status, error_number, "reading from", *device);
  }
  return to_python(std::move(batch));
}

// Sends what `spans` name. The caller holds their memory.
PyObject* send(NativeDevice& device, std::span<const std::span<const std::uint8_t>> spans) {
  std::size_t written = 0;
  IoStatus status = IoStatus::ok;
  if (!spans.empty()) {
    // Without the GIL: the memory is held by the caller's buffers, and does not move.
    Py_BEGIN_ALLOW_THREADS;
    status = device.device().write_many(spans, written);
    Py_END_ALLOW_THREADS;
  }
  const int error_number = errno;
  deliver_log_lines();
  if (status != IoStatus::ok && written == 0) return raise_status(status, error_number, "writing to", device);
  return PyLong_FromSize_t(written);
}

PyObject* write_many(PyObject* self, PyObject* packets) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  // A tuple of our own: another thread may change the caller's list meanwhile.
  PyObject* tuple = PySequence_Tuple(packets);
  if (tuple == nullptr) return nullptr;
  const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
  PyObject* answer = nullptr;
  try {
    std::vector<PacketBuffer> buffers;
    std::vector<std::span<const std::uint8_t>> spans;
    buffers.reserve(static_cast<std::size_t>(count));
    spans.reserve(static_cast<std::size_t>(count));
    bool good = true;
    for (Py_ssize_t i = 0; good && i < count; ++i) {
      good = buffers.emplace_back().take(PyTuple_GET_ITEM(tuple, i));
      if (good) good = !spans.emplace_back(buffers.back().packet(*device)).empty();
    }
    if (good) answer = send(*device, spans);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  Py_DECREF(tuple);
  return answer;
}

PyTypeObject* batch_type = nullptr;  // the module's, for good

PacketBatch* batch_of(PyObject* self) {
  return static_cast<PacketBatch*>(reinterpret_cast<py::detail::instance*>(self)->simple_value_holder[0]);
}

PyObject* write_batch(PyObject* self, PyObject* object) {
  NativeDevice* device = device_of(self);
  if (device == nullptr) return nullptr;
  if (Py_TYPE(object) != batch_type || batch_of(object) == nullptr) {
    return PyErr_Format(PyExc_TypeError, "write_batch(): a PacketBatch, not %.100s; write_many() takes any packets",
                        Py_TYPE(object)->tp_name);
  }
  const PacketBatch& batch = *batch_of(object);
  try {
    std::vector<std::span<const std::uint8_t>> spans(batch.size());
    for (std::size_t i = 0; i < spans.size(); ++i) spans[i] = batch[i];
    return send(*device, spans);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyMethodDef methods[] = {
    {"read_many", raw(&read_many), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "read_many($self, /, limit=256)\n--\n\n"
         "The packets that are there now, in order: at most `limit` of them, and no more than about 64 KiB. Empty\n"
         "when there is none. Never waits.\n\n"
         "Raises:\n"
         "    ValueError: a limit below 1.\n"
         "    OSError: as `read()`.")},
    {"read_batch", raw(&read_batch), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "read_batch($self, /, limit=256)\n--\n\n"
         "As `read_many()`, in a `PacketBatch`: the packets stay in native memory until one is looked at, and can\n"
         "go to `write_batch()` untouched. About 256 KiB at most.")},
    {"write_many", raw(&write_many), METH_O,
     PyDoc_STR("write_many($self, packets, /)\n--\n\n"
               "Send packets in order. How many were sent: fewer than given when there was no room for more. Never\n"
               "waits.\n\n"
               "Raises:\n"
               "    BlockingIOError: no room for the first.\n"
               "    ValueError: as `write()`, for any of them, before one is sent.\n"
               "    OSError: as `read()`.")},
    {"write_batch", raw(&write_batch), METH_O,
     PyDoc_STR("write_batch($self, batch, /)\n--\n\n"
               "Send a `PacketBatch`. How many packets were sent, and errors, as `write_many()`.")},
    {nullptr, nullptr, 0, nullptr},
};

// ---- PacketBatch as a sequence of memoryviews ----

// The protocol has no way to ask an object for *one* of several buffers, so the index waits in `exported` while the
// view is made: PyMemoryView_FromObject calls export_packet at once, under the GIL.
int export_packet(PyObject* self, Py_buffer* view, int flags) {
  const PacketBatch* batch = batch_of(self);
  if (batch == nullptr || batch->exported < 0) {
    view->obj = nullptr;
    PyErr_SetString(PyExc_BufferError, "a PacketBatch is a sequence of packets; take one of them");
    return -1;
  }
  const auto packet = (*batch)[static_cast<std::size_t>(batch->exported)];
  return PyBuffer_FillInfo(view, self, const_cast<std::uint8_t*>(packet.data()),
                           static_cast<Py_ssize_t>(packet.size()), 1, flags);
}

Py_ssize_t batch_length(PyObject* self) {
  const PacketBatch* batch = batch_of(self);
  return batch == nullptr ? 0 : static_cast<Py_ssize_t>(batch->size());
}

PyObject* batch_item(PyObject* self, Py_ssize_t index) {
  PacketBatch* batch = batch_of(self);
  if (index < 0 || index >= batch_length(self)) {
    PyErr_SetString(PyExc_IndexError, "packet index out of range");
    return nullptr;
  }
  batch->exported = index;
  PyObject* view = PyMemoryView_FromObject(self);
  batch->exported = -1;
  return view;
}

PyObject* batch_subscript(PyObject* self, PyObject* key) {
  const Py_ssize_t length = batch_length(self);
  if (PySlice_Check(key)) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step) != 0) return nullptr;
    const Py_ssize_t count = PySlice_AdjustIndices(length, &start, &stop, step);
    PyObject* list = PyList_New(count);
    for (Py_ssize_t i = 0; list != nullptr && i < count; ++i) {
      PyObject* view = batch_item(self, start + i * step);
      if (view == nullptr) {
        Py_CLEAR(list);
      } else {
        PyList_SET_ITEM(list, i, view);
      }
    }
    return list;
  }
  if (!PyIndex_Check(key)) {
    return PyErr_Format(PyExc_TypeError, "packet indices are integers or slices, not %.100s", Py_TYPE(key)->tp_name);
  }
  const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred() != nullptr) return nullptr;
  return batch_item(self, index < 0 ? index + length : index);
}

void set_up_batch_type(PyHeapTypeObject* heap) {
  heap->as_buffer.bf_getbuffer = &export_packet;
  heap->as_sequence.sq_length = &batch_length;
  heap->as_sequence.sq_item = &batch_item;
  heap->as_mapping.mp_length = &batch_length;
  heap->as_mapping.mp_subscript = &batch_subscript;
  heap->ht_type.tp_as_buffer = &heap->as_buffer;
  heap->ht_type.tp_as_sequence = &heap->as_sequence;
  heap->ht_type.tp_as_mapping = &heap->as_mapping;
  heap->ht_type.tp_iter = &PySeqIter_New;
  heap->ht_type.tp_new = &refuse_new;
}

py::list to_list(const PacketBatch& batch) {
  py::list list;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    list.append(py::bytes(reinterpret_cast<const char*>(batch[i].data()), batch[i].size()));
  }
  return list;
}

}  // namespace

PyObject* to_python(PacketBatch&& batch) {
  try {
    return py::cast(std::make_unique<PacketBatch>(std::move(batch))).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

void bind_batches(py::module_& module, DeviceClass& device) {
  py::class_<PacketBatch> batch(module, "PacketBatch",
                                "A burst of packets in native memory, in order: a sequence of read-only memoryviews\n"
                                "(one dimension, one byte an item). Made by `read_batch()`; it does not change, and\n"
                                "lives on after its device. A view keeps its batch alive.",
                                py::is_final(), py::custom_type_setup(&set_up_batch_type));
  batch_type = reinterpret_cast<PyTypeObject*>(batch.ptr());
  batch.def_property_readonly("nbytes", &PacketBatch::bytes, "The bytes of all its packets.")
      .def("tolist", &to_list, "The packets as a list of bytes.")
      .def("_repr_html_",
           [](const py::object& self) {
             return py::module_::import("wintun._html").attr("batch")(self);  // imported only where a notebook asks
           })
      .def("__repr__", [](const PacketBatch& self) {
        return "<wintun.PacketBatch of " + std::to_string(self.size()) + " packets, " + std::to_string(self.bytes()) +
               " bytes>";
      });
  add_raw_methods(device, methods);
}

}  // namespace wintun::python
