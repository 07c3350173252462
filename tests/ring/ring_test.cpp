// A producer and a consumer in one thread: what fits, what wraps, what each end answers, and what it never touches.
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "ring/consumer.hpp"
#include "ring/producer.hpp"
#include "ring_memory.hpp"

namespace wintun {
namespace {

class RingTest : public testing::Test {
 protected:
  // Moves both ends so that the next packet begins at `offset`.
  void go_to(std::uint32_t offset) {
    Slot slot;
    while (producer_.next() != offset) {
      const std::uint32_t left = wrap(offset - producer_.next(), kMinCapacity);
      ASSERT_EQ(send(std::min(left, 0x8000U) - kSizeBytes), RingStatus::ok);
      ASSERT_EQ(receive(slot), RingStatus::ok);
    }
  }

  RingStatus send(std::uint32_t size, std::uint32_t number = 0) {
    Slot slot;
    const RingStatus status = producer_.reserve(size, slot);
    if (status != RingStatus::ok) return status;
    EXPECT_TRUE(memory_.holds(slot));
    fill(slot, number);
    EXPECT_FALSE(producer_.publish(slot.end));
    return status;
  }

  RingStatus receive(Slot& slot) {
    const RingStatus status = consumer_.next(slot);
    if (status == RingStatus::ok) {
      EXPECT_TRUE(memory_.holds(slot));
      consumer_.release(slot.end);
    }
    return status;
  }

  RingMemory memory_;
  Ring* ring_ = memory_.ring();
  Producer producer_{ring_, kMinCapacity};
  Consumer consumer_{ring_, kMinCapacity};
};

TEST_F(RingTest, a_new_ring_is_empty) {
  Slot slot;
  EXPECT_EQ(consumer_.next(slot), RingStatus::empty);
  EXPECT_EQ(slot.data, nullptr);
}

TEST_F(RingTest, packets_of_every_size_come_out_as_they_went_in) {
  Slot slot;
  for (std::uint32_t size = 0; size <= kMaxPacketSize; size += size < 70 ? 1 : 997) {
    ASSERT_EQ(send(size, size), RingStatus::ok);
    ASSERT_EQ(receive(slot), RingStatus::ok);
    ASSERT_EQ(slot.size, size);
    ASSERT_TRUE(is_filled(slot, size));
  }
  ASSERT_EQ(send(kMaxPacketSize, 1), RingStatus::ok);
  ASSERT_EQ(receive(slot), RingStatus::ok);
  EXPECT_TRUE(is_filled(slot, 1));
}

TEST_F(RingTest, a_packet_may_begin_at_every_word_near_the_end_of_the_capacity) {
  Slot slot;
  for (std::uint32_t behind = 4; behind <= 64; behind += 4) {
    for (const std::uint32_t size : {0U, 1U, behind - 4, behind, 1500U, kMaxPacketSize}) {
      go_to(kMinCapacity - behind);
      ASSERT_EQ(send(size, behind), RingStatus::ok);
      ASSERT_EQ(receive(slot), RingStatus::ok);
      ASSERT_EQ(slot.size, size);
      ASSERT_TRUE(is_filled(slot, behind));
      ASSERT_EQ(producer_.next(), wrap(kMinCapacity - behind + slot_bytes(size), kMinCapacity));
      ASSERT_EQ(ring_->head, ring_->tail);
    }
  }
}

TEST_F(RingTest, what_a_full_ring_holds_is_all_but_one_word) {
  for (const std::uint32_t start : {0U, 4U, 0x10000U, kMinCapacity - 4}) {
    go_to(start);
    // Room for 0x20000 - 4 bytes: one packet of the largest size, and one that leaves nothing.
    ASSERT_EQ(send(kMaxPacketSize), RingStatus::ok);
    const std::uint32_t rest = kMinCapacity - kAlignment - slot_bytes(kMaxPacketSize);
    EXPECT_EQ(send(rest - kSizeBytes + 1), RingStatus::full);
    ASSERT_EQ(send(rest - kSizeBytes), RingStatus::ok);
    EXPECT_EQ(send(0), RingStatus::full);
    Slot slot;
    ASSERT_EQ(receive(slot), RingStatus::ok);
    ASSERT_EQ(receive(slot), RingStatus::ok);
    EXPECT_EQ(receive(slot), RingStatus::empty);
  }
}

TEST_F(RingTest, a_full_ring_takes_a_packet_as_soon_as_one_is_released) {
  std::uint32_t count = 0;
  while (send(1500, count) == RingStatus::ok) ++count;
  EXPECT_EQ(count, (kMinCapacity - 4) / slot_bytes(1500));
  Slot slot;
  for (std::uint32_t i = 0; i < 3 * count; ++i) {
    ASSERT_EQ(consumer_.next(slot), RingStatus::ok);
    ASSERT_TRUE(is_filled(slot, i));
    ASSERT_EQ(send(1500), RingStatus::full);
    consumer_.release(slot.end);
    ASSERT_EQ(send(1500, count + i), RingStatus::ok);
  }
}

TEST_F(RingTest, a_random_stream_is_kept_in_order) {
  Random random(51820);
  std::deque<std::uint32_t> sizes;
  std::uint32_t sent = 0;
  std::uint32_t got = 0;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      const std::uint32_t size = random() % 8 == 0 ? random() % 0x10000 : random() % 1600;
      if (send(size, sent) == RingStatus::ok) {
        sizes.push_back(size);
        ++sent;
      }
    } else {
      Slot slot;
      const RingStatus status = receive(slot);
      ASSERT_EQ(status, sizes.empty() ? RingStatus::empty : RingStatus::ok);
      if (sizes.empty()) continue;
      ASSERT_EQ(slot.size, sizes.front());
      ASSERT_TRUE(is_filled(slot, got++));
      sizes.pop_front();
    }
  }
}

