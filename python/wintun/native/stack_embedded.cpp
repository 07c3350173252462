// See stack.hpp: an embedded device's settings. Its sockets are bound in bind_stack.cpp.
#include <utility>

#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/library.hpp"
#include "native/stack.hpp"

namespace wintun::python {
namespace {

class EndpointSettings : public Settings {
 public:
  explicit EndpointSettings(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}
  std::string name() const override { return endpoint_->name(); }
  std::uint32_t mtu() const override { return endpoint_->mtu(); }
  void set_mtu(std::uint32_t bytes) const override { endpoint_->set_mtu(bytes); }
  std::vector<IpAddress> addresses() const override { return endpoint_->addresses(); }
  void add_address(const IpAddress& address) const override { endpoint_->add_address(address); }
  void remove_address(const IpAddress& address) const override { endpoint_->remove_address(address); }

 private:
  std::shared_ptr<Endpoint> endpoint_;
};

}  // namespace

std::unique_ptr<Settings> settings_of(NativeDevice& device) {
  if (!device.device().is_closed()) {
    if (auto endpoint = Endpoint::find(device.device().index())) {
      return std::make_unique<EndpointSettings>(std::move(endpoint));
    }
  }
  return std::make_unique<InterfaceSettings>(device.device().interface());
}

void add_stack_statistics(NativeDevice& device, pybind11::dict& answer) {
  if (device.device().is_closed()) return;
  if (const auto endpoint = Endpoint::find(device.device().index())) {
    answer["acknowledgements_left_out"] = endpoint->acknowledgements_left_out.load();
  }
}

std::shared_ptr<const Library> library_of_embedded_devices() { return embedded_library(); }

}  // namespace wintun::python
