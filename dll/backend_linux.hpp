// The kernel's TUN interfaces as a family of drivers (adapter.hpp).
#pragma once

#include <memory>
#include <string>

#include "adapter.hpp"
#include "driver/linux/device.hpp"
#include "driver/linux/interface_name.hpp"

namespace wintun {

struct LinuxBackend {
  using DriverType = LinuxDevice;
  static std::string interface_name(const std::string& name) { return interface_name_for(name); }
  static std::unique_ptr<LinuxDevice> make(const std::string& name, bool exclusive) {
    return std::make_unique<LinuxDevice>(name, exclusive);
  }
  static bool is_present() { return LinuxDevice::is_present(); }
};
static_assert(Backend<LinuxBackend>);

}  // namespace wintun
