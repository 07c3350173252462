// rtnetlink: what interface.hpp says, on Linux. Each Interface speaks through the socket that it was made with
// (netlink_linux.hpp), in the network namespace of its making; so nothing here asks the calling thread's namespace.
// A reply counts only with whole attributes of the expected size. Any thread.
#include "platform/interface.hpp"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "platform/netlink_linux.hpp"

namespace wintun {
namespace {

constexpr std::uint32_t kSkipStatistics = 1U << 3;  // RTEXT_FILTER_SKIP_STATS
constexpr std::uint16_t kAddressProtocol = 11;      // IFA_PROTO, since Linux 5.18
constexpr std::uint8_t kMadeByKernelLinkLocal = 3;  // IFAPROT_KERNEL_LL
constexpr int kReadyAttempts = 2000;
constexpr std::chrono::milliseconds kReadyPause{1};
constexpr int kDumpAttempts = 16;  // a dump is repeated when the table changed meanwhile

[[noreturn]] void fail(int error, const std::string& operation, const std::string& object) {
  throw std::system_error(error, std::generic_category(), "cannot " + operation + " " + object);
}

int order(Netlink& netlink, Request& request) {
  return netlink.talk(request, [](const nlmsghdr*) {});
}

struct Link {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;
  std::uint32_t mtu = 0;
  std::string name;
  std::uint64_t transmit_drops = 0;
};

void read_link(const nlmsghdr* message, std::optional<Link>& link) {
  if (message->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(message) < sizeof(ifinfomsg)) return;
  const auto& body = *static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  link.emplace();
  link->index = static_cast<std::uint32_t>(body.ifi_index);
  link->flags = body.ifi_flags;
  for_each_attribute(message, sizeof(ifinfomsg), [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case IFLA_MTU:
        if (mnl_attr_validate(attribute, MNL_TYPE_U32) == 0) link->mtu = mnl_attr_get_u32(attribute);
        break;
      case IFLA_IFNAME:
        if (mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0) link->name = mnl_attr_get_str(attribute);
        break;
      case IFLA_STATS64: {
        constexpr std::size_t offset = offsetof(rtnl_link_stats64, tx_dropped);
        if (mnl_attr_get_payload_len(attribute) < offset + sizeof(link->transmit_drops)) break;
        const auto* statistics = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
        std::memcpy(&link->transmit_drops, statistics + offset, sizeof(link->transmit_drops));
        break;
      }
      default:
        break;
    }
  });
}

// By index, or by name when that is given. 0, or the error.
int ask_for_link(Netlink& netlink, std::uint32_t index, const std::string& name, bool statistics,
                 std::optional<Link>& link) {
  if (name.empty() ? index == 0 : name.size() >= IF_NAMESIZE) return ENODEV;
  Request request(RTM_GETLINK, NLM_F_ACK);
  request.body<ifinfomsg>().ifi_index = static_cast<int>(index);
  if (!name.empty()) request.put(IFLA_IFNAME, name.c_str(), name.size() + 1);
  if (!statistics) request.put_number(IFLA_EXT_MASK, kSkipStatistics);
  const int error = netlink.talk(request, [&](const nlmsghdr* message) { read_link(message, link); });
  if (error != 0) return error;
  return !link || (index != 0 && link->index != index) ? EPROTO : 0;
}

std::string describe(Netlink& netlink, std::uint32_t index) {
  const std::string number = "interface " + std::to_string(index);
  std::optional<Link> link;
  return ask_for_link(netlink, index, "", false, link) == 0 ? number + " (" + link->name + ")" : number;
}

Link get_link(Netlink& netlink, std::uint32_t index, bool statistics, const std::string& operation) {
  std::optional<Link> link;
  const int error = ask_for_link(netlink, index, "", statistics, link);
  if (error != 0) fail(error, operation, describe(netlink, index));
  return *link;
}

// A change of one number of a link, or of one flag (`change` says which).
void set_link(Netlink& netlink, std::uint32_t index, std::uint16_t attribute, std::uint32_t value,
              const std::string& operation) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  auto& body = request.body<ifinfomsg>();
  body.ifi_index = static_cast<int>(index);
  if (attribute == IFLA_UNSPEC) {
    body.ifi_change = IFF_UP;
    body.ifi_flags = value;
  } else {
    request.put_number(attribute, value);
  }
  // Without an index the kernel would look for a name, or make an interface.
  const int error = index == 0 ? ENODEV : order(netlink, request);
  if (error != 0) fail(error, operation, describe(netlink, index));
}

