// Embedded devices as a family of drivers (dll/adapter.hpp).
#pragma once

#include <memory>
#include <string>

#include "adapter.hpp"
#include "driver/embedded/device.hpp"

namespace wintun {

struct EmbeddedBackend {
  using DriverType = EmbeddedDevice;
  static std::string interface_name(const std::string& name) { return name; }
  static std::unique_ptr<EmbeddedDevice> make(const std::string& name, bool exclusive) {
    return std::make_unique<EmbeddedDevice>(name, exclusive);
  }
  static bool is_present() { return true; }
};
static_assert(Backend<EmbeddedBackend>);

}  // namespace wintun
