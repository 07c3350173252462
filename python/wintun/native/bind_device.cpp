// The device but its packets: making, up, down, close, addresses, MTU, statistics. Cold, so bound by pybind11; what
// may take long runs without the GIL. Arguments come checked from device.py, and are checked again below.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include "native/bind.hpp"
#include "native/gil.hpp"
#include "native/handles.hpp"
#include "native/stack.hpp"

namespace py = pybind11;

namespace wintun::python {
namespace {

// Family (4 or 6), the address's bytes in network order, prefix bits.
using Address = std::tuple<int, py::bytes, int>;

std::shared_ptr<NativeDevice> make(std::string name, std::string tunnel_type, std::uint32_t ring_capacity,
                                   const std::optional<std::string>& guid, bool embedded) {
  DeviceOptions options;
  if (embedded) options.library = library_of_embedded_devices();
  options.name = std::move(name);
  options.tunnel_type = std::move(tunnel_type);
  options.ring_capacity = ring_capacity;
  if (guid) {
    if (guid->size() != 16) throw std::invalid_argument("guid: 16 bytes");
    options.guid.emplace();
    std::copy(guid->begin(), guid->end(), options.guid->begin());
  }
  std::shared_ptr<NativeDevice> device;
  without_gil([&] { device = std::make_shared<NativeDevice>(std::move(options)); });
  return device;
}

// Reads or changes something of the interface: netlink, which may wait for others in the kernel, or the stack.
template <class Work>
auto with_interface(NativeDevice& device, Work work) {
  decltype(work(std::declval<const Settings&>())) answer{};
  without_gil([&] { answer = work(*settings_of(device)); });
  return answer;
}

IpAddress ip_address(const std::string& packed, int prefix) {
  IpAddress address;
  if ((packed.size() != 4 && packed.size() != 16) || prefix < 0 || prefix > static_cast<int>(packed.size() * 8)) {
    throw std::invalid_argument("an IP address has 4 or 16 bytes, and a prefix of no more bits");
  }
  std::copy(packed.begin(), packed.end(), address.bytes.begin());
  address.family = packed.size() == 4 ? 4 : 6;
  address.prefix = static_cast<std::uint8_t>(prefix);
  return address;
}

std::vector<Address> addresses(NativeDevice& device) {
  const auto found = with_interface(device, [](const Settings& interface) { return interface.addresses(); });
  std::vector<Address> answer;
  for (const IpAddress& address : found) {
    answer.emplace_back(address.family,
                        py::bytes(reinterpret_cast<const char*>(address.bytes.data()), address.family == 4 ? 4 : 16),
                        address.prefix);
  }
  return answer;
}

[[noreturn]] void refuse(const NativeDevice& device, const char* doing) {
  const bool closed = device.is_closed();
  throw std::system_error(closed ? EBADF : ENETDOWN, std::generic_category(),
                          std::string(doing) + " '" + device.name() + "': the device is " +
                              (closed ? "closed; make another TunDevice" : "down; call up() first"));
}

int wait_descriptor(NativeDevice& device) {
  WaitHandle handle = kNoWaitHandle;
  without_gil([&] { handle = device.duplicate_wait_handle(); });
  if (handle == kNoWaitHandle) refuse(device, "waiting for packets of");
  return static_cast<int>(handle);
}

py::dict statistics(NativeDevice& device) {
  Statistics now;
  without_gil([&] { now = device.device().statistics(); });
  py::dict answer;
  answer["received_packets"] = now.received_packets;
  answer["received_bytes"] = now.received_bytes;
  answer["received_drops"] = now.received_drops;
  answer["sent_packets"] = now.sent_packets;
  answer["sent_bytes"] = now.sent_bytes;
  answer["sent_drops"] = now.sent_drops;
  answer["waits"] = now.waits;
  answer["wakes"] = now.wakes;
  add_stack_statistics(device, answer);
  return answer;
}

void bind_control(DeviceClass& device) {
  device
      .def(
          "up", [](const Self& self) { without_gil([&] { self->up(); }); },
          "Start a session: the link is up, and packets flow. Nothing when it is up already.\n\n"
          "Raises:\n"
          "    OSError: EBUSY while a packet of the last session is still lent, EBADF after `close()`, ENOMEM for "
          "the\n"
          "        rings.")
      .def(
          "down", [](const Self& self) { without_gil([&] { self->down(); }); },
          "End the session: the link is down. Whoever reads or waits is woken with `OSError(ENETDOWN)`; packets "
          "that\n"
          "were not read are dropped and counted. Addresses and the MTU stay. Nothing when it is down already.")
      .def(
          "close", [](const Self& self) { without_gil([&] { self->close(); }); },
          "Remove the interface. From any thread; whoever reads or waits is woken with `OSError(EBADF)`. Nothing "
          "when\n"
          "it is closed already.")
      .def(
          "cancel_read",
          [](const Self& self) {
            if (self->is_closed()) refuse(*self, "waking the readers of");
            without_gil([&] { self->cancel_read(); });
          },
          "Wake whoever waits in read() or wait_read_event() at this moment, once. Later ones are not affected.")
      .def_property_readonly(
          "is_up", [](const Self& self) { return self->device().is_up(); },
          "Whether a session is started, by `up()`.")
      .def_property_readonly(
          "closed", [](const Self& self) { return self->is_closed(); }, "Whether `close()` was called.");
}

void bind_identity(DeviceClass& device) {
  device
      .def_property_readonly(
          "name", [](const Self& self) { return self->name(); },
          "The name that was asked for, 1 to 127 characters; `interface` is what the system made of it.")
      .def_property_readonly(
          "tunnel_type", [](const Self& self) { return self->device().tunnel_type(); },
          "The tunnel type that was asked for: a word for people and other programs.")
      .def_property_readonly(
          "luid", [](const Self& self) { return self->device().luid(); },
          "The value of the interface's NET_LUID (ifdef.h of Windows): interface type 53 and, on Linux, the index.")
      .def_property_readonly(
          "index", [](const Self& self) { return self->device().index(); },
          "The interface's index, as `socket.if_nametoindex()` gives it.")
      .def("get_guid",
           [](const Self& self) {
             const Guid& guid = self->device().guid();
             return py::bytes(reinterpret_cast<const char*>(guid.data()), guid.size());
           })
      .def("get_interface",
           [](const Self& self) {
             return with_interface(*self, [](const Settings& interface) { return interface.name(); });
           })
      .def("get_ring_capacity", [](const Self& self) { return self->device().ring_capacity(); })
      .def("set_ring_capacity",
           [](const Self& self, std::uint32_t bytes) { self->device().set_ring_capacity(bytes); })
      .def("get_statistics", [](const Self& self) { return statistics(*self); });
}

void bind_interface(DeviceClass& device) {
  device
      .def("get_mtu",
           [](const Self& self) {
             return with_interface(*self, [](const Settings& interface) { return interface.mtu(); });
           })
      .def("set_mtu",
           [](const Self& self, std::uint32_t bytes) { without_gil([&] { settings_of(*self)->set_mtu(bytes); }); })
      .def("get_addresses", [](const Self& self) { return addresses(*self); })
      .def("put_address",
           [](const Self& self, const std::string& packed, int prefix) {
             const IpAddress address = ip_address(packed, prefix);
             without_gil([&] { settings_of(*self)->add_address(address); });
           })
      .def("drop_address", [](const Self& self, const std::string& packed, int prefix) {
        const IpAddress address = ip_address(packed, prefix);
        without_gil([&] { settings_of(*self)->remove_address(address); });
      });
  device
      .def(
          "fileno",
          [](const Self& self) {
            const WaitHandle handle = self->device().wait_handle();
            if (handle == kNoWaitHandle) refuse(*self, "the descriptor of");
            return static_cast<int>(handle);
          },
          "A descriptor that is readable while a packet can be read, for select, selectors and asyncio. It is no\n"
          "packet descriptor: `read()` reads. It is good until `down()` or `close()`, which make it readable for\n"
          "whoever is waiting on it.\n\n"
          "Raises:\n"
          "    OSError: ENETDOWN (not up), EBADF (closed).")
      .def(
          "wait_descriptor", [](const Self& self) { return wait_descriptor(*self); },
          "A copy of fileno() which the caller owns and closes.")
      .def(
          "open_packet_descriptor",
          [](const Self& self) {
            WaitHandle handle = kNoWaitHandle;
            without_gil([&] { handle = self->device().open_device_object(); });
            return static_cast<int>(handle);
          },
          "The TUN's own descriptor, which the caller owns and closes; until then the interface stays. What is read\n"
          "from it never comes to read(). OSError: EBADF, ENOTSUP (the backend has none).");
}

}  // namespace

DeviceClass bind_device(py::module_& module) {
  DeviceClass device(module, "Device", "What TunDevice is made of. Use wintun.TunDevice.");
  device.def(py::init(&make), py::arg("name"), py::arg("tunnel_type"), py::arg("ring_capacity"),
             py::arg("guid").none(true), py::arg("embedded") = false);
  bind_identity(device);
  bind_control(device);
  bind_interface(device);
  return device;
}

}  // namespace wintun::python
