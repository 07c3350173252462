// The older device's bundles: what is laid out is cut again, and nothing that is cut short is believed. Buffers have
// exactly their bytes, so that AddressSanitizer sees a look behind them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "ring/bundle.hpp"

namespace wintun {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kMaxPacket = kMaxBundleSlot - kBundleHeader;

std::uint8_t byte_of(std::uint32_t packet, std::uint32_t at) {
  return static_cast<std::uint8_t>(packet * 31 + at + 1);
}

void append(Bytes& bundle, std::uint32_t size, std::uint32_t number) {
  const std::size_t begin = bundle.size();
  bundle.resize(begin + bundle_slot(size), 0xEE);
  std::uint8_t* const data = lay_out_slot(bundle.data() + begin, size);
  for (std::uint32_t at = 0; at < size; ++at) data[at] = byte_of(number, at);
}

// The sizes of the packets, or nothing if the bundle is not whole.
std::vector<std::uint32_t> cut(const Bytes& bundle) {
  std::vector<std::uint32_t> sizes;
  const std::uint32_t bytes = static_cast<std::uint32_t>(bundle.size());
  for (std::uint32_t offset = 0; offset < bytes;) {
    Slot slot;
    const std::uint32_t before = offset;
    if (!next_in_bundle(bundle.data(), bytes, offset, slot)) {
      EXPECT_EQ(offset, before);
      return {};
    }
    EXPECT_GT(offset, before);
    EXPECT_LE(offset, bytes);
    for (std::uint32_t at = 0; at < slot.size; ++at) {
      if (slot.data[at] != byte_of(static_cast<std::uint32_t>(sizes.size()), at)) return {};
    }
    sizes.push_back(slot.size);
  }
  return sizes;
}

Bytes header_only(std::uint32_t size, std::size_t bytes) {
  Bytes bundle(bytes, 0);
  std::memcpy(bundle.data(), &size, sizeof(size));
  return bundle;
}

TEST(BundleTest, a_slot_has_sixteen_bytes_in_front_and_ends_at_a_multiple_of_sixteen) {
  for (std::uint32_t size = 0; size <= kMaxPacket; ++size) {
    std::uint32_t expected = 16 + size;
    while (expected % 16 != 0) ++expected;
    ASSERT_EQ(bundle_slot(size), expected) << size;
  }
  EXPECT_EQ(kMaxBundleBytes, 15728640U);
}

TEST(BundleTest, a_slot_is_the_size_in_native_order_then_zeros_then_the_packet_then_zeros) {
  Bytes bundle;
  append(bundle, 0x1234, 0);
  EXPECT_EQ(bundle[0], 0x34);
  EXPECT_EQ(bundle[1], 0x12);
  EXPECT_TRUE(std::all_of(bundle.begin() + 2, bundle.begin() + 16, [](std::uint8_t byte) { return byte == 0; }));
  EXPECT_EQ(bundle[16], byte_of(0, 0));
  EXPECT_TRUE(std::all_of(bundle.begin() + 16 + 0x1234, bundle.end(), [](std::uint8_t byte) { return byte == 0; }));
}

TEST(BundleTest, packets_of_every_size_are_cut_as_they_were_laid_out) {
  for (std::uint32_t size = 1; size <= kMaxPacket; size += size < 70 ? 1 : 997) {
    Bytes bundle;
    append(bundle, size, 0);
    append(bundle, kMaxPacket - size + 1, 1);
    append(bundle, 1, 2);
    ASSERT_EQ(cut(bundle), (std::vector<std::uint32_t>{size, kMaxPacket - size + 1, 1}));
  }
}

TEST(BundleTest, a_bundle_cut_anywhere_but_between_packets_is_refused) {
  Bytes whole;
  append(whole, 20, 0);
  append(whole, 64, 1);
  append(whole, 1, 2);
  const std::vector<std::size_t> ends = {48, 128, 160};
  ASSERT_EQ(whole.size(), ends.back());
  for (std::size_t bytes = 1; bytes <= whole.size(); ++bytes) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
    const bool is_between = std::find(ends.begin(), ends.end(), bytes) != ends.end();
    EXPECT_EQ(!cut(part).empty(), is_between) << bytes;
  }
}

TEST(BundleTest, a_size_over_the_largest_packet_is_refused_even_if_the_bytes_are_there) {
  Slot slot;
  for (const std::uint32_t size : {kMaxPacket + 1, 0xFFFFU, 0x10000U, 0x7FFFFFFFU, 0xFFFFFFF0U, 0xFFFFFFFFU}) {
    const Bytes bundle = header_only(size, 0x20000);
    std::uint32_t offset = 0;
    EXPECT_FALSE(next_in_bundle(bundle.data(), 0x20000, offset, slot)) << size;
    EXPECT_EQ(offset, 0U);
  }
  const Bytes largest = header_only(kMaxPacket, kMaxBundleSlot);
  std::uint32_t offset = 0;
  EXPECT_TRUE(next_in_bundle(largest.data(), kMaxBundleSlot, offset, slot));
  EXPECT_EQ(offset, kMaxBundleSlot);
}

TEST(BundleTest, sixteen_zeros_too_many_are_a_slot_without_a_packet) {
  Bytes bundle;
  append(bundle, 32, 0);
  bundle.insert(bundle.end(), 16, 0);
  Slot slot;
  std::uint32_t offset = 0;
  ASSERT_TRUE(next_in_bundle(bundle.data(), 64, offset, slot));
  ASSERT_TRUE(next_in_bundle(bundle.data(), 64, offset, slot));
  EXPECT_EQ(slot.size, 0U);
  EXPECT_EQ(offset, 64U);
}

TEST(BundleTest, a_bundle_may_begin_at_any_address) {
  Bytes bundle;
  append(bundle, 100, 0);
  for (std::size_t shift = 1; shift < 16; ++shift) {
    Bytes moved(shift, 0);
    moved.insert(moved.end(), bundle.begin(), bundle.end());
    Slot slot;
    std::uint32_t offset = 0;
    ASSERT_TRUE(next_in_bundle(moved.data() + shift, static_cast<std::uint32_t>(bundle.size()), offset, slot));
    EXPECT_EQ(slot.size, 100U);
  }
}

}  // namespace
}  // namespace wintun
