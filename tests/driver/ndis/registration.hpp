// What a program registers: its two rings of one capacity and their events, in the form of a 64-bit or a 32-bit one.
#pragma once

#include <cstdint>

#include "driver/ndis/protocol.hpp"
#include "ring/layout.hpp"
#include "tests/kernel/kernel.hpp"

namespace wintun {

template <class Pointer>
Registration<Pointer> registration_of(std::uint32_t capacity, const Ring* up, HANDLE up_moved, const Ring* down,
                                      HANDLE down_moved) {
  const auto number = [](const void* address) {
    return static_cast<Pointer>(reinterpret_cast<std::uintptr_t>(address));
  };
  const std::uint32_t size = ring_bytes(capacity);
  return {{size, number(up), number(up_moved)}, {size, number(down), number(down_moved)}};
}

}  // namespace wintun
