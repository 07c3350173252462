// See stack.hpp: this build has no embedded driver.
#include <cerrno>
#include <system_error>

#include "native/stack.hpp"

namespace wintun::python {

std::unique_ptr<Settings> settings_of(NativeDevice& device) {
  return std::make_unique<InterfaceSettings>(device.device().interface());
}

void add_stack_statistics(NativeDevice&, pybind11::dict&) {}

std::shared_ptr<const Library> library_of_embedded_devices() {
  throw std::system_error(EOPNOTSUPP, std::generic_category(),
                          "the embedded backend: this build of wintun is without it (build again where "
                          "tools/fetch-lwip has run, or with LWIP_SOURCE)");
}

void bind_stack(pybind11::module_& module) { module.attr("has_stack") = false; }

}  // namespace wintun::python
