// See waiting.hpp.
#include <pybind11/pybind11.h>

#include <chrono>
#include <cmath>

#include "native/bind.hpp"
#include "native/logging.hpp"
#include "native/waiting.hpp"

namespace py = pybind11;

namespace wintun::python {
namespace {

// A signal that comes after Python looked for one and before the thread sleeps interrupts nothing, and another thread
// may take it. So the main thread sleeps in slices, and Ctrl-C is late by one of them at the worst.
constexpr std::chrono::milliseconds kSlice{100};

unsigned long main_thread = 0;  // with the GIL

}  // namespace

bool on_main_thread() { return PyThread_get_thread_ident() == main_thread; }

Deadline slice_end(const Deadline& deadline, bool main) {
  if (!main) return deadline;
  const auto end = std::chrono::steady_clock::now() + kSlice;
  return deadline && *deadline <= end ? deadline : Deadline(end);
}

bool deadline_of(PyObject* timeout, Deadline& deadline) {
  deadline.reset();
  if (timeout == Py_None) return true;
  if (PyBool_Check(timeout)) {
    PyErr_SetString(PyExc_TypeError, "timeout: a number of seconds or None, not bool");
    return false;
  }
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
      PyErr_Format(PyExc_TypeError, "timeout: a number of seconds or None, not %.100s", Py_TYPE(timeout)->tp_name);
    } else if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
      PyErr_SetString(PyExc_ValueError, "timeout: the number of seconds is too large; None waits without end");
    }
    return false;
  }
  if (std::isnan(seconds) || seconds < 0) {
    PyErr_Format(PyExc_ValueError, "timeout: a number of seconds from 0 up or None, not %R", timeout);
    return false;
  }
  constexpr double kForever = 1e9;  // 30 years; the clock's 64 bits hold 290
  if (seconds > kForever) return true;
  deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
  return true;
}

IoStatus wait_for_packet(NativeDevice& device, const Deadline& deadline, std::uint64_t cancels) {
  const bool main = on_main_thread();
  for (;;) {
    const Deadline slice = slice_end(deadline, main);
    IoStatus status;
    // Without the GIL: `device` is held by the caller's frame, and close() wakes and waits for whoever is inside it.
    Py_BEGIN_ALLOW_THREADS;
    status = device.wait(slice);
    Py_END_ALLOW_THREADS;
    deliver_log_lines();
    const bool slice_over = status == IoStatus::timed_out && slice != deadline;
    if (status != IoStatus::interrupted && !slice_over) return status;
    if (PyErr_CheckSignals() < 0) return IoStatus::interrupted;
    if (device.cancels() != cancels) return IoStatus::cancelled;
  }
}

void bind_waiting(py::module_& module) {
  module.def(
      "note_main_thread", [](unsigned long ident) { main_thread = ident; }, py::arg("ident"),
      "The thread that runs signal handlers, as threading.main_thread().ident gives it.");
}

}  // namespace wintun::python
