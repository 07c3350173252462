// wintun._native: the table of contents. Each bind_*.cpp binds one subject; the Python layer above is device.py.
#include <pybind11/pybind11.h>

#include "native/bind.hpp"
#include "native/errors.hpp"
#include "native/handles.hpp"
#include "native/stack.hpp"

namespace wintun::python {

void add_raw_methods(pybind11::handle type, PyMethodDef* methods) {
  for (PyMethodDef* method = methods; method->ml_name != nullptr; ++method) {
    auto descriptor = pybind11::reinterpret_steal<pybind11::object>(
        PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), method));
    if (!descriptor) throw pybind11::error_already_set();
    pybind11::setattr(type, method->ml_name, descriptor);
  }
}

}  // namespace wintun::python

PYBIND11_MODULE(_native, module) {
  using namespace wintun::python;
  module.doc() = "The compiled part of wintun. Use the package `wintun`, not this module.";
  module.attr("__version__") = WINTUN_VERSION;
  prepare_handles();
  bind_errors();
  bind_logging(module);
  bind_waiting(module);
  auto device = bind_device(module);
  bind_packets(device);
  bind_lending(module, device);
  bind_batches(module, device);
  bind_readers(module, device);
  bind_stack(module);
}