std::string text_of(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = address.family == 4 ? AF_INET : AF_INET6;
  if (inet_ntop(family, address.bytes.data(), text.data(), text.size()) == nullptr) return "?";
  return std::string(text.data()) + "/" + std::to_string(address.prefix);
}

bool is_link_local(const IpAddress& address) {
  return address.family == 6 && address.bytes[0] == 0xFE && (address.bytes[1] & 0xC0) == 0x80;
}

// The address in a reply, if it is one of this interface's that a user gave.
std::optional<IpAddress> read_address(const nlmsghdr* message, std::uint32_t index) {
  if (message->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(message) < sizeof(ifaddrmsg)) return {};
  const auto& body = *static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
  if (body.ifa_index != index || (body.ifa_family != AF_INET && body.ifa_family != AF_INET6)) return {};
  IpAddress address;
  address.family = body.ifa_family == AF_INET ? 4 : 6;
  address.prefix = body.ifa_prefixlen;
  const std::size_t bytes = address.family == 4 ? 4 : 16;
  bool found = false;
  bool local = false;  // IFA_LOCAL is ours, IFA_ADDRESS then the peer's
  std::uint8_t maker = 0;
  for_each_attribute(message, sizeof(ifaddrmsg), [&](const nlattr* attribute) {
    const std::uint16_t type = mnl_attr_get_type(attribute);
    const std::size_t size = mnl_attr_get_payload_len(attribute);
    if (type == kAddressProtocol && size == 1) maker = mnl_attr_get_u8(attribute);
    if ((type != IFA_LOCAL && (type != IFA_ADDRESS || local)) || size != bytes) return;
    std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), bytes);
    local = local || type == IFA_LOCAL;
    found = true;
  });
  if (!found || (is_link_local(address) && maker == kMadeByKernelLinkLocal)) return {};
  return address;
}

void change_address(Netlink& netlink, std::uint32_t index, const IpAddress& address, std::uint16_t type,
                    std::uint16_t flags, const std::string& operation, const std::string& preposition) {
  if ((address.family != 4 && address.family != 6) || address.prefix > (address.family == 4 ? 32 : 128)) {
    fail(EINVAL, operation + " of no family or prefix length " + preposition, describe(netlink, index));
  }
  Request request(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
  auto& body = request.body<ifaddrmsg>();
  body.ifa_family = address.family == 4 ? AF_INET : AF_INET6;
  body.ifa_prefixlen = address.prefix;
  body.ifa_index = index;
  const std::size_t bytes = address.family == 4 ? 4 : 16;
  request.put(IFA_LOCAL, address.bytes.data(), bytes);
  request.put(IFA_ADDRESS, address.bytes.data(), bytes);
  // Nobody else is on the link, so there is nothing to detect; without it an address is unusable for a second.
  if (address.family == 6) request.put_number(IFA_FLAGS, IFA_F_NODAD);
  const int error = order(netlink, request);
  if (error != 0) fail(error, operation + " " + text_of(address) + " " + preposition, describe(netlink, index));
}

// Whether a packet to this address would be taken here. The kernel makes an IPv6 address's own route from a work
// queue.
bool is_reached(Netlink& netlink, const IpAddress& address) {
  Request request(RTM_GETROUTE, NLM_F_ACK);
  auto& body = request.body<rtmsg>();
  const std::size_t bytes = address.family == 4 ? 4 : 16;
  body.rtm_family = address.family == 4 ? AF_INET : AF_INET6;
  body.rtm_dst_len = static_cast<std::uint8_t>(bytes * 8);
  request.put(RTA_DST, address.bytes.data(), bytes);
  bool local = false;
  const int error = netlink.talk(request, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(message) < sizeof(rtmsg)) return;
    local = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message))->rtm_type == RTN_LOCAL;
  });
  return error == 0 && local;
}

