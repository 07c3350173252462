// The numbers that programs and drivers of other makers rely on.
#include "ring/layout.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "ring_memory.hpp"

namespace wintun {
namespace {

TEST(Layout, the_words_stand_where_every_other_end_expects_them) {
  RingMemory memory;
  Ring* const ring = memory.ring();
  ring->head = 0x03020100;
  ring->tail = 0x07060504;
  ring->alertable = 0x0B0A0908;
  std::uint8_t bytes[12];
  std::memcpy(bytes, ring, sizeof bytes);
  for (std::uint8_t i = 0; i < 12; ++i) EXPECT_EQ(bytes[i], i);
  EXPECT_EQ(ring_data(ring) - reinterpret_cast<std::uint8_t*>(ring), 12);
}

TEST(Layout, a_capacity_is_a_power_of_two_in_its_range) {
  for (std::uint32_t capacity = kMinCapacity; capacity <= kMaxCapacity; capacity *= 2) {
    EXPECT_TRUE(is_valid_capacity(capacity)) << capacity;
    EXPECT_FALSE(is_valid_capacity(capacity + 4)) << capacity;
    EXPECT_FALSE(is_valid_capacity(capacity - 4)) << capacity;
  }
  for (const std::uint32_t capacity : {0U, 1U, 0x10000U, 0x8000000U, 0x80000000U, 0xFFFFFFFFU}) {
    EXPECT_FALSE(is_valid_capacity(capacity)) << capacity;
  }
}

TEST(Layout, a_ring_of_a_size_has_one_capacity_and_other_sizes_have_none) {
  for (std::uint32_t capacity = kMinCapacity; capacity <= kMaxCapacity; capacity *= 2) {
    const std::uint32_t bytes = 12 + capacity + 0x10000;
    EXPECT_EQ(ring_bytes(capacity), bytes);
    EXPECT_EQ(capacity_of(bytes), capacity);
    EXPECT_EQ(capacity_of(bytes - 1), 0U);
    EXPECT_EQ(capacity_of(bytes + 1), 0U);
  }
  for (const std::uint32_t bytes : {0U, 11U, 12U, 12U + 0x10000U, 0xFFFFFFFFU}) EXPECT_EQ(capacity_of(bytes), 0U);
}

TEST(Layout, a_packet_takes_its_size_word_and_whole_words) {
  EXPECT_EQ(slot_bytes(0), 4U);
  EXPECT_EQ(slot_bytes(1), 8U);
  EXPECT_EQ(slot_bytes(4), 8U);
  EXPECT_EQ(slot_bytes(5), 12U);
  EXPECT_EQ(slot_bytes(0xFFFF), 0x10004U);
}

TEST(Layout, the_longest_packet_at_the_last_word_ends_with_the_ring) {
  EXPECT_EQ(sizeof(Ring) + kMinCapacity - 4 + slot_bytes(kMaxPacketSize), ring_bytes(kMinCapacity));
}

TEST(Layout, an_offset_is_below_the_capacity_and_a_whole_word) {
  EXPECT_TRUE(is_offset(0, kMinCapacity));
  EXPECT_TRUE(is_offset(kMinCapacity - 4, kMinCapacity));
  for (const std::uint32_t offset : {1U, 2U, 3U, kMinCapacity - 1, kMinCapacity, kMinCapacity + 4, kEnded}) {
    EXPECT_FALSE(is_offset(offset, kMinCapacity)) << offset;
  }
}

}  // namespace
}  // namespace wintun
