// Working without the GIL. Never by a guard object: at exit, Python up to 3.13 ends a daemon thread inside
// PyEval_RestoreThread by pthread_exit, which unwinds its stack; a destructor is noexcept, and unwinding out of one
// aborts the process. So the GIL comes back in plain functions, with nothing noexcept and no catch (...) above it.
#pragma once

#include <Python.h>

#include <exception>

#include "native/logging.hpp"

namespace wintun::python {

// For control operations. Safe for any `work` that touches no Python object: the caller's arguments are C++ values,
// and the frame that called us holds the device.
template <class Work>
void without_gil(Work&& work) {
  std::exception_ptr error;
  Py_BEGIN_ALLOW_THREADS;
  try {
    work();
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  Py_END_ALLOW_THREADS;
  deliver_log_lines();
  if (error) std::rethrow_exception(error);
}

// Copies longer than this are made without the GIL: below, giving it up and taking it back costs more.
inline constexpr std::size_t kLongCopy = 16384;

}  // namespace wintun::python
