// receive(): the packet in the ring itself, lent as a memoryview for the length of a `with`. Views of it that live on
// keep it lent, so their memory stays good; while any packet is lent the device cannot go up again after a down().
// All of it with the GIL held.
#include <pybind11/pybind11.h>

#include <cerrno>
#include <memory>

#include "native/bind.hpp"
#include "native/errors.hpp"
#include "native/logging.hpp"

namespace py = pybind11;

namespace wintun::python {
namespace {

class LentPacket {
 public:
  explicit LentPacket(std::shared_ptr<NativeDevice> device) : device_(std::move(device)) {}
  ~LentPacket() { give_back(); }
  LentPacket(const LentPacket&) = delete;
  LentPacket& operator=(const LentPacket&) = delete;

  NativeDevice& device() { return *device_; }
  bool inside() const { return inside_; }

  IoStatus enter() {
    const IoStatus status = device_->receive(packet_);
    lent_ = status == IoStatus::ok;
    inside_ = lent_ || status == IoStatus::empty;
    return status;
  }

  void leave() {
    inside_ = false;
    if (exports_ == 0) give_back();
  }

  bool lent() const { return lent_; }
  const Packet& packet() const { return packet_; }
  void exported() { ++exports_; }
  void unexported() {
    if (--exports_ == 0 && !inside_) give_back();
  }

  // Weak: the view holds this object, and both would live for ever.
  py::object view;

 private:
  void give_back() {
    if (!lent_) return;
    lent_ = false;
    device_->device().release(packet_);
  }

  std::shared_ptr<NativeDevice> device_;
  Packet packet_;
  bool lent_ = false;
  bool inside_ = false;  // between __enter__ and __exit__
  std::size_t exports_ = 0;
};

LentPacket* lent_of(PyObject* self) {
  return static_cast<LentPacket*>(reinterpret_cast<py::detail::instance*>(self)->simple_value_holder[0]);
}

int export_lent(PyObject* self, Py_buffer* view, int flags) {
  LentPacket* lent = lent_of(self);
  if (lent == nullptr || !lent->lent() || !lent->inside()) {
    view->obj = nullptr;
    PyErr_SetString(PyExc_BufferError, "no packet is lent; use `with device.receive() as packet:`");
    return -1;
  }
  const Packet& packet = lent->packet();
  if (PyBuffer_FillInfo(view, self, packet.data, static_cast<Py_ssize_t>(packet.size), 1, flags) != 0) return -1;
  lent->exported();
  return 0;
}

void unexport_lent(PyObject* self, Py_buffer*) { lent_of(self)->unexported(); }

void set_up_lent_type(PyHeapTypeObject* heap) {
  heap->as_buffer.bf_getbuffer = &export_lent;
  heap->as_buffer.bf_releasebuffer = &unexport_lent;
  heap->ht_type.tp_as_buffer = &heap->as_buffer;
  heap->ht_type.tp_new = &refuse_new;
}

py::object enter(py::object self) {
  auto& lent = self.cast<LentPacket&>();
  if (lent.inside()) throw std::invalid_argument("receive(): this packet is lent already; call receive() again");
  errno = 0;
  const IoStatus status = lent.enter();
  const int error_number = errno;
  deliver_log_lines();
  if (status == IoStatus::empty) return py::none();
  if (status != IoStatus::ok) {
    raise_status(status, error_number, "reading from", lent.device());
    throw py::error_already_set();
  }
  auto view = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(self.ptr()));
  if (!view) {
    lent.leave();
    throw py::error_already_set();
  }
  lent.view = py::reinterpret_steal<py::object>(PyWeakref_NewRef(view.ptr(), nullptr));
  return view;
}

void leave(LentPacket& lent, const py::args&) {
  const py::object reference = std::move(lent.view);
  if (reference) {
    // The caller's view is over. Others that were made of it are not, and release() says so by a BufferError.
    const py::object view = reference();
    if (!view.is_none()) {
      try {
        view.attr("release")();
      } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_BufferError)) throw;
      }
    }
  }
  lent.leave();
  deliver_log_lines();
}

}  // namespace

void bind_lending(py::module_& module, DeviceClass& device) {
  py::class_<LentPacket>(module, "LentPacket", "What receive() gives: a context manager.", py::is_final(),
                         py::custom_type_setup(&set_up_lent_type))
      .def("__enter__", &enter)
      .def("__exit__", &leave);
  device.def(
      "receive", [](const Self& self) { return std::make_unique<LentPacket>(self.device); },
      "`with device.receive() as packet:` lends one packet in the ring as a read-only memoryview, without a\n"
      "copy, or None when there is none now. After the block the view is over and the packet goes back.\n"
      "Be quick: what is behind it in the ring waits for its room.\n\n"
      "Raises:\n"
      "    OSError: as `read()`, when the block is entered.");
}

}  // namespace wintun::python