TEST_F(RingTest, a_size_above_the_largest_is_refused_and_changes_nothing) {
  for (const std::uint32_t size : {0x10000U, 0x7FFFFFFFU, 0xFFFFFFFCU, 0xFFFFFFFFU}) {
    Slot slot;
    EXPECT_EQ(producer_.reserve(size, slot), RingStatus::too_large);
    EXPECT_EQ(slot.data, nullptr);
    EXPECT_EQ(producer_.next(), 0U);
  }
}

TEST_F(RingTest, what_is_not_published_is_not_seen) {
  Slot first;
  Slot second;
  ASSERT_EQ(producer_.reserve(100, first), RingStatus::ok);
  ASSERT_EQ(producer_.reserve(200, second), RingStatus::ok);
  Slot seen;
  EXPECT_EQ(consumer_.next(seen), RingStatus::empty);
  EXPECT_FALSE(producer_.publish(first.end));
  EXPECT_EQ(consumer_.next(seen), RingStatus::ok);
  EXPECT_EQ(seen.size, 100U);
  EXPECT_EQ(consumer_.next(seen), RingStatus::empty);
  EXPECT_FALSE(producer_.publish(second.end));
  EXPECT_EQ(consumer_.next(seen), RingStatus::ok);
  EXPECT_EQ(seen.size, 200U);
}

TEST_F(RingTest, a_shrunk_reservation_gives_the_rest_back) {
  for (const std::uint32_t start : {0U, kMinCapacity - 4}) {
    go_to(start);
    Slot slot;
    ASSERT_EQ(producer_.reserve(kMaxPacketSize, slot), RingStatus::ok);
    producer_.shrink(slot, 41);
    EXPECT_TRUE(memory_.holds(slot));
    fill(slot, 9);
    EXPECT_EQ(producer_.next(), wrap(start + slot_bytes(41), kMinCapacity));
    EXPECT_FALSE(producer_.publish(slot.end));
    Slot seen;
    ASSERT_EQ(receive(seen), RingStatus::ok);
    EXPECT_EQ(seen.size, 41U);
    EXPECT_TRUE(is_filled(seen, 9));
  }
}

TEST_F(RingTest, an_abandoned_reservation_leaves_no_trace) {
  Slot slot;
  ASSERT_EQ(producer_.reserve(1500, slot), RingStatus::ok);
  producer_.abandon(slot);
  EXPECT_EQ(producer_.next(), 0U);
  ASSERT_EQ(send(60, 3), RingStatus::ok);
  ASSERT_EQ(receive(slot), RingStatus::ok);
  EXPECT_EQ(slot.size, 60U);
  EXPECT_EQ(receive(slot), RingStatus::empty);
}

