// start_reader(): a thread of Python's own making (PyThread_start_new_thread, whose frames a thread that is ended at
// exit may be unwound through) which waits for packets without the GIL and calls back with it. It holds the native
// device and not its Python object, so a device that is forgotten is closed, and its reader ends.
// An atexit function stops all readers, since after it no thread can get the GIL any more.
#include <pybind11/pybind11.h>

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "native/bind.hpp"
#include "native/gil.hpp"
#include "native/handles.hpp"
#include "native/packet_batch.hpp"
#include "native/packets.hpp"
#include "native/reader_thread.hpp"
#include "native/waiting.hpp"
#include "session/log.hpp"

namespace py = pybind11;

namespace wintun::python {

ReaderThread::ReaderThread(std::shared_ptr<NativeDevice> device, PyObject* callback, bool batch)
    : device_(std::move(device)), callback_(callback), batch_(batch) {
  Py_INCREF(callback_);
}

ReaderThread::~ReaderThread() { Py_XDECREF(callback_); }

bool ReaderThread::start(const std::shared_ptr<ReaderThread>& reader) {
  auto* argument = new std::shared_ptr<ReaderThread>(reader);
  if (PyThread_start_new_thread(&run, argument) != PYTHREAD_INVALID_THREAD_ID) return true;
  delete argument;
  return false;
}

void ReaderThread::run(void* argument) {
  auto* mine = static_cast<std::shared_ptr<ReaderThread>*>(argument);
  const PyGILState_STATE state = PyGILState_Ensure();
  ReaderThread& reader = **mine;
  reader.ident_.store(PyThread_get_thread_ident());
  reader.loop();
  reader.finish();
  delete mine;  // with the GIL: it may be the last reference to the callback
  PyGILState_Release(state);
}

void ReaderThread::loop() {
  while (!stopping_.load()) {
    Next next;
    // Without the GIL: nothing of Python is touched in there. Also when packets never cease, so that the other
    // threads get their turn.
    Py_BEGIN_ALLOW_THREADS;
    next = wait_for_work();
    Py_END_ALLOW_THREADS;
    deliver_log_lines();
    if (next == Next::end) return;
    if (next == Next::packets && !(batch_ ? call_for_batch() : call_for_packets())) {
      // Down, closed, or gone. wait_for_work() says which; a reader of a device that is down waits for up().
      continue;
    }
  }
}

ReaderThread::Next ReaderThread::wait_for_work() {
  wake_.reset();
  if (stopping_.load() || device_->is_closed()) return Next::end;
  WaitHandle handle = kNoWaitHandle;
  try {
    handle = device_->duplicate_wait_handle();
  } catch (const std::exception& error) {
    log(LogLevel::error, std::string("the reader of '") + device_->name() + "' ends: " + error.what());
    return Next::end;
  }
  const std::array<WaitHandle, 2> handles{wake_.handle(), handle};
  const bool up = handle != kNoWaitHandle;
  // Whoever ends the session wakes us by wake_, and makes the copy of the handle readable besides.
  const WaitStatus status = wait_any(std::span(handles).first(up ? 2 : 1), std::nullopt);
  if (up) close_handle(handle);
  if (status == WaitStatus::failed) {
    log(LogLevel::error, "the reader of '" + device_->name() + "' ends: waiting failed");
    return Next::end;
  }
  return up ? Next::packets : Next::nothing;
}

bool ReaderThread::call_for_packets() {
  for (std::size_t i = 0; i < kRound && !stopping_.load(); ++i) {
    Packet packet;
    const IoStatus status = device_->receive(packet);
    if (status == IoStatus::empty) return true;
    if (status == IoStatus::ended || status == IoStatus::corrupt || status == IoStatus::failed) {
      log(LogLevel::error, "the reader of '" + device_->name() + "' ends: its interface is gone");
      stopping_.store(true);
    }
    if (status != IoStatus::ok) return false;
    PyObject* bytes = bytes_of(packet);
    device_->device().release(packet);
    call(bytes);
  }
  return true;
}

bool ReaderThread::call_for_batch() {
  PacketBatch batch;
  IoStatus status = IoStatus::failed;
  // Without the GIL: the batch is this call's alone.
  Py_BEGIN_ALLOW_THREADS;
  try {
    status = PacketBatch::read(*device_, 256, batch);
  } catch (const std::bad_alloc&) {
    status = IoStatus::failed;
  }
  Py_END_ALLOW_THREADS;
  if (status == IoStatus::ended || status == IoStatus::corrupt || status == IoStatus::failed) {
    log(LogLevel::error, "the reader of '" + device_->name() + "' ends: its interface is gone");
    stopping_.store(true);
  }
  if (status == IoStatus::empty) return true;
  if (status != IoStatus::ok) return false;
  call(to_python(std::move(batch)));
  return true;
}

void ReaderThread::call(PyObject* argument) {
  PyObject* answer = argument == nullptr ? nullptr : PyObject_CallFunctionObjArgs(callback_, argument, nullptr);
  if (answer == nullptr) PyErr_WriteUnraisable(callback_);
  Py_XDECREF(answer);
  Py_XDECREF(argument);
}

void ReaderThread::finish() {
  deliver_log_lines();
  Py_CLEAR(callback_);  // it may hold what holds the Reader, which the collector cannot see through
  const std::lock_guard lock(mutex_);
  done_.store(true, std::memory_order_release);
  finished_.notify_all();
}

bool ReaderThread::wait_until_done(const Deadline& deadline) {
  std::unique_lock lock(mutex_);
  const auto is_done = [this] { return done(); };
  if (deadline) return finished_.wait_until(lock, *deadline, is_done);
  finished_.wait(lock, is_done);
  return true;
}

void ReaderThread::abandon() {
  stopping_.store(true);
  done_.store(true, std::memory_order_release);
}

namespace {

std::vector<std::weak_ptr<ReaderThread>> all_readers;  // with the GIL

std::vector<std::shared_ptr<ReaderThread>> living_readers() {
  std::vector<std::shared_ptr<ReaderThread>> living;
  for (const auto& weak : all_readers) {
    if (auto reader = weak.lock()) living.push_back(std::move(reader));
  }
  return living;
}

// What Python holds. The device's object too, so that it stays open while its reader is held.
struct Reader {
  std::shared_ptr<ReaderThread> thread;
  py::object device;
};

Reader start_reader(const py::object& device, const py::object& callback, bool batch) {
  if (PyCallable_Check(callback.ptr()) == 0) throw py::type_error("start_reader(): the callback must be callable");
  const auto native = device.cast<Self>().device;
  if (native->is_closed()) {
    throw std::system_error(EBADF, std::generic_category(),
                            "starting a reader of '" + native->name() + "': the device is closed");
  }
  auto thread = std::make_shared<ReaderThread>(native, callback.ptr(), batch);
  native->add_reader(thread);
  std::erase_if(all_readers, [](const auto& other) { return other.expired(); });
  all_readers.push_back(thread);
  if (!ReaderThread::start(thread)) {
    thread->abandon();
    throw std::system_error(EAGAIN, std::generic_category(),
                            "starting a reader of '" + native->name() + "': no thread could be started");
  }
  return {std::move(thread), device};
}

void stop(Reader& reader) {
  ReaderThread& thread = *reader.thread;
  thread.request_stop();
  if (thread.is_this_thread()) return;  // from the callback: it is the last one
  const bool main = on_main_thread();
  while (!thread.done()) {
    // Without the GIL: the thread may need it for a callback that is running.
    without_gil([&] { (void)thread.wait_until_done(slice_end(std::nullopt, main)); });
    if (PyErr_CheckSignals() < 0) throw py::error_already_set();
  }
}

void stop_all_readers(double seconds) {
  const auto living = living_readers();
  for (const auto& reader : living) reader->request_stop();
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  for (const auto& reader : living) {
    if (reader->is_this_thread()) continue;
    // Not for ever: a callback that never returns must not keep the process. Its thread is then ended by Python.
    without_gil([&] { (void)reader->wait_until_done(deadline); });
  }
}

}  // namespace

void bind_readers(py::module_& module, DeviceClass& device) {
  py::class_<Reader>(
      module, "Reader",
      "A native thread that calls back for every packet; made by `start_reader()`. It waits while its\n"
      "device is down, and ends when the device is closed.",
      py::is_final(), py::custom_type_setup([](PyHeapTypeObject* heap) { heap->ht_type.tp_new = &refuse_new; }))
      .def("stop", &stop,
           "Stop, and return when the thread is out: no callback runs after that. From the callback itself it "
           "returns\n"
           "at once, and that callback is the last. Packets that were not called back for stay readable.")
      .def_property_readonly(
          "running", [](const Reader& self) { return !self.thread->done(); }, "Whether the thread lives.")
      .def("__enter__", [](const py::object& self) { return self; })
      .def("__exit__", [](Reader& self, const py::args&) { stop(self); })
      .def("__repr__", [](const Reader& self) {
        return std::string("<wintun.Reader, ") + (self.thread->done() ? "stopped" : "running") + ">";
      });
  device.def(
      "start_reader", &start_reader, py::arg("callback"), py::arg("batch") = false,
      "Call back for every packet, as bytes, or with `batch=True` for every burst, as a `PacketBatch`, from a\n"
      "native thread that waits without the GIL. What the callback raises goes to `sys.unraisablehook`, and the\n"
      "reader goes on. May be started before `up()`. Keep the `Reader`, or the device.\n\n"
      "Raises:\n"
      "    TypeError: the callback cannot be called.\n"
      "    OSError: EBADF (closed), EAGAIN (no thread could be started).");
  module.def("stop_all_readers", &stop_all_readers, py::arg("seconds"), "At exit.");
  module.def(
      "forked",
      [] {
        NativeDevice::forked();
        for (const auto& reader : living_readers()) reader->abandon();
        all_readers.clear();
      },
      "In the child of a fork: the threads stayed in the parent, and the devices are the parent's.");
}

}  // namespace wintun::python
