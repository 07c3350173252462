// What can be said of a packet by its IP header alone (RFC 791, RFC 8200). Freestanding; pure functions.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wintun {

enum class IpStatus {
  ok,
  empty,
  oversized,   // more than 0xFFFF bytes
  truncated,   // shorter than its header, or than the length in it
  no_version,  // neither IPv4 nor IPv6
};

// Bytes behind the length that the header gives are the sender's affair: a pipe passes them on.
[[nodiscard]] IpStatus check_ip(const uint8_t* packet, size_t size);

// 4 when the packet begins with `00 00 08 00` or `00 00 86 dd` (the flags and protocol word that Linux puts in front
// without IFF_NO_PI, and that pymobiledevice3 writes), else 0. No IP packet begins so: its version would be 0.
[[nodiscard]] size_t packet_information_size(const uint8_t* packet, size_t size);

}  // namespace wintun
