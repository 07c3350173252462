// See acknowledgement.hpp.
#include "driver/embedded/acknowledgement.hpp"

#include <lwip/pbuf.h>

#include <cstdint>
#include <cstring>
#include <span>

namespace wintun {
namespace {

constexpr std::size_t kIpv4 = 20, kIpv6 = 40, kTcp = 20;  // bytes of headers without options
constexpr std::size_t kPorts = 4;
constexpr std::uint8_t kTcpProtocol = 6;

using Bytes = const std::uint8_t*;

Bytes bytes_of(const pbuf& packet) { return static_cast<Bytes>(packet.payload); }

std::size_t ip_header(const pbuf& packet) { return packet.tot_len - kTcp; }

// The addresses stand at the end of either IP header, the ports behind them.
std::span<const std::uint8_t> flow_of(const pbuf& packet) {
  const std::size_t addresses = ip_header(packet) == kIpv4 ? 8 : 32;
  return {bytes_of(packet) + ip_header(packet) - addresses, addresses + kPorts};
}

std::uint32_t acknowledged_by(const pbuf& packet) {
  const Bytes at = bytes_of(packet) + ip_header(packet) + 8;
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 | at[3];
}

}  // namespace

bool is_bare_acknowledgement(const pbuf& packet) {
  constexpr std::uint8_t kAck = 0x10, kNoOptions = kTcp / 4 << 4;
  if (packet.len != packet.tot_len) return false;
  const Bytes ip = bytes_of(packet);
  const bool is_tcp = packet.len == kIpv4 + kTcp   ? ip[0] == 0x45 && ip[9] == kTcpProtocol
                      : packet.len == kIpv6 + kTcp ? ip[0] >> 4 == 6 && ip[6] == kTcpProtocol
                                                   : false;
  if (!is_tcp) return false;
  const Bytes tcp = ip + ip_header(packet);
  return tcp[12] == kNoOptions && tcp[13] == kAck;
}

bool replaces(const pbuf& newer, const pbuf& older) {
  if (newer.tot_len != older.tot_len) return false;
  const auto flow = flow_of(newer);
  if (std::memcmp(flow.data(), flow_of(older).data(), flow.size()) != 0) return false;
  const std::uint32_t more = acknowledged_by(newer) - acknowledged_by(older);
  return more - 1 < 0x7FFFFFFF;  // ahead, and not the same
}

}  // namespace wintun
