// Log lines (see logging.hpp) and the driver's version. The queue may be filled by any thread without the GIL; it is
// emptied by a thread that holds it. Neighbours: session/log.hpp below, _logging.py above.
#include <pybind11/pybind11.h>

#include <deque>
#include <mutex>
#include <string>
#include <string_view>

#include "native/bind.hpp"
#include "native/gil.hpp"
#include "native/logging.hpp"
#include "session/library.hpp"
#include "session/log.hpp"

namespace py = pybind11;

namespace wintun::python {

std::atomic<bool> log_lines_waiting{false};

namespace {

struct Line {
  int level;
  std::uint64_t ticks;
  std::string text;
};

constexpr std::size_t kMostLines = 4096;

std::mutex lines_mutex;  // held for a few instructions, never while Python runs
std::deque<Line> lines;
PyObject* sink = nullptr;  // owned; set and read with the GIL held
thread_local bool delivering = false;

int deliver_pending(void*) {
  deliver_log_lines();
  return 0;
}

void take_line(LogLevel level, std::uint64_t ticks, std::string_view text) {
  const std::lock_guard lock(lines_mutex);
  if (lines.size() >= kMostLines) return;  // nobody has come back to Python for long: the newest are lost
  lines.push_back({static_cast<int>(level), ticks, std::string(text)});
  if (!log_lines_waiting.exchange(true, std::memory_order_relaxed)) {
    // For a line of a thread that never comes back to us: the main thread looks after it.
    Py_AddPendingCall(&deliver_pending, nullptr);
  }
}

bool next_line(Line& line) {
  const std::lock_guard lock(lines_mutex);
  if (lines.empty()) {
    log_lines_waiting.store(false, std::memory_order_relaxed);
    return false;
  }
  line = std::move(lines.front());
  lines.pop_front();
  return true;
}

PyObject* call_and_report(PyObject* callable, PyObject* arguments) {
  PyObject* answer = PyObject_CallObject(callable, arguments);
  if (answer == nullptr) PyErr_WriteUnraisable(callable);
  Py_XDECREF(answer);
  return answer;
}

void set_sink(const py::object& callable) {
  PyObject* before = sink;
  sink = callable.is_none() ? nullptr : callable.inc_ref().ptr();
  Py_XDECREF(before);
  set_logger(sink == nullptr ? Logger() : Logger(&take_line));
}

}  // namespace

void deliver_waiting_log_lines() {
  if (delivering) return;  // the callback called us: the loop below is not done yet
  delivering = true;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  for (Line line; next_line(line);) {
    if (sink == nullptr) continue;
    PyObject* callable = sink;
    Py_INCREF(callable);
    PyObject* text = PyUnicode_DecodeUTF8(line.text.data(), static_cast<Py_ssize_t>(line.text.size()), "replace");
    PyObject* arguments = text == nullptr
                              ? nullptr
                              : Py_BuildValue("(iKN)", line.level, static_cast<unsigned long long>(line.ticks), text);
    if (arguments == nullptr) {
      PyErr_WriteUnraisable(callable);
    } else {
      call_and_report(callable, arguments);
      Py_DECREF(arguments);
    }
    Py_DECREF(callable);
  }
  PyErr_Restore(type, value, traceback);
  delivering = false;
}

void bind_logging(py::module_& module) {
  module.def("set_log_sink", &set_sink, py::arg("sink"),
             "Where every log line goes: sink(level, ticks, text). None: nowhere. Kept alive until it is replaced.");
  module.def(
      "call_and_report",
      [](const py::function& callable, const py::args& arguments) {
        call_and_report(callable.ptr(), arguments.ptr());
      },
      "Call, and give what it raises to sys.unraisablehook.");
  module.def(
      "log",
      [](int level, const std::string& text) { without_gil([&] { log(static_cast<LogLevel>(level), text); }); },
      py::arg("level"), py::arg("text"), "A log line of the package's own, level 0 to 2.");
  module.def(
      "get_driver_version",
      [] {
        std::uint32_t version = 0;
        without_gil([&] { version = Library::linked()->driver_version(); });
        return version;
      },
      "The version of the running driver, major << 16 | minor. FileNotFoundError: there is no driver.");
}

}  // namespace wintun::python