TEST_F(RingTest, an_ended_producer_is_noticed_and_stays_ended) {
  Slot slot;
  ASSERT_EQ(producer_.reserve(10, slot), RingStatus::ok);
  producer_.end();
  EXPECT_EQ(ring_->tail, kEnded);
  Slot seen;
  EXPECT_EQ(consumer_.next(seen), RingStatus::ended);
  EXPECT_FALSE(producer_.publish(slot.end));  // a late holder
  EXPECT_EQ(ring_->tail, kEnded);
  EXPECT_EQ(consumer_.next(seen), RingStatus::ended);
}

TEST_F(RingTest, an_ended_consumer_is_noticed_and_stays_ended) {
  ASSERT_EQ(send(10), RingStatus::ok);
  Slot slot;
  ASSERT_EQ(consumer_.next(slot), RingStatus::ok);
  consumer_.end();
  EXPECT_EQ(producer_.look(), RingStatus::ended);
  consumer_.release(slot.end);  // a late holder
  EXPECT_EQ(ring_->head, kEnded);
  EXPECT_EQ(producer_.look(), RingStatus::ended);
  RingStatus status = RingStatus::ok;
  while (status == RingStatus::ok) status = send(kMaxPacketSize);
  EXPECT_EQ(status, RingStatus::ended);
}

TEST_F(RingTest, every_offset_at_or_above_the_capacity_is_an_end) {
  Slot slot;
  for (const std::uint32_t offset : {kMinCapacity, kMinCapacity + 1, 0x80000000U, kEnded}) {
    ring_->tail = offset;
    EXPECT_EQ(consumer_.next(slot), RingStatus::ended) << offset;
    ring_->head = offset;
    EXPECT_EQ(producer_.look(), RingStatus::ended) << offset;
  }
}

TEST_F(RingTest, an_offset_between_words_is_corrupt) {
  Slot slot;
  ASSERT_EQ(send(8), RingStatus::ok);
  *size_word(ring_, 0) = 0;  // so that only the offset is wrong
  for (const std::uint32_t offset : {1U, 2U, 3U, 5U, 11U, kMinCapacity - 1}) {
    ring_->tail = offset;
    Consumer fresh = consumer_;
    EXPECT_EQ(fresh.next(slot), RingStatus::corrupt) << offset;
    ring_->head = offset;
    EXPECT_EQ(producer_.look(), RingStatus::corrupt) << offset;
  }
  EXPECT_EQ(slot.data, nullptr);
}

TEST_F(RingTest, consumer_stops_at_a_length_past_the_tail) {
  Slot slot;
  ASSERT_EQ(send(8), RingStatus::ok);
  for (const std::uint32_t size : {9U, 0xFFFFU, 0x10000U, 0x80000008U, 0xFFFFFFFCU, 0xFFFFFFFFU}) {
    *size_word(ring_, 0) = size;
    EXPECT_EQ(consumer_.next(slot), RingStatus::corrupt) << size;
    EXPECT_EQ(consumer_.next_offset(), 0U);
  }
  *size_word(ring_, 0) = 7;  // ends within the last word of what is there
  EXPECT_EQ(consumer_.next(slot), RingStatus::ok);
}

TEST_F(RingTest, consumer_stops_at_a_tail_that_overtakes_what_is_in_use) {
  Slot first;
  Slot second;
  ASSERT_EQ(send(100), RingStatus::ok);
  ASSERT_EQ(send(100), RingStatus::ok);
  ASSERT_EQ(consumer_.next(first), RingStatus::ok);
  ASSERT_EQ(consumer_.next(second), RingStatus::ok);
  Slot slot;
  ring_->tail = second.offset;  // back into a packet that is handed out
  EXPECT_EQ(consumer_.next(slot), RingStatus::corrupt);
  ring_->tail = second.end;
  EXPECT_EQ(consumer_.next(slot), RingStatus::empty);
}

