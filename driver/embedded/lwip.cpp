// See lwip.hpp.
#include "driver/embedded/lwip.hpp"

#include <lwip/priv/tcp_priv.h>
#include <lwip/udp.h>

#include <cerrno>
#include <cstring>

namespace wintun {
namespace {

// Takes what belongs to other interfaces out of a list, and gives it as a list of its own.
template <class Pcb>
Pcb* hide(Pcb** list, std::uint8_t interface) {
  Pcb* hidden = nullptr;
  for (Pcb** link = list; *link != nullptr;) {
    Pcb* const one = *link;
    if (one->netif_idx == interface) {
      link = &one->next;
      continue;
    }
    *link = one->next;
    one->next = hidden;
    hidden = one;
  }
  return hidden;
}

template <class Pcb>
void show(Pcb** list, void* hidden) {
  while (*list != nullptr) list = &(*list)->next;
  *list = static_cast<Pcb*>(hidden);
}

}  // namespace

ip_addr_t to_lwip(const IpAddress& address, const netif* link) {
  ip_addr_t made{};
  if (address.family == 4) {
    IP_SET_TYPE_VAL(made, IPADDR_TYPE_V4);
    std::memcpy(&ip_2_ip4(&made)->addr, address.bytes.data(), 4);
    return made;
  }
  IP_SET_TYPE_VAL(made, IPADDR_TYPE_V6);
  std::memcpy(ip_2_ip6(&made)->addr, address.bytes.data(), 16);
  if (link != nullptr) ip6_addr_assign_zone(ip_2_ip6(&made), IP6_UNKNOWN, link);
  return made;
}

IpAddress from_lwip(const ip_addr_t& address) {
  IpAddress made;
  if (IP_IS_V6_VAL(address)) {
    made.family = 6;
    std::memcpy(made.bytes.data(), ip_2_ip6(&address)->addr, 16);
  } else {
    made.family = 4;
    std::memcpy(made.bytes.data(), &ip_2_ip4(&address)->addr, 4);
  }
  return made;
}

OnlyThisInterface::OnlyThisInterface(const netif& link) {
  const std::uint8_t index = netif_get_index(&link);
  hidden_[0] = hide(&tcp_listen_pcbs.listen_pcbs, index);
  hidden_[1] = hide(&tcp_bound_pcbs, index);
  hidden_[2] = hide(&tcp_active_pcbs, index);
  hidden_[3] = hide(&tcp_tw_pcbs, index);
  hidden_[4] = hide(&udp_pcbs, index);
}

OnlyThisInterface::~OnlyThisInterface() {
  show(&tcp_listen_pcbs.listen_pcbs, hidden_[0]);
  show(&tcp_bound_pcbs, hidden_[1]);
  show(&tcp_active_pcbs, hidden_[2]);
  show(&tcp_tw_pcbs, hidden_[3]);
  show(&udp_pcbs, hidden_[4]);
}

u8_t pcb_argument() {
  static const u8_t id = tcp_ext_arg_alloc_id();
  return id;
}

int errno_of(err_t error) {
  switch (error) {
    case ERR_OK:
      return 0;
    case ERR_MEM:
    case ERR_BUF:
      return ENOBUFS;
    case ERR_TIMEOUT:
      return ETIMEDOUT;
    case ERR_RTE:
      return ENETUNREACH;
    case ERR_USE:
      return EADDRINUSE;
    case ERR_ISCONN:
      return EISCONN;
    case ERR_CONN:
    case ERR_CLSD:
      return ENOTCONN;
    case ERR_ABRT:
      return ECONNABORTED;
    case ERR_RST:
      return ECONNRESET;
    case ERR_IF:
      return ENETDOWN;
    default:
      return EINVAL;
  }
}

}  // namespace wintun
