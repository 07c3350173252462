// See tun_scene.hpp.
#include "tun_scene.hpp"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace wintun {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);
constexpr std::uint16_t kHere = 7001, kThere = 7002;

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

union SocketAddress {
  sockaddr any;
  sockaddr_in four;
  sockaddr_in6 six;
};

socklen_t fill(SocketAddress& address, int family, std::uint8_t last, std::uint16_t port) {
  std::memset(&address, 0, sizeof(address));
  if (family == 4) {
    address.four.sin_family = AF_INET;
    address.four.sin_port = htons(port);
    std::memcpy(&address.four.sin_addr, address4(last).bytes.data(), 4);
    return sizeof(address.four);
  }
  address.six.sin6_family = AF_INET6;
  address.six.sin6_port = htons(port);
  std::memcpy(&address.six.sin6_addr, address6(last).bytes.data(), 16);
  return sizeof(address.six);
}

void append(Bytes& to, std::initializer_list<std::uint32_t> values) {
  for (const std::uint32_t value : values) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
  }
}

std::uint16_t checksum(Bytes bytes) {
  if (bytes.size() % 2 != 0) bytes.push_back(0);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

void set_word(Bytes& bytes, std::size_t offset, std::uint16_t value) {
  bytes[offset] = static_cast<std::uint8_t>(value >> 8);
  bytes[offset + 1] = static_cast<std::uint8_t>(value);
}

void append(Bytes& to, const IpAddress& address) {
  to.insert(to.end(), address.bytes.begin(), address.bytes.begin() + (address.family == 4 ? 4 : 16));
}

}  // namespace

bool eventually(const std::function<bool()>& is_true) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::usleep(1000);
  }
  return true;
}

Failure failure_of(const std::function<void()>& act) {
  try {
    act();
    return {};
  } catch (const std::system_error& error) {
    return {error.code().value(), error.what()};
  }
}

int in_child(const std::function<int()>& act) { return end_of(begin_child(act)); }

pid_t begin_child(const std::function<int()>& act) {
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    int result = 255;
    try {
      result = act();
    } catch (...) {
    }
    ::_exit(result);
  }
  return child;
}

