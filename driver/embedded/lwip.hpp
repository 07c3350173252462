// Between our words and lwIP's, for the .cpp files of this folder. Under the stack's lock.
#pragma once

#include <lwip/ip_addr.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>

#include "driver/embedded/endpoint.hpp"

namespace wintun {

ip_addr_t to_lwip(const IpAddress& address, const netif* link);  // the zone of a link-local one is the link
IpAddress from_lwip(const ip_addr_t& address);

// lwIP keeps all sockets in one world: where it compares addresses alone, equal addresses of two devices would meet.
// While one of these lives, lwIP sees the sockets of one interface only.
class OnlyThisInterface {
 public:
  explicit OnlyThisInterface(const netif& link);
  ~OnlyThisInterface();
  OnlyThisInterface(const OnlyThisInterface&) = delete;
  OnlyThisInterface& operator=(const OnlyThisInterface&) = delete;

 private:
  static constexpr std::size_t kLists = 5;
  std::array<void*, kLists> hidden_{};
};

// The place in lwIP's connections for what must learn of their end.
u8_t pcb_argument();

// An errno for what lwIP answered.
int errno_of(err_t error);

}  // namespace wintun
