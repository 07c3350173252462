// See endpoint.hpp.
#include "driver/embedded/endpoint.hpp"

#include <arpa/inet.h>
#include <lwip/ip.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>

#include "driver/embedded/device.hpp"
#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr std::size_t kMostDevices = 200;          // lwIP counts interfaces in a byte
constexpr std::uint32_t kFirstIndex = 0x00E00001;  // far from a kernel's, and within the 24 bits of a LUID

struct Registry {
  std::mutex mutex;
  std::map<std::uint32_t, std::weak_ptr<Endpoint>> endpoints;
  std::uint32_t next_index = kFirstIndex;
};
Registry& registry() {
  static Registry& one = *new Registry;
  return one;
}

std::uint32_t new_index() {
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  return all.next_index++;
}

// One counter an interface number of lwIP's, for good: packets that it still holds may outlive the endpoint.
std::atomic<std::size_t>& received_by(const netif& link) {
  static std::array<std::atomic<std::size_t>, 256> counters{};
  return counters[link.num];
}

[[noreturn]] void fail(int error, const std::string& operation, const std::string& name) {
  throw std::system_error(error, std::generic_category(), operation + " of the device '" + name + "'");
}

void check(const IpAddress& address, const std::string& name) {
  const bool is_family = address.family == 4 || address.family == 6;
  if (!is_family || address.prefix > (address.family == 4 ? 32 : 128)) fail(EINVAL, "cannot use this address", name);
}

ip4_addr_t mask_of(std::uint8_t prefix) {
  ip4_addr_t mask{};
  mask.addr = prefix == 0 ? 0 : lwip_htonl(~std::uint32_t{0} << (32 - prefix));
  return mask;
}

std::uint8_t prefix_of(const ip4_addr_t& mask) { return static_cast<std::uint8_t>(__builtin_popcount(mask.addr)); }

int slot_of(const netif& link, const IpAddress& address) {
  const ip_addr_t wanted = to_lwip(address, &link);
  for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    if (ip6_addr_isvalid(netif_ip6_addr_state(&link, i)) &&
        ip6_addr_eq(netif_ip6_addr(&link, i), ip_2_ip6(&wanted))) {
      return i;
    }
  }
  return -1;
}

template <class Pcb>
void abort_all(Pcb*& list, std::uint8_t index) {
  // Aborting one may change the list in any way, so each look begins at its head.
  for (Pcb* pcb = list; pcb != nullptr;) {
    if (pcb->netif_idx == index) {
      tcp_abort(pcb);
      pcb = list;
    } else {
      pcb = pcb->next;
    }
  }
}

}  // namespace

std::string text_of(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  (void)::inet_ntop(address.family == 4 ? AF_INET : AF_INET6, address.bytes.data(), text, sizeof text);
  return text;
}

std::string text_of(const SocketAddress& address) {
  const std::string text = text_of(address.address);
  return (address.address.family == 6 ? "[" + text + "]" : text) + ":" + std::to_string(address.port);
}

std::string advice(int error) {
  switch (error) {
    case ENETDOWN:
      return " (the device is not up: call up())";
    case ENETUNREACH:
      return " (the device has no address of that family: set addr)";
    case EADDRNOTAVAIL:
      return " (the device does not have the local address: see addresses)";
    case EADDRINUSE:
      return " (another socket of this device has that port: close it, or take port 0)";
    case ECONNREFUSED:
      return " (nobody listens there)";
    case ECONNRESET:
      return " (the peer ended the connection)";
    case ETIMEDOUT:
      return " (the peer does not answer: are packets carried both ways?)";
    case ENODEV:
      return " (the device was closed: make another)";
    case EPIPE:
      return " (this side has finished sending, or the connection is over)";
    case EBADF:
      return " (the socket was closed: make another)";
    case EMSGSIZE:
      return " (too long for one packet: send less at a time)";
    case EDESTADDRREQ:
      return " (made without a remote address: use sendto())";
    case EINVAL:
      return " (the peer has a port from 1 up, and an address of the same family)";
    default:
      return "";
  }
}

std::shared_ptr<Endpoint> Endpoint::find(std::uint32_t index) {
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  const auto found = all.endpoints.find(index);
  return found == all.endpoints.end() ? nullptr : found->second.lock();
}

Endpoint::Endpoint(std::string name, EmbeddedDevice& device)
    : name_(std::move(name)), index_(new_index()), device_(&device) {}

Endpoint::~Endpoint() {
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  all.endpoints.erase(index_);
}

