// See ping.hpp.
#include "driver/embedded/ping.hpp"

#include <lwip/icmp.h>
#include <lwip/inet_chksum.h>
#include <lwip/prot/icmp6.h>
#include <lwip/raw.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr std::size_t kHeader = 8;  // type, code, checksum, identifier, sequence number
constexpr std::size_t kMostPayload = 65000;
constexpr u16_t kIp4Header = 20;

[[noreturn]] void refuse(int error, const IpAddress& to, const Endpoint& endpoint) {
  throw std::system_error(
      error, std::generic_category(),
      "cannot ping " + text_of(to) + " on the embedded device '" + endpoint.name() + "'" + advice(error));
}

}  // namespace

struct Ping::Callbacks {
  // Not 0: the packet is ours.
  static u8_t received(void* arg, raw_pcb*, pbuf* packet, const ip_addr_t* from) {
    Ping& self = *static_cast<Ping*>(arg);
    const bool is_ip4 = self.to_.family == 4;
    u16_t at = is_ip4 ? kIp4Header : u16_t{40};
    if (is_ip4 && packet->tot_len > 0) at = static_cast<u16_t>((pbuf_get_at(packet, 0) & 0x0F) * 4);
    std::uint8_t header[kHeader];
    if (pbuf_copy_partial(packet, header, kHeader, at) != kHeader) return 0;
    const auto word = [&](int i) { return static_cast<std::uint16_t>(header[i] << 8 | header[i + 1]); };
    const std::uint8_t reply = is_ip4 ? std::uint8_t{ICMP_ER} : std::uint8_t{ICMP6_TYPE_EREP};
    if (header[0] != reply || word(4) != self.id_ || word(6) != self.sequence_) return 0;
    if (from_lwip(*from).bytes != self.to_.bytes || self.round_trip_) return 0;
    self.round_trip_ = std::chrono::steady_clock::now() - self.sent_;
    self.signals_.update(kReadable);
    (void)pbuf_free(packet);
    return 1;
  }
};

std::shared_ptr<Ping> Ping::send(const std::shared_ptr<Endpoint>& endpoint, const IpAddress& to,
                                 std::size_t payload) {
  if (payload > kMostPayload) refuse(EMSGSIZE, to, *endpoint);
  const StackLock lock;
  const int unreachable = endpoint->route_error(to);
  if (unreachable != 0) refuse(unreachable, to, *endpoint);
  const bool is_ip4 = to.family == 4;
  raw_pcb* const pcb =
      raw_new_ip_type(is_ip4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6, is_ip4 ? u8_t{IP_PROTO_ICMP} : u8_t{IP6_NEXTH_ICMP6});
  if (pcb == nullptr) refuse(ENOBUFS, to, *endpoint);
  netif* const link = endpoint->interface();
  raw_bind_netif(pcb, link);
  std::shared_ptr<Ping> made(new Ping(endpoint));
  made->pcb_ = pcb;
  made->to_ = to;
  const std::uint32_t random = wintun_lwip_random();
  made->id_ = static_cast<std::uint16_t>(random >> 16);
  made->sequence_ = static_cast<std::uint16_t>(random);
  raw_recv(pcb, Callbacks::received, made.get());
  endpoint->attach(*made);

  std::vector<std::uint8_t> request(kHeader + payload);
  request[0] = is_ip4 ? std::uint8_t{ICMP_ECHO} : std::uint8_t{ICMP6_TYPE_EREQ};
  request[4] = static_cast<std::uint8_t>(made->id_ >> 8);
  request[5] = static_cast<std::uint8_t>(made->id_);
  request[6] = static_cast<std::uint8_t>(made->sequence_ >> 8);
  request[7] = static_cast<std::uint8_t>(made->sequence_);
  for (std::size_t i = 0; i < payload; ++i) request[kHeader + i] = static_cast<std::uint8_t>(i);
  if (is_ip4) {
    const u16_t sum = inet_chksum(request.data(), static_cast<u16_t>(request.size()));
    std::memcpy(request.data() + 2, &sum, sizeof sum);
  } else {
    pcb->chksum_reqd = 1;  // ICMPv6 sums over addresses that lwIP chooses
    pcb->chksum_offset = 2;
  }
  pbuf* const packet = pbuf_alloc(PBUF_IP, static_cast<u16_t>(request.size()), PBUF_RAM);
  if (packet == nullptr) refuse(ENOBUFS, to, *endpoint);
  (void)pbuf_take(packet, request.data(), static_cast<u16_t>(request.size()));
  made->sent_ = std::chrono::steady_clock::now();
  const ip_addr_t address = to_lwip(to, link);
  const err_t error = raw_sendto(pcb, packet, &address);
  (void)pbuf_free(packet);
  if (error != ERR_OK) refuse(errno_of(error), to, *endpoint);
  return made;
}

Ping::~Ping() {
  const StackLock lock;
  end();
}

std::optional<std::chrono::nanoseconds> Ping::round_trip() const {
  const StackLock lock;
  return round_trip_;
}

int Ping::error() const {
  const StackLock lock;
  return error_;
}

WaitStatus Ping::wait(const Deadline& deadline) {
  const WaitHandle handle = wait_handle();
  return wait_any({&handle, 1}, deadline);
}

WaitHandle Ping::wait_handle() {
  const StackLock lock;
  return signals_.handle(kReadable);
}

void Ping::watch(std::shared_ptr<Watcher> watcher, std::uint64_t token) {
  const StackLock lock;
  signals_.watch(std::move(watcher), token);
}

void Ping::cut() {
  error_ = ENODEV;
  end();
  signals_.update(kReadable);
}

void Ping::end() {
  if (pcb_ != nullptr) raw_remove(std::exchange(pcb_, nullptr));
  endpoint_->detach(*this);
}

}  // namespace wintun
