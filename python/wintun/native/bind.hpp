// What module.cpp puts together, one function a subject, and how a raw C function becomes a method of a bound type:
// it saves 150 to 190 ns a call against pybind11's dispatcher, and may wait without the GIL (gil.hpp).
// All of it with the GIL held, while the module is imported.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <stdexcept>

#include "native/native_device.hpp"

namespace wintun::python {

using DeviceClass = pybind11::class_<NativeDevice, std::shared_ptr<NativeDevice>>;

void bind_logging(pybind11::module_& module);
void bind_waiting(pybind11::module_& module);
DeviceClass bind_device(pybind11::module_& module);
void bind_packets(DeviceClass& device);
void bind_lending(pybind11::module_& module, DeviceClass& device);
void bind_batches(pybind11::module_& module, DeviceClass& device);
void bind_readers(pybind11::module_& module, DeviceClass& device);

// `methods` ends with a null name, and outlives the interpreter.
void add_raw_methods(pybind11::handle type, PyMethodDef* methods);

template <class Function>
PyCFunction raw(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// The device behind `self`, whose type the method descriptor has checked; null with RuntimeError when its __init__
// never ran. This is what pybind11's own caster does for an instance without multiple inheritance.
inline NativeDevice* device_of(PyObject* self) {
  auto* instance = reinterpret_cast<pybind11::detail::instance*>(self);
  void* value = instance->simple_layout ? instance->simple_value_holder[0] : nullptr;
  if (value == nullptr) [[unlikely]] {
    PyErr_SetString(PyExc_RuntimeError, "TunDevice.__init__ has not run, or has failed");
  }
  return static_cast<NativeDevice*>(value);
}

// The device as an argument of what pybind11 calls. Its own caster would hand out raw memory for an object whose
// __init__ never ran or failed; this one raises RuntimeError.
struct Self {
  std::shared_ptr<NativeDevice> device;
  NativeDevice& operator*() const { return *device; }
  NativeDevice* operator->() const { return device.get(); }
};

// Objects that only C++ makes: their types refuse __new__, for the same reason.
inline PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  return PyErr_Format(PyExc_TypeError, "%.100s objects are made by a TunDevice only", type->tp_name);
}

}  // namespace wintun::python

template <>
struct pybind11::detail::type_caster<wintun::python::Self> {
  PYBIND11_TYPE_CASTER(wintun::python::Self, const_name("Device"));

  bool load(handle source, bool) {
    if (!isinstance<wintun::python::NativeDevice>(source)) return false;
    auto* object = reinterpret_cast<instance*>(source.ptr());
    const auto found = object->get_value_and_holder(get_type_info(typeid(wintun::python::NativeDevice)));
    if (!found.holder_constructed()) throw std::runtime_error("TunDevice.__init__ has not run, or has failed");
    value.device = found.holder<std::shared_ptr<wintun::python::NativeDevice>>();
    return true;
  }
};