void Endpoint::open() {
  {
    const StackLock lock;
    std::size_t count = 0;
    for (const netif* one = netif_list; one != nullptr; one = one->next) ++count;
    if (count >= kMostDevices) fail(ENOSPC, "there is no room in the stack for the interface", name_);
    auto link = std::make_unique<netif>();
    const auto prepare = [](netif* one) -> err_t {
      one->name[0] = 'r';
      one->name[1] = 't';
      one->mtu = 1500;
      one->output = [](netif* to, pbuf* packet, const ip4_addr_t*) -> err_t {
        return static_cast<err_t>(static_cast<Endpoint*>(to->state)->device_->send_from_stack(*packet));
      };
      one->output_ip6 = [](netif* to, pbuf* packet, const ip6_addr_t*) -> err_t {
        return static_cast<err_t>(static_cast<Endpoint*>(to->state)->device_->send_from_stack(*packet));
      };
      return ERR_OK;
    };
    if (netif_add(link.get(), nullptr, nullptr, nullptr, this, prepare, ip_input) == nullptr) {
      fail(ENOMEM, "cannot make the interface", name_);
    }
    netif_set_up(link.get());
    netif_ = std::move(link);
    received_ = &received_by(*netif_);
  }
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  all.endpoints[index_] = weak_from_this();
}

void Endpoint::close() {
  const StackLock lock;
  if (netif_ == nullptr) return;
  while (sockets_ != nullptr) {
    Attached& socket = *sockets_;
    detach(socket);
    socket.cut();
  }
  // What has no socket any more: connections that are on their way out.
  const std::uint8_t index = netif_get_index(netif_.get());
  abort_all(tcp_active_pcbs, index);
  abort_all(tcp_bound_pcbs, index);
  abort_all(tcp_tw_pcbs, index);
  {
    const OnlyThisInterface only(*netif_);
    netif_remove(netif_.get());
  }
  netif_.reset();
}

void Endpoint::set_link(bool up) {
  const StackLock lock;
  if (netif_ == nullptr) return;
  if (up) {
    netif_set_link_up(netif_.get());
  } else {
    netif_set_link_down(netif_.get());
  }
}

std::uint32_t Endpoint::mtu() const {
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, "cannot tell the MTU", name_);
  return netif_->mtu;
}

void Endpoint::set_mtu(std::uint32_t bytes) {
  if (bytes < kLeastMtu || bytes > kMostMtu) {
    fail(EINVAL, "cannot set the MTU to " + std::to_string(bytes) + " (576 to 65535)", name_);
  }
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, "cannot set the MTU", name_);
  netif_->mtu = static_cast<std::uint16_t>(bytes);
}

bool Endpoint::is_up() const {
  const StackLock lock;
  return netif_ != nullptr && netif_is_link_up(netif_.get());
}

std::vector<IpAddress> Endpoint::addresses() const {
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, "cannot tell the addresses", name_);
  std::vector<IpAddress> found;
  if (!ip4_addr_isany(netif_ip4_addr(netif_.get()))) {
    IpAddress address = from_lwip(*netif_ip_addr4(netif_.get()));
    address.prefix = prefix_of(*netif_ip4_netmask(netif_.get()));
    found.push_back(address);
  }
  for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    if (!ip6_addr_isvalid(netif_ip6_addr_state(netif_.get(), i))) continue;
    IpAddress address = from_lwip(*netif_ip_addr6(netif_.get(), i));
    address.prefix = prefixes_[static_cast<std::size_t>(i)];
    found.push_back(address);
  }
  return found;
}

void Endpoint::add_address(const IpAddress& address) {
  const std::string operation = "cannot add the address " + text_of(address);
  check(address, name_);
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, operation, name_);
  if (has_address(address)) fail(EEXIST, operation, name_);
  const OnlyThisInterface only(*netif_);
  const ip_addr_t wanted = to_lwip(address, netif_.get());
  if (address.family == 4) {
    if (!ip4_addr_isany(netif_ip4_addr(netif_.get()))) {
      fail(ENOSPC, operation + " (an embedded device has one IPv4 address: remove the other one first)", name_);
    }
    const ip4_addr_t mask = mask_of(address.prefix);
    netif_set_addr(netif_.get(), ip_2_ip4(&wanted), &mask, nullptr);
    return;
  }
  s8_t slot = -1;
  if (netif_add_ip6_address(netif_.get(), ip_2_ip6(&wanted), &slot) != ERR_OK || slot < 0) {
    fail(ENOSPC, operation + " (an embedded device has at most 7 IPv6 addresses)", name_);
  }
  prefixes_[static_cast<u8_t>(slot)] = address.prefix;
  netif_ip6_addr_set_state(netif_.get(), slot, IP6_ADDR_PREFERRED);  // nobody else is on this link to ask
}

