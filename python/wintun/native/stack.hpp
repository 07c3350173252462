// Where a device's settings are: in the operating system's interface, or in the stack of an embedded device. Cold.
// stack_embedded.cpp, or stack_absent.cpp in a build without the embedded driver (WINTUN_EMBEDDED).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/native_device.hpp"
#include "platform/interface.hpp"
#include "session/library.hpp"

namespace wintun::python {

// What platform/interface.hpp has, of either kind. Without the GIL; throws std::system_error.
class Settings {
 public:
  virtual ~Settings() = default;
  virtual std::string name() const = 0;
  virtual std::uint32_t mtu() const = 0;
  virtual void set_mtu(std::uint32_t bytes) const = 0;
  virtual std::vector<IpAddress> addresses() const = 0;
  virtual void add_address(const IpAddress& address) const = 0;
  virtual void remove_address(const IpAddress& address) const = 0;
};

class InterfaceSettings : public Settings {
 public:
  explicit InterfaceSettings(Interface interface) : interface_(std::move(interface)) {}
  std::string name() const override { return interface_.name(); }
  std::uint32_t mtu() const override { return interface_.mtu(); }
  void set_mtu(std::uint32_t bytes) const override { interface_.set_mtu(bytes); }
  std::vector<IpAddress> addresses() const override { return interface_.addresses(); }
  void add_address(const IpAddress& address) const override { interface_.add_address(address); }
  void remove_address(const IpAddress& address) const override { interface_.remove_address(address); }

 private:
  Interface interface_;
};

// std::system_error: EBADF after close().
std::unique_ptr<Settings> settings_of(NativeDevice& device);

// What only a stack counts, added to a device's statistics.
void add_stack_statistics(NativeDevice& device, pybind11::dict& answer);

// The library for DeviceOptions. std::system_error(EOPNOTSUPP) in a build without it.
std::shared_ptr<const Library> library_of_embedded_devices();

// The sockets of the stack, for _stack.py.
void bind_stack(pybind11::module_& module);

}  // namespace wintun::python
