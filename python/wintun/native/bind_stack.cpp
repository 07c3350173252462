// The sockets of an embedded device, as _stack.py needs them. Nothing here waits with the GIL held, and nothing
// without a timeout: what cannot be done in time answers None. Any thread. Errors are OSError with the errno that a
// socket would give.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include "driver/embedded/connection.hpp"
#include "driver/embedded/datagram.hpp"
#include "driver/embedded/listener.hpp"
#include "driver/embedded/ping.hpp"
#include "native/gil.hpp"
#include "native/stack.hpp"
#include "native/waiting.hpp"

namespace py = pybind11;

namespace wintun::python {
namespace {

IpAddress ip_of(const std::string& packed) {
  if (packed.size() != 4 && packed.size() != 16) throw std::invalid_argument("an IP address has 4 or 16 bytes");
  IpAddress address;
  address.family = packed.size() == 4 ? 4 : 6;
  std::copy(packed.begin(), packed.end(), address.bytes.begin());
  return address;
}

SocketAddress of_python(const std::pair<py::bytes, std::uint16_t>& address) {
  return {ip_of(address.first), address.second};
}

std::optional<SocketAddress> of_python(const std::optional<std::pair<py::bytes, std::uint16_t>>& address) {
  return address ? std::optional(of_python(*address)) : std::nullopt;
}

py::tuple to_python(const SocketAddress& address) {
  const auto* const bytes = reinterpret_cast<const char*>(address.address.bytes.data());
  return py::make_tuple(py::bytes(bytes, address.address.family == 4 ? 4 : 16), address.port);
}

std::shared_ptr<Endpoint> endpoint_of(NativeDevice& device) {
  if (!device.device().is_closed()) {
    if (auto endpoint = Endpoint::find(device.device().index())) return endpoint;
  }
  throw std::system_error(EBADF, std::generic_category(), "the sockets of '" + device.name() + "': it is closed");
}

[[noreturn]] void fail(int error, const std::string& doing, const Endpoint& endpoint) {
  throw std::system_error(error, std::generic_category(),
                          doing + " on the embedded device '" + endpoint.name() + "'" + advice(error));
}

[[noreturn]] void fail(int error, const char* doing, const Connection& connection) {
  fail(error, doing + (" " + text_of(connection.remote())), *connection.endpoint());
}

class Buffer {
 public:
  Buffer(const py::handle& object, int flags) {
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw py::error_already_set();
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::span<std::uint8_t> bytes() const {
    return {static_cast<std::uint8_t*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

Deadline deadline_in(const py::object& timeout) {
  Deadline deadline;
  if (!deadline_of(timeout.ptr(), deadline)) throw py::error_already_set();
  return deadline;
}

// False: not in time. A signal's handler runs meanwhile, and may raise. Without the GIL `wait` is called until it
// answers something else than "interrupted", or until the deadline.
template <class Wait>
bool wait_for(const Wait& wait, const Deadline& deadline) {
  const bool main = on_main_thread();
  for (;;) {
    const Deadline slice = slice_end(deadline, main);
    WaitStatus status{};
    without_gil([&] { status = wait(slice); });
    if (status == WaitStatus::signalled) return true;
    if (status == WaitStatus::timed_out && slice == deadline) return false;
    if (status == WaitStatus::failed) throw std::system_error(errno, std::generic_category(), "waiting for a socket");
    if (PyErr_CheckSignals() < 0) throw py::error_already_set();
  }
}

// Long copies run without the GIL; short ones would pay more for giving it up.
template <class Move>
Progress moving(std::size_t size, const Move& move) {
  if (size <= kLongCopy) return move();
  Progress progress;
  without_gil([&] { progress = move(); });
  return progress;
}

// What `move` does as soon as it can do anything; EAGAIN: not in time. It touches no Python object but a buffer that
// our caller holds, so after a wait it goes on without the GIL: with it, each burst would switch threads once more.
template <class Wait, class Move>
Progress moving(std::size_t size, const Deadline& deadline, const Wait& wait, const Move& move) {
  Progress progress = moving(size, move);
  if (progress.error != EAGAIN || (deadline && *deadline <= std::chrono::steady_clock::now())) return progress;
  (void)wait_for(
      [&](const Deadline& until) {
        WaitStatus status{};
        do {
          status = wait(until);
          if (status == WaitStatus::signalled) progress = move();
        } while (status == WaitStatus::signalled && progress.error == EAGAIN);  // another thread was faster
        return status;
      },
      deadline);
  return progress;
}

template <class Move>
Progress receiving(Connection& self, std::size_t size, const Deadline& deadline, const Move& move) {
  return moving(
      size, deadline, [&](const Deadline& until) { return self.wait(kReadable, until); }, move);
}

py::object receive(Connection& self, std::size_t size, const py::object& timeout) {
  for (const Deadline deadline = deadline_in(timeout);;) {
    // Nothing is made before it is known how much there is.
    const Progress there = receiving(self, 0, deadline, [&] { return self.receive({}); });
    if (there.error == EAGAIN) return py::none();
    if (there.error != 0) fail(there.error, "receiving from", self);
    // At the end nothing is available, and with room for a byte receive() says so.
    const std::size_t room = std::min(size, std::max<std::size_t>(self.available(), 1));
    auto bytes = py::reinterpret_steal<py::object>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(room)));
    if (!bytes) throw py::error_already_set();
    auto* const data = reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
    const Progress got = moving(room, [&] { return self.receive({data, room}); });
    if (got.error == EAGAIN) continue;  // another reader took it
    if (got.error != 0) fail(got.error, "receiving from", self);
    if (got.bytes == room) return bytes;
    return py::bytes(reinterpret_cast<const char*>(data), got.bytes);
  }
}

// How many bytes went through; None: not in time.
py::object counted(const Progress& progress, const char* doing, const Connection& self) {
  if (progress.error == EAGAIN) return py::none();
  if (progress.error != 0) fail(progress.error, doing, self);
  return py::int_(progress.bytes);
}

py::object receive_into(Connection& self, const py::object& into, const py::object& timeout) {
  const Buffer buffer(into, PyBUF_WRITABLE);
  const Progress got =
      receiving(self, buffer.bytes().size(), deadline_in(timeout), [&] { return self.receive(buffer.bytes()); });
  return counted(got, "receiving from", self);
}

py::object send(Connection& self, const py::object& from, const py::object& timeout) {
  const Buffer buffer(from, PyBUF_SIMPLE);
  const Progress sent = moving(
      buffer.bytes().size(), deadline_in(timeout), [&](const Deadline& until) { return self.wait(kWritable, until); },
      [&] { return self.send(buffer.bytes()); });
  return counted(sent, "sending to", self);
}

template <class Class>
void bind_watching(Class& type) {
  using Socket = typename Class::type;
  type.def("watch", [](Socket& self, std::shared_ptr<Watcher> watcher, std::uint64_t token) {
    self.watch(std::move(watcher), token);
  });
}

void bind_connection(py::module_& module) {
  py::class_<Connection, std::shared_ptr<Connection>> type(module, "StackConnection",
                                                           "A TCP connection of the stack.");
  type.def_static(
          "connect",
          [](NativeDevice& device, const std::pair<py::bytes, std::uint16_t>& to,
             const std::optional<std::pair<py::bytes, std::uint16_t>>& from) {
            return Connection::connect(endpoint_of(device), of_python(to), of_python(from));
          },
          py::arg("device"), py::arg("to"), py::arg("local").none(true))
      .def("receive", &receive, py::arg("size"), py::arg("timeout") = 0,
           "bytes, empty at the end; None: not in time.")
      .def("receive_into", &receive_into, py::arg("buffer"), py::arg("timeout") = 0)
      .def("send", &send, py::arg("data"), py::arg("timeout") = 0, "How many bytes; None: not in time.")
      .def("finish",
           [](Connection& self) {
             if (const int error = self.finish(); error != 0) fail(error, "shutting down the connection to", self);
           })
      .def("close", [](Connection& self) { without_gil([&] { self.close(); }); })
      .def("abort", [](Connection& self) { without_gil([&] { self.abort(); }); })
      .def("wait_writable",
           [](Connection& self, const py::object& timeout) {
             return wait_for([&](const Deadline& until) { return self.wait(kWritable, until); },
                             deadline_in(timeout));
           })
      .def("fileno", [](Connection& self) { return static_cast<int>(self.wait_handle(kReadable)); })
      .def("set_no_delay", &Connection::set_no_delay)
      .def(
          "check",
          [](Connection& self) {
            if (const int error = self.error(); error != 0) fail(error, "connecting to", self);
          },
          "Raises why the connection could not be made.")
      .def_property_readonly("device", [](const Connection& self) { return self.endpoint()->name(); })
      .def_property_readonly("connected", &Connection::is_connected)
      .def_property_readonly("error", &Connection::error)
      .def_property_readonly("available", &Connection::available)
      .def_property_readonly("unsent", &Connection::unsent)
      .def_property_readonly("local", [](const Connection& self) { return to_python(self.local()); })
      .def_property_readonly("remote", [](const Connection& self) { return to_python(self.remote()); });
  bind_watching(type);
}

void bind_listener(py::module_& module) {
  py::class_<Listener, std::shared_ptr<Listener>> type(module, "StackListener", "A TCP port of the stack.");
  type.def_static(
          "listen",
          [](NativeDevice& device, const std::pair<py::bytes, std::uint16_t>& at, std::uint32_t backlog) {
            return Listener::listen(endpoint_of(device), of_python(at), backlog);
          },
          py::arg("device"), py::arg("at"), py::arg("backlog"))
      .def("accept",
           [](Listener& self) -> std::shared_ptr<Connection> {
             int error = 0;
             auto connection = self.accept(error);
             if (connection == nullptr && error != EAGAIN)
               fail(error, "accepting at " + text_of(self.local()), *self.endpoint());
             return connection;
           })
      .def("close", [](Listener& self) { without_gil([&] { self.close(); }); })
      .def("wait_readable",
           [](Listener& self, const py::object& timeout) {
             return wait_for([&](const Deadline& until) { return self.wait(until); }, deadline_in(timeout));
           })
      .def("fileno", [](Listener& self) { return static_cast<int>(self.wait_handle()); })
      .def_property_readonly("error", &Listener::error)
      .def_property_readonly("local", [](const Listener& self) { return to_python(self.local()); });
  bind_watching(type);
}

void bind_datagram(py::module_& module) {
  py::class_<Datagram, std::shared_ptr<Datagram>> type(module, "StackDatagram", "A UDP socket of the stack.");
  type.def_static(
          "open",
          [](NativeDevice& device, const std::optional<std::pair<py::bytes, std::uint16_t>>& local,
             const std::optional<std::pair<py::bytes, std::uint16_t>>& remote) {
            return Datagram::open(endpoint_of(device), of_python(local), of_python(remote));
          },
          py::arg("device"), py::arg("local").none(true), py::arg("remote").none(true))
      .def(
          "receive",
          [](Datagram& self, std::size_t size, const py::object& timeout) -> py::object {
            std::vector<std::uint8_t> bytes(std::min<std::size_t>(size, 65535));
            SocketAddress from;
            const Progress got = moving(
                0, deadline_in(timeout), [&](const Deadline& until) { return self.wait(until); },
                [&] { return self.receive(bytes, from); });
            if (got.error == EAGAIN) return py::none();
            if (got.error != 0) fail(got.error, "receiving at " + text_of(self.local()), *self.endpoint());
            return py::make_tuple(py::bytes(reinterpret_cast<const char*>(bytes.data()), got.bytes), to_python(from));
          },
          py::arg("size"), py::arg("timeout") = 0)
      .def(
          "send",
          [](Datagram& self, const py::object& data, const std::optional<std::pair<py::bytes, std::uint16_t>>& to) {
            const Buffer buffer(data, PyBUF_SIMPLE);
            const std::optional<SocketAddress> peer = of_python(to);
            const Progress sent = self.send(buffer.bytes(), peer);
            if (sent.error != 0) {
              const std::optional<SocketAddress> to_whom = peer ? peer : self.remote();
              fail(sent.error, "sending a datagram" + (to_whom ? " to " + text_of(*to_whom) : ""), *self.endpoint());
            }
            return sent.bytes;
          },
          py::arg("data"), py::arg("to").none(true))
      .def("close", [](Datagram& self) { without_gil([&] { self.close(); }); })
      .def("fileno", [](Datagram& self) { return static_cast<int>(self.wait_handle()); })
      .def_property_readonly("error", &Datagram::error)
      .def_property_readonly("device", [](const Datagram& self) { return self.endpoint()->name(); })
      .def_property_readonly("drops", &Datagram::drops)
      .def_property_readonly("local", [](const Datagram& self) { return to_python(self.local()); })
      .def_property_readonly("remote", [](const Datagram& self) -> py::object {
        const auto remote = self.remote();
        return remote ? py::object(to_python(*remote)) : py::object(py::none());
      });
  bind_watching(type);
}

}  // namespace

void bind_stack(py::module_& module) {
  module.attr("has_stack") = true;
  py::class_<Watcher, std::shared_ptr<Watcher>>(module, "StackWatcher", "What has changed, of many sockets.")
      .def(py::init<>())
      .def("fileno", [](const Watcher& self) { return static_cast<int>(self.handle()); })
      .def("take", [](Watcher& self) {
        std::vector<std::tuple<std::uint64_t, bool, bool>> changes;  // token, became readable, became writable
        for (const Watcher::Change& change : self.take()) {
          changes.emplace_back(change.token, (change.became & kReadable) != 0, (change.became & kWritable) != 0);
        }
        return changes;
      });
  bind_connection(module);
  bind_listener(module);
  bind_datagram(module);
  module.def(
      "stack_ping",
      [](NativeDevice& device, const py::bytes& to, std::size_t size,
         const py::object& timeout) -> std::optional<double> {
        const auto endpoint = endpoint_of(device);
        const auto ping = Ping::send(endpoint, ip_of(to), size);
        (void)wait_for([&](const Deadline& until) { return ping->wait(until); }, deadline_in(timeout));
        if (const int error = ping->error(); error != 0) fail(error, "pinging " + text_of(ip_of(to)), *endpoint);
        const auto time = ping->round_trip();
        return time ? std::optional(std::chrono::duration<double>(*time).count()) : std::nullopt;
      },
      py::arg("device"), py::arg("to"), py::arg("size"), py::arg("timeout"), "Seconds; None: no answer in time.");
  module.def("stack_set_packet_limit",
             [](NativeDevice& device, std::uint32_t bytes) { endpoint_of(device)->set_packet_limit(bytes); });
  module.def("stack_set_checksums",
             [](NativeDevice& device, bool on) { endpoint_of(device)->set_checksum_checking(on); });
}

}  // namespace wintun::python
