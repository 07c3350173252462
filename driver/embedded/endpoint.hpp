// The host's side of one embedded device: an interface of the stack with its addresses, and what its sockets share -
// limits of memory, and their end when the device is closed. Any thread may call anything here.
// A socket keeps its endpoint alive, not its device: once that is gone, everything answers ENODEV.
// Neighbours: device.hpp (owns it, moves packets), connection.hpp, listener.hpp, datagram.hpp, ping.hpp (sockets).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "driver/embedded/stack.hpp"
#include "platform/interface.hpp"

struct netif;
struct pbuf;

namespace wintun {

class EmbeddedDevice;

struct SocketAddress {
  IpAddress address;  // its prefix means nothing here
  std::uint16_t port = 0;
};
std::string text_of(const IpAddress& address);
std::string text_of(const SocketAddress& address);
// What to do about a socket's error, in parentheses for the end of a message; empty where its name says it all.
std::string advice(int error);

// What an endpoint must tell to its sockets. Under the stack's lock.
class Attached {
 public:
  virtual void cut() = 0;  // the device is closed

 protected:
  Attached() = default;
  ~Attached() = default;

 private:
  friend class Endpoint;
  Attached* next_ = nullptr;
  Attached** link_ = nullptr;
};

class Endpoint : public std::enable_shared_from_this<Endpoint> {
 public:
  static constexpr std::uint32_t kLeastMtu = 576;
  static constexpr std::uint32_t kMostMtu = 65535;
  static constexpr std::size_t kReceiveLimit = std::size_t{256} << 20;  // bytes, of all that nobody has received yet
  static constexpr std::size_t kSendLimit = std::size_t{64} << 20;      // bytes, of all that is not acknowledged
  static constexpr std::size_t kSendShare = std::size_t{64} << 10;      // bytes that each connection may have anyway

  // The endpoint of the device with this interface index, or null.
  static std::shared_ptr<Endpoint> find(std::uint32_t index);

  std::uint32_t index() const { return index_; }
  const std::string& name() const { return name_; }

  // As src/platform/interface.hpp has them. One IPv4 address, seven IPv6 ones: ENOSPC beyond.
  std::uint32_t mtu() const;
  void set_mtu(std::uint32_t bytes);
  bool is_up() const;
  std::vector<IpAddress> addresses() const;
  void add_address(const IpAddress& address);
  void remove_address(const IpAddress& address);  // connections from it end with EADDRNOTAVAIL

  // The longest packet of TCP that the host sends, whatever the MTU says; 0: no limit but the MTU. For connections
  // that are made later.
  void set_packet_limit(std::uint32_t bytes);
  // Whether checksums of what comes are looked at. A link that is authenticated already need not.
  void set_checksum_checking(bool on);

  // ---- for sockets, under the stack's lock ----

  void attach(Attached& socket);
  void detach(Attached& socket);
  netif* interface() const { return netif_.get(); }  // null once the device is closed
  // 0, or why a packet to there cannot leave: ENODEV, ENETDOWN, ENETUNREACH (no address of its family).
  int route_error(const IpAddress& to) const;
  bool has_address(const IpAddress& address) const;
  std::uint16_t segment_limit(std::uint8_t family) const;  // bytes of TCP's payload

  std::size_t sending = 0;  // bytes of all connections that are not acknowledged

  // Acknowledgements that were never sent, since a later one said more (acknowledgement.hpp). Any thread.
  std::atomic<std::uint64_t> acknowledgements_left_out{0};

  // ---- for device.cpp ----

  Endpoint(std::string name, EmbeddedDevice& device);
  ~Endpoint();
  void open();   // ENOSPC: too many devices
  void close();  // all sockets are cut; idempotent
  void set_link(bool up);
  // Bytes of received packets that lwIP or a socket holds. It outlives the endpoint, since packets may.
  std::atomic<std::size_t>& received() const { return *received_; }

 private:
  const std::string name_;
  const std::uint32_t index_;
  EmbeddedDevice* device_;
  std::unique_ptr<netif> netif_;
  std::atomic<std::size_t>* received_ = nullptr;
  std::array<std::uint8_t, 8> prefixes_{};  // of the IPv6 addresses: lwIP takes all for /64
  std::uint32_t packet_limit_ = 0;
  Attached* sockets_ = nullptr;
};

}  // namespace wintun
