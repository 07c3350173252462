// Embedded devices for tests, and a cable between two of them: a thread that carries packets both ways, and may lose
// or watch them. The cable goes before the devices do, or go down.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "driver/embedded/connection.hpp"
#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/listener.hpp"
#include "session/device.hpp"

namespace wintun {

IpAddress address(const std::string& text);  // "10.0.0.1/24" or "fd00::1/64"
SocketAddress at(const std::string& text, std::uint16_t port);

// A device that is up, with its host's side.
struct Node {
  explicit Node(const std::string& name, std::initializer_list<const char*> addresses = {}, std::uint32_t mtu = 1500);
  std::unique_ptr<Device> device;
  std::shared_ptr<Endpoint> endpoint;
};

// Two of them, in one network.
struct Pair {
  explicit Pair(std::uint32_t mtu = 1500)
      : a("a", {"10.9.0.1/24", "fd09::1/64"}, mtu), b("b", {"10.9.0.2/24", "fd09::2/64"}, mtu) {}
  Node a, b;
};

class Cable {
 public:
  // Called for each packet; false loses it. In the cable's thread.
  using Filter = std::function<bool(bool from_a, std::span<const std::uint8_t> packet)>;
  Cable(Device& a, Device& b, Filter filter = nullptr);
  Cable(Node& a, Node& b, Filter filter = nullptr) : Cable(*a.device, *b.device, std::move(filter)) {}
  ~Cable();
  Cable(const Cable&) = delete;
  Cable& operator=(const Cable&) = delete;

  std::uint64_t carried() const { return carried_.load(); }

 private:
  void run();
  bool carry(Device& from, Device& to, bool from_a);

  Device& a_;
  Device& b_;
  const Filter filter_;
  Event stop_;
  std::atomic<std::uint64_t> carried_{0};
  std::thread thread_;
};

inline Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }
inline constexpr std::chrono::seconds kPatience{30};  // what should come at once, on a machine that is busy

// Connects and waits; the error otherwise.
std::shared_ptr<Connection> connected(Node& from, const SocketAddress& to);
std::shared_ptr<Connection> accepted(Listener& listener);
// Both ends of a new one.
std::pair<std::shared_ptr<Connection>, std::shared_ptr<Connection>> meet(Node& from, Listener& listener);
// Until all is sent or an error, which is returned.
int send_all(Connection& connection, std::span<const std::uint8_t> bytes);
// Until the peer's end or an error, which is returned.
int receive_all(Connection& connection, std::vector<std::uint8_t>& into, std::size_t most = SIZE_MAX);
std::vector<std::uint8_t> pattern(std::size_t size, std::uint32_t seed);

// ---- packets carried by hand ----

using Bytes = std::vector<std::uint8_t>;
std::vector<Bytes> taken(Node& node);                         // everything that it has for the network now
void deliver(Node& node, const std::vector<Bytes>& packets);  // all in one burst, or an exception

// A connection from a to b that is at rest, with nobody to carry its packets.
struct Talk {
  explicit Talk(const char* host);
  Pair pair;
  std::shared_ptr<Listener> listener;
  std::shared_ptr<Connection> client, server;
};

}  // namespace wintun