TEST_F(RingTest, producer_stops_at_a_head_that_frees_what_is_not_published) {
  Slot first;
  Slot second;
  ASSERT_EQ(producer_.reserve(100, first), RingStatus::ok);
  ASSERT_EQ(producer_.reserve(100, second), RingStatus::ok);
  ring_->head = first.end;
  EXPECT_EQ(producer_.look(), RingStatus::corrupt);
  EXPECT_FALSE(producer_.publish(first.end));
  EXPECT_EQ(producer_.look(), RingStatus::ok);
  ring_->head = 0;  // back again
  EXPECT_EQ(producer_.look(), RingStatus::corrupt);
}

TEST_F(RingTest, an_empty_ring_begins_again_at_its_start) {
  Slot slot;
  go_to(0x5000);
  ASSERT_TRUE(producer_.rewind());
  consumer_.rewind();
  EXPECT_EQ(receive(slot), RingStatus::empty);
  EXPECT_EQ(send(100, 7), RingStatus::ok);
  ASSERT_EQ(receive(slot), RingStatus::ok);
  EXPECT_EQ(slot.offset, 0u);
  EXPECT_TRUE(is_filled(slot, 7));
  EXPECT_EQ(ring_->head, producer_.next());
}

TEST_F(RingTest, a_ring_in_use_does_not_begin_again) {
  Slot slot;
  go_to(0x5000);
  ASSERT_EQ(send(100), RingStatus::ok);
  EXPECT_FALSE(producer_.rewind()) << "a packet is not consumed";
  ASSERT_EQ(consumer_.next(slot), RingStatus::ok);
  EXPECT_FALSE(producer_.rewind()) << "a packet is not given back";
  consumer_.release(slot.end);
  Slot reserved;
  ASSERT_EQ(producer_.reserve(100, reserved), RingStatus::ok);
  EXPECT_FALSE(producer_.rewind()) << "room is reserved";
  producer_.abandon(reserved);
  consumer_.end();
  EXPECT_FALSE(producer_.rewind()) << "the consumer has ended";
  EXPECT_EQ(producer_.next(), slot.end);
}

TEST_F(RingTest, a_sleeping_consumer_is_announced_and_an_awake_one_is_not) {
  Slot slot;
  EXPECT_FALSE(producer_.publish(0));
  EXPECT_TRUE(consumer_.prepare_to_wait());
  EXPECT_EQ(ring_->alertable, 1U);
  ASSERT_EQ(producer_.reserve(10, slot), RingStatus::ok);
  EXPECT_TRUE(producer_.publish(slot.end));
  consumer_.finish_wait();
  EXPECT_EQ(ring_->alertable, 0U);
  ASSERT_EQ(producer_.reserve(10, slot), RingStatus::ok);
  EXPECT_FALSE(producer_.publish(slot.end));
}

TEST_F(RingTest, a_consumer_does_not_sleep_on_a_packet_or_an_end) {
  ASSERT_EQ(send(10), RingStatus::ok);
  EXPECT_FALSE(consumer_.prepare_to_wait());
  consumer_.finish_wait();
  Slot slot;
  ASSERT_EQ(receive(slot), RingStatus::ok);
  EXPECT_TRUE(consumer_.prepare_to_wait());
  consumer_.finish_wait();
  producer_.end();
  EXPECT_FALSE(consumer_.prepare_to_wait());
}

TEST_F(RingTest, several_packets_are_published_and_released_at_once) {
  Slot slot;
  for (std::uint32_t i = 0; i < 32; ++i) {
    ASSERT_EQ(producer_.reserve(64, slot), RingStatus::ok);
    fill(slot, i);
  }
  EXPECT_FALSE(producer_.publish(producer_.next()));
  for (std::uint32_t i = 0; i < 32; ++i) {
    ASSERT_EQ(consumer_.next(slot), RingStatus::ok);
    EXPECT_TRUE(is_filled(slot, i));
  }
  EXPECT_EQ(ring_->head, 0U);
  consumer_.release(consumer_.next_offset());
  EXPECT_EQ(ring_->head, 32 * slot_bytes(64));
}

}  // namespace
}  // namespace wintun
