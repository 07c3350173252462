// Reading an IP header's version and lengths, nothing more. Freestanding; the contract is in ip.hpp.
#include "net/ip.hpp"

namespace wintun {
namespace {

constexpr size_t kMaxIpPacket = 0xFFFF;
constexpr size_t kIpv4Header = 20;  // bytes, without options
constexpr size_t kIpv6Header = 40;

size_t load_be16(const uint8_t* bytes) { return static_cast<size_t>(bytes[0]) << 8 | bytes[1]; }

IpStatus check_ipv4(const uint8_t* packet, size_t size) {
  if (size < kIpv4Header) return IpStatus::truncated;
  const size_t header = size_t{packet[0] & 0x0Fu} * 4;
  const size_t total = load_be16(packet + 2);
  // A header or a total below the fixed part cannot hold what it claims to be: as truncated as a short packet.
  return header < kIpv4Header || total < header || total > size ? IpStatus::truncated : IpStatus::ok;
}

IpStatus check_ipv6(const uint8_t* packet, size_t size) {
  if (size < kIpv6Header) return IpStatus::truncated;
  return kIpv6Header + load_be16(packet + 4) > size ? IpStatus::truncated : IpStatus::ok;
}

}  // namespace

IpStatus check_ip(const uint8_t* packet, size_t size) {
  if (size == 0) return IpStatus::empty;
  if (size > kMaxIpPacket) return IpStatus::oversized;
  switch (packet[0] >> 4) {
    case 4:
      return check_ipv4(packet, size);
    case 6:
      return check_ipv6(packet, size);
    default:
      return IpStatus::no_version;
  }
}

size_t packet_information_size(const uint8_t* packet, size_t size) {
  if (size < 4 || packet[0] != 0 || packet[1] != 0) return 0;
  const size_t protocol = load_be16(packet + 2);
  return protocol == 0x0800 || protocol == 0x86DD ? 4 : 0;
}

}  // namespace wintun