int end_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void delete_interface(std::uint32_t index) {
  struct {
    nlmsghdr header;
    ifinfomsg body;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.body.ifi_index = static_cast<int>(index);
  const int descriptor = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (descriptor < 0 || ::send(descriptor, &request, sizeof(request), 0) < 0) fail("RTM_DELLINK");
  struct {
    nlmsghdr header;
    nlmsgerr error;
    std::uint8_t rest[256];
  } reply{};
  if (::recv(descriptor, &reply, sizeof(reply), 0) < 0) fail("RTM_DELLINK");
  (void)::close(descriptor);
  errno = -reply.error.error;
  if (errno != 0) fail("RTM_DELLINK");
}

bool has_carrier(const std::string& interface) {
  const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  if (descriptor < 0 || ::ioctl(descriptor, SIOCGIFFLAGS, &request) != 0) fail("SIOCGIFFLAGS");
  (void)::close(descriptor);
  return (request.ifr_flags & IFF_RUNNING) != 0;
}

IpAddress address4(std::uint8_t last, std::uint8_t prefix) { return {{10, 77, 0, last}, 4, prefix}; }
IpAddress address6(std::uint8_t last, std::uint8_t prefix) {
  return {{0xFD, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}, 6, prefix};
}

UdpSocket::UdpSocket(int family)
    : descriptor_(::socket(family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  SocketAddress address;
  const int size = 1 << 22;
  (void)::setsockopt(descriptor_, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  const socklen_t here = fill(address, family, 1, kHere);
  if (descriptor_ < 0 || ::bind(descriptor_, &address.any, here) != 0) fail("bind");
  const socklen_t there = fill(address, family, 2, kThere);
  if (::connect(descriptor_, &address.any, there) != 0) fail("connect");
}

UdpSocket::~UdpSocket() { (void)::close(descriptor_); }

bool UdpSocket::send(const Bytes& payload) {
  return ::send(descriptor_, payload.data(), payload.size(), 0) == static_cast<ssize_t>(payload.size());
}

Bytes UdpSocket::receive() {
  pollfd waiting{descriptor_, POLLIN, 0};
  Bytes bytes(0x10000);
  if (::poll(&waiting, 1, 20000) != 1) fail("no datagram came");
  const ssize_t size = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
  if (size < 0) fail("recv");
  bytes.resize(static_cast<std::size_t>(size));
  return bytes;
}

Bytes udp_packet(int family, const Bytes& payload) {
  const IpAddress from = family == 4 ? address4(2) : address6(2), to = family == 4 ? address4(1) : address6(1);
  const auto length = static_cast<std::uint32_t>(8 + payload.size());
  Bytes udp;
  append(udp, {kThere, kHere, length, 0});
  udp.insert(udp.end(), payload.begin(), payload.end());
  Bytes pseudo;
  append(pseudo, from);
  append(pseudo, to);
  append(pseudo, {17, length});
  pseudo.insert(pseudo.end(), udp.begin(), udp.end());
  const std::uint16_t sum = checksum(pseudo);
  set_word(udp, 6, sum == 0 ? std::uint16_t{0xFFFF} : sum);
  Bytes packet;
  if (family == 4) {
    append(packet, {0x4500, 20 + length, 1, 0x4000, 64 << 8 | 17, 0});
    append(packet, from);
    append(packet, to);
    set_word(packet, 10, checksum(packet));
  } else {
    append(packet, {0x6000, 0, length, 17 << 8 | 64});
    append(packet, from);
    append(packet, to);
  }
  packet.insert(packet.end(), udp.begin(), udp.end());
  return packet;
}

bool is_udp_packet(const Bytes& packet, int family, const Bytes& payload) {
  const std::size_t header = family == 4 ? 20 : 40;
  const std::size_t address_bytes = family == 4 ? 4 : 16;
  if (packet.size() != header + 8 + payload.size() || packet[0] >> 4 != family) return false;
  Bytes expected;
  append(expected, family == 4 ? address4(1) : address6(1));
  append(expected, family == 4 ? address4(2) : address6(2));
  append(expected, {kHere, kThere, static_cast<std::uint32_t>(8 + payload.size())});
  const Bytes shown(packet.begin() + static_cast<std::ptrdiff_t>(header - 2 * address_bytes),
                    packet.begin() + static_cast<std::ptrdiff_t>(header + 6));
  return shown == expected &&
         Bytes(packet.begin() + static_cast<std::ptrdiff_t>(header + 8), packet.end()) == payload;
}

Bytes numbered(std::size_t size, std::uint8_t first) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

Program::Program(std::uint32_t capacity)
    : capacity_(capacity),
      to_user_(std::make_unique<std::uint32_t[]>(ring_bytes(capacity) / 4)),
      to_network_(std::make_unique<std::uint32_t[]>(ring_bytes(capacity) / 4)),
      consumer_(to_user(), capacity),
      producer_(to_network(), capacity) {}

Rings Program::rings() { return {to_user(), to_network(), capacity_, &moved_}; }

void Program::restart() {
  std::memset(to_user(), 0, ring_bytes(capacity_));
  std::memset(to_network(), 0, ring_bytes(capacity_));
  consumer_ = Consumer(to_user(), capacity_);
  producer_ = Producer(to_network(), capacity_);
  moved_.reset();
}

bool Program::send(const Bytes& packet) {
  Slot slot;
  if (producer_.reserve(static_cast<std::uint32_t>(packet.size()), slot) != RingStatus::ok) return false;
  if (!packet.empty()) std::memcpy(slot.data, packet.data(), packet.size());
  (void)producer_.publish(slot.end);
  return true;
}

Bytes Program::take(RingStatus* status) {
  Slot slot;
  const RingStatus found = consumer_.next(slot);
  if (status != nullptr) *status = found;
  if (found != RingStatus::ok) return {};
  Bytes packet(slot.data, slot.data + slot.size);
  consumer_.release(slot.end);
  return packet;
}

std::unique_ptr<LinuxDevice> TunScene::connected(Program& program, const std::string& name) {
  auto device = std::make_unique<LinuxDevice>(name, true);
  const Interface interface(device->interface_index());
  interface.add_address(address4(1));
  interface.add_address(address6(1));
  device->connect(program.rings());
  return device;
}

Bytes TunScene::next(LinuxDevice& device, Program& program, const std::function<bool(const Bytes&)>& wanted) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    Bytes packet = program.take();
    if (!packet.empty() && wanted(packet)) return packet;
    if (!packet.empty()) continue;
    const PumpStatus status = device.pump_to_user(1);
    if (status == PumpStatus::ended) return {};
    pollfd waiting{static_cast<int>(device.wait_handle()), POLLIN, 0};
    if (status == PumpStatus::idle) (void)::poll(&waiting, 1, 100);
  }
  return {};
}

}  // namespace wintun
