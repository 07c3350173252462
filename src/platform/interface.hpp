// A network interface of the operating system: addresses, MTU, link state, index and name.
// Linux: rtnetlink through libmnl (linux/rtnetlink.h, linux/if_link.h). An Interface has a socket from its making on,
// which copies share: it acts in the network namespace that its maker's thread was in, from whichever thread, and
// costs one descriptor until the last copy goes. Cold paths, any thread; a forked child acts where it is in the same
// namespace, and is answered ENODEV elsewhere. Errors are std::system_error with the platform's code and a text that
// names the operation and the interface.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace wintun {

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};  // network order; the first 4 for IPv4
  std::uint8_t family = 0;               // 4 or 6
  std::uint8_t prefix = 0;               // bits
  bool operator==(const IpAddress&) const = default;
};

class Netlink;  // netlink_linux.hpp

class Interface {
 public:
  // Whether there is one of this index is asked by what follows. EMFILE and the like: no socket.
  explicit Interface(std::uint32_t index);
  static Interface find(const std::string& name);  // ENODEV when there is none

  std::uint32_t index() const { return index_; }
  std::string name() const;

  std::uint32_t mtu() const;  // bytes
  void set_mtu(std::uint32_t bytes) const;

  bool is_up() const;  // IFF_UP: the administrative state
  void set_up(bool up) const;
  bool is_running() const;  // IFF_RUNNING: up, and with a link that the system has taken note of
  // Coming up goes on in the background for a moment in which packets are lost. Returns when the interface is running
  // and its addresses are reached, or after two seconds.
  void await_ready() const;

  // Packets that the system keeps for the interface's driver before it drops, and those that it did drop.
  void set_transmit_queue(std::uint32_t packets) const;
  std::uint64_t transmit_drops() const;

  std::vector<IpAddress> addresses() const;  // without the link-local ones that the kernel made itself
  // EEXIST when it is there already. On a running interface it can be reached when this returns.
  void add_address(const IpAddress& address) const;
  void remove_address(const IpAddress& address) const;  // EADDRNOTAVAIL when it is not there

 private:
  Interface(std::uint32_t index, std::shared_ptr<Netlink> netlink);

  std::uint32_t index_;
  std::shared_ptr<Netlink> netlink_;
};

}  // namespace wintun
