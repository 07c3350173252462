// The older device's format: packets behind each other in one buffer, each with 16 bytes in front (its size, then
// zeros) and zeros up to a multiple of 16. Freestanding. Memory that the other side can write: each size is read
// once.
#pragma once

#include "ring/layout.hpp"

namespace wintun {

inline constexpr uint32_t kBundleHeader = 16;
inline constexpr uint32_t kMaxBundlePackets = 256;
inline constexpr uint32_t kMaxBundleSlot = 0xF000;  // header, packet and zeros
inline constexpr uint32_t kMaxBundleBytes = kMaxBundlePackets * kMaxBundleSlot;

constexpr uint32_t bundle_slot(uint32_t size) { return (kBundleHeader + size + 15) & ~15u; }  // for sizes that fit

// Takes the slot at `offset`; false: it is cut or too large. Size 0 is no packet (some writers add 16 needless
// zeros).
[[nodiscard]] inline bool next_in_bundle(const uint8_t* bundle, uint32_t bytes, uint32_t& offset, Slot& slot) {
  if (bytes - offset < kBundleHeader) return false;
  uint32_t size = 0;
  for (uint32_t i = 4; i-- > 0;) size = size << 8 | __atomic_load_n(bundle + offset + i, __ATOMIC_RELAXED);
  if (size > kMaxBundleSlot - kBundleHeader || bundle_slot(size) > bytes - offset) return false;
  slot.data = const_cast<uint8_t*>(bundle) + offset + kBundleHeader;
  slot.size = size;
  offset += bundle_slot(size);
  return true;
}

// Header and zeros of a slot around `size` bytes, which the caller copies to where this says.
inline uint8_t* lay_out_slot(uint8_t* into, uint32_t size) {
  for (uint32_t i = 0; i < kBundleHeader; ++i) into[i] = i < 4 ? static_cast<uint8_t>(size >> (8 * i)) : uint8_t{0};
  for (uint32_t i = kBundleHeader + size; i < bundle_slot(size); ++i) into[i] = 0;
  return into + kBundleHeader;
}

}  // namespace wintun
