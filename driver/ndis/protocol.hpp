// What a program and the device say to each other, beside the rings themselves (src/ring). No NT types, so that tests
// and programs can include it.
#pragma once

#include <stdint.h>

namespace wintun {

// CTL_CODE(51820, 0x970, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)
inline constexpr uint32_t kRegisterRings = (51820u << 16) | (3u << 14) | (0x970u << 2);

// Pointer: uint64_t, or uint32_t in a 32-bit program.
template <class Pointer>
struct RegisteredRing {
  uint32_t size;  // of the whole ring, ring_bytes(capacity)
  Pointer ring;   // a Ring, a multiple of 4
  Pointer event;  // to_user: set by the driver on every move; to_network: set by the program when alertable
};

template <class Pointer>
struct Registration {
  RegisteredRing<Pointer> to_user, to_network;
};
static_assert(sizeof(Registration<uint64_t>) == 48 && sizeof(Registration<uint32_t>) == 24);

inline Registration<uint64_t> widen(const Registration<uint32_t>& from) {
  return {{from.to_user.size, from.to_user.ring, from.to_user.event},
          {from.to_network.size, from.to_network.ring, from.to_network.event}};
}

}  // namespace wintun