bool wait_until(const std::function<bool()>& is_true) {
  for (int attempt = 0; attempt < kReadyAttempts; ++attempt) {
    if (is_true()) return true;
    std::this_thread::sleep_for(kReadyPause);
  }
  return false;
}

}  // namespace

Interface::Interface(std::uint32_t index) : index_(index), netlink_(std::make_shared<Netlink>()) {
  if (const int error = netlink_->open_error(); error != 0) {
    fail(error, "open a netlink socket for", "interface " + std::to_string(index));
  }
}

Interface::Interface(std::uint32_t index, std::shared_ptr<Netlink> netlink)
    : index_(index), netlink_(std::move(netlink)) {}

Interface Interface::find(const std::string& name) {
  auto netlink = std::make_shared<Netlink>();
  std::optional<Link> link;
  const int error = name.empty() ? ENODEV : ask_for_link(*netlink, 0, name, false, link);
  if (error != 0) fail(error, "find", "interface '" + name + "'");
  return Interface(link->index, std::move(netlink));
}

std::string Interface::name() const { return get_link(*netlink_, index_, false, "read the name of").name; }

std::uint32_t Interface::mtu() const { return get_link(*netlink_, index_, false, "read the MTU of").mtu; }

void Interface::set_mtu(std::uint32_t bytes) const {
  set_link(*netlink_, index_, IFLA_MTU, bytes, "set the MTU " + std::to_string(bytes) + " of");
}

bool Interface::is_up() const {
  return (get_link(*netlink_, index_, false, "read the state of").flags & IFF_UP) != 0;
}

void Interface::set_up(bool up) const {
  set_link(*netlink_, index_, IFLA_UNSPEC, up ? IFF_UP : 0, up ? "bring up" : "bring down");
}

bool Interface::is_running() const {
  return (get_link(*netlink_, index_, false, "read the state of").flags & IFF_RUNNING) != 0;
}

void Interface::await_ready() const {
  (void)wait_until([this] { return is_running(); });
  for (const IpAddress& address : addresses()) {
    if (!wait_until([&] { return is_reached(*netlink_, address); })) return;
  }
}

void Interface::set_transmit_queue(std::uint32_t packets) const {
  set_link(*netlink_, index_, IFLA_TXQLEN, packets, "set the transmit queue of");
}

std::uint64_t Interface::transmit_drops() const {
  return get_link(*netlink_, index_, true, "read the statistics of").transmit_drops;
}

std::vector<IpAddress> Interface::addresses() const {
  int error = EINTR;
  for (int attempt = 0; error == EINTR && attempt < kDumpAttempts; ++attempt) {
    std::vector<IpAddress> found;
    Request request(RTM_GETADDR, NLM_F_DUMP);
    request.body<ifaddrmsg>().ifa_index = index_;
    error = netlink_->talk(request, [&](const nlmsghdr* message) {
      if (const auto address = read_address(message, index_)) found.push_back(*address);
    });
    if (error == 0) return found;
  }
  fail(error, "read the addresses of", describe(*netlink_, index_));
}

void Interface::add_address(const IpAddress& address) const {
  change_address(*netlink_, index_, address, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add the address", "to");
  if (is_running()) (void)wait_until([&] { return is_reached(*netlink_, address); });
}

void Interface::remove_address(const IpAddress& address) const {
  change_address(*netlink_, index_, address, RTM_DELADDR, 0, "remove the address", "from");
}

}  // namespace wintun
