// See cable.hpp.
#include "cable.hpp"

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <stdexcept>

#include "driver/embedded/library.hpp"

namespace wintun {

IpAddress address(const std::string& text) {
  IpAddress made;
  const std::size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  made.family = host.find(':') == std::string::npos ? 4 : 6;
  if (::inet_pton(made.family == 4 ? AF_INET : AF_INET6, host.c_str(), made.bytes.data()) != 1) {
    throw std::invalid_argument(text);
  }
  made.prefix = slash == std::string::npos ? std::uint8_t{made.family == 4 ? std::uint8_t{32} : std::uint8_t{128}}
                                           : static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1)));
  return made;
}

SocketAddress at(const std::string& text, std::uint16_t port) { return {address(text), port}; }

Node::Node(const std::string& name, std::initializer_list<const char*> addresses, std::uint32_t mtu) {
  DeviceOptions options;
  options.name = name;
  options.library = embedded_library();
  device = std::make_unique<Device>(options);
  endpoint = Endpoint::find(device->index());
  if (endpoint == nullptr) throw std::runtime_error("the device has no endpoint");
  endpoint->set_mtu(mtu);
  for (const char* one : addresses) endpoint->add_address(address(one));
  device->up();
}

Cable::Cable(Device& a, Device& b, Filter filter)
    : a_(a), b_(b), filter_(std::move(filter)), thread_([this] { run(); }) {}

Cable::~Cable() {
  stop_.set();
  thread_.join();
}

void Cable::run() {
  for (;;) {
    const WaitHandle handles[] = {stop_.handle(), a_.wait_handle(), b_.wait_handle()};
    const std::span all(handles);
    if (wait_any(all, std::nullopt) == WaitStatus::failed) return;
    if (wait_any(all.first(1), in(std::chrono::milliseconds(0))) == WaitStatus::signalled) return;
    for (bool moved = true; moved;) {
      moved = carry(a_, b_, true);
      moved = carry(b_, a_, false) || moved;
    }
  }
}

bool Cable::carry(Device& from, Device& to, bool from_a) {
  Packet packets[64];
  std::size_t count = 0;
  if (from.receive_many(packets, count) != IoStatus::ok) return false;
  std::vector<std::span<const std::uint8_t>> kept;
  for (const Packet& packet : std::span(packets, count)) {
    if (!filter_ || filter_(from_a, packet.bytes())) kept.push_back(packet.bytes());
  }
  std::size_t written = 0;
  if (!kept.empty()) (void)to.write_many(kept, written);
  from.release_many({packets, count});
  carried_ += written;
  return true;
}

std::shared_ptr<Connection> connected(Node& from, const SocketAddress& to) {
  auto connection = Connection::connect(from.endpoint, to);
  if (connection->wait(kWritable, in(kPatience)) != WaitStatus::signalled) throw std::runtime_error("no answer");
  if (connection->error() != 0) throw std::system_error(connection->error(), std::generic_category());
  return connection;
}

std::shared_ptr<Connection> accepted(Listener& listener) {
  for (int error = 0;;) {
    auto connection = listener.accept(error);
    if (connection != nullptr) return connection;
    if (error != EAGAIN) throw std::system_error(error, std::generic_category());
    if (listener.wait(in(kPatience)) != WaitStatus::signalled) throw std::runtime_error("nobody came");
  }
}

std::pair<std::shared_ptr<Connection>, std::shared_ptr<Connection>> meet(Node& from, Listener& listener) {
  auto client = connected(from, listener.local());
  return {std::move(client), accepted(listener)};
}

int send_all(Connection& connection, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const Progress sent = connection.send(bytes);
    bytes = bytes.subspan(sent.bytes);
    if (sent.error == EAGAIN) {
      if (connection.wait(kWritable, in(kPatience)) != WaitStatus::signalled) return ETIMEDOUT;
    } else if (sent.error != 0) {
      return sent.error;
    }
  }
  return 0;
}

int receive_all(Connection& connection, std::vector<std::uint8_t>& into, std::size_t most) {
  std::vector<std::uint8_t> buffer(1 << 18);
  while (into.size() < most) {
    const std::size_t room = std::min(buffer.size(), most - into.size());
    const Progress got = connection.receive(std::span(buffer).first(room));
    if (got.error == EAGAIN) {
      if (connection.wait(kReadable, in(kPatience)) != WaitStatus::signalled) return ETIMEDOUT;
      continue;
    }
    if (got.error != 0) return got.error;
    if (got.bytes == 0) return 0;
    into.insert(into.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got.bytes));
  }
  return 0;
}

std::vector<std::uint8_t> pattern(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> made(size);
  for (std::size_t i = 0; i + 4 <= size; i += 4) {
    const auto word = random();
    std::memcpy(made.data() + i, &word, 4);
  }
  return made;
}

std::vector<Bytes> taken(Node& node) {
  std::vector<Bytes> all;
  Packet packet;
  while (node.device->receive(packet) == IoStatus::ok) {
    all.emplace_back(packet.bytes().begin(), packet.bytes().end());
    node.device->release(packet);
  }
  return all;
}

void deliver(Node& node, const std::vector<Bytes>& packets) {
  const std::vector<std::span<const std::uint8_t>> views(packets.begin(), packets.end());
  std::size_t written = 0;
  if (node.device->write_many(views, written) != IoStatus::ok || written != packets.size()) {
    throw std::runtime_error("the device does not take the packets");
  }
}

Talk::Talk(const char* host) : listener(Listener::listen(pair.b.endpoint, at(host, 80))) {
  Cable cable(pair.a, pair.b);
  std::tie(client, server) = meet(pair.a, *listener);
  while (client->unsent() != 0) std::this_thread::yield();
}

}  // namespace wintun