void Endpoint::remove_address(const IpAddress& address) {
  const std::string operation = "cannot remove the address " + text_of(address);
  check(address, name_);
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, operation, name_);
  if (!has_address(address)) fail(EADDRNOTAVAIL, operation, name_);
  const OnlyThisInterface only(*netif_);
  if (address.family == 4) {
    netif_set_addr(netif_.get(), nullptr, nullptr, nullptr);
  } else {
    netif_ip6_addr_set_state(netif_.get(), static_cast<s8_t>(slot_of(*netif_, address)), IP6_ADDR_INVALID);
  }
}

void Endpoint::set_packet_limit(std::uint32_t bytes) {
  if (bytes != 0 && (bytes < kLeastMtu || bytes > kMostMtu)) {
    fail(EINVAL, "cannot limit packets to " + std::to_string(bytes) + " bytes (576 to 65535, 0 for none)", name_);
  }
  const StackLock lock;
  packet_limit_ = bytes;
}

void Endpoint::set_checksum_checking(bool on) {
  const StackLock lock;
  if (netif_ == nullptr) fail(ENODEV, "cannot set the checksums", name_);
  constexpr std::uint16_t kChecks = NETIF_CHECKSUM_CHECK_IP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP |
                                    NETIF_CHECKSUM_CHECK_ICMP | NETIF_CHECKSUM_CHECK_ICMP6;
  NETIF_SET_CHECKSUM_CTRL(netif_.get(),
                          static_cast<u16_t>(on ? NETIF_CHECKSUM_ENABLE_ALL : NETIF_CHECKSUM_ENABLE_ALL & ~kChecks));
}

void Endpoint::attach(Attached& socket) {
  socket.next_ = sockets_;
  socket.link_ = &sockets_;
  if (sockets_ != nullptr) sockets_->link_ = &socket.next_;
  sockets_ = &socket;
}

void Endpoint::detach(Attached& socket) {
  if (socket.link_ == nullptr) return;
  *socket.link_ = socket.next_;
  if (socket.next_ != nullptr) socket.next_->link_ = socket.link_;
  socket.next_ = nullptr;
  socket.link_ = nullptr;
}

int Endpoint::route_error(const IpAddress& to) const {
  if (netif_ == nullptr) return ENODEV;
  if (!netif_is_link_up(netif_.get())) return ENETDOWN;
  if (to.family == 4) return ip4_addr_isany(netif_ip4_addr(netif_.get())) ? ENETUNREACH : 0;
  for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; ++i) {
    if (ip6_addr_isvalid(netif_ip6_addr_state(netif_.get(), i))) return 0;
  }
  return ENETUNREACH;
}

bool Endpoint::has_address(const IpAddress& address) const {
  if (netif_ == nullptr) return false;
  if (address.family == 6) return slot_of(*netif_, address) >= 0;
  const ip_addr_t wanted = to_lwip(address, netif_.get());
  return ip4_addr_eq(netif_ip4_addr(netif_.get()), ip_2_ip4(&wanted)) != 0;
}

std::uint16_t Endpoint::segment_limit(std::uint8_t family) const {
  if (packet_limit_ == 0) return TCP_MSS;
  const std::uint32_t headers = (family == 4 ? IP_HLEN : IP6_HLEN) + TCP_HLEN;
  return static_cast<std::uint16_t>(packet_limit_ - headers);
}

}  // namespace wintun

// lwIP would take a packet for any interface's address on any other: two devices with one address must not meet.
extern "C" {

int wintun_lwip_accept_ip4(pbuf* packet, netif* input) {
  if (packet->len >= IP_HLEN) {
    ip4_addr_t to{};
    std::memcpy(&to.addr, static_cast<const char*>(packet->payload) + 16, 4);
    if (ip4_addr_eq(&to, netif_ip4_addr(input)) || ip4_addr_ismulticast(&to) || ip4_addr_isbroadcast(&to, input)) {
      return 0;
    }
  }
  (void)pbuf_free(packet);
  return 1;
}

int wintun_lwip_accept_ip6(pbuf* packet, netif* input) {
  if (packet->len >= IP6_HLEN) {
    ip6_addr_t to{};
    std::memcpy(to.addr, static_cast<const char*>(packet->payload) + 24, 16);
    ip6_addr_assign_zone(&to, IP6_UNKNOWN, input);
    if (ip6_addr_ismulticast(&to) || netif_get_ip6_addr_match(input, &to) >= 0) return 0;
  }
  (void)pbuf_free(packet);
  return 1;
}
}
