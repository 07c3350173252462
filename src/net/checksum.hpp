// The Internet checksum (RFC 1071) over bytes of any alignment and number, in pieces of any length, and the
// pseudo-headers of IPv4 (RFC 9293) and IPv6 (RFC 8200). Freestanding; a value of its own, one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wintun {

class InternetChecksum {
 public:
  // The next `size` bytes. A piece may end at an odd byte: the next one goes on behind it.
  void add(const uint8_t* data, size_t size);

  // What TCP, UDP and ICMPv6 sum before their own bytes. Addresses in network order, `length` in bytes.
  void add_ipv4_pseudo_header(const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                              uint16_t length);
  void add_ipv6_pseudo_header(const uint8_t source[16], const uint8_t destination[16], uint8_t next_header,
                              uint32_t length);

  // The checksum as a number: store its high byte first. 0 over bytes that carry their right checksum.
  // UDP sends 0xFFFF where this is 0; that is its caller's affair.
  [[nodiscard]] uint16_t value() const;

 private:
  uint64_t sum_ = 0;  // of 16-bit words as this processor loads them; only value() knows about byte order
  bool odd_ = false;  // an odd number of bytes so far
};

// The checksum of one piece.
[[nodiscard]] inline uint16_t internet_checksum(const uint8_t* data, size_t size) {
  InternetChecksum checksum;
  checksum.add(data, size);
  return checksum.value();
}

}  // namespace wintun
