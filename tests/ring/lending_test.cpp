// Lending in one thread: every order of giving back, and everything that is not lent is refused and changes nothing.
#include "ring/lending.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "ring_memory.hpp"

namespace wintun {
namespace {

class Lending : public testing::Test {
 protected:
  Slot allocate(std::uint32_t size) {
    Slot slot;
    EXPECT_EQ(producer_.allocate(size, slot), RingStatus::ok);
    EXPECT_TRUE(memory_.holds(slot));
    return slot;
  }
  RingStatus submit(const std::uint8_t* data) {
    bool wake = true;
    const RingStatus status = producer_.submit(data, wake);
    EXPECT_FALSE(wake);
    return status;
  }
  Slot take() {
    Slot slot;
    EXPECT_EQ(consumer_.take(slot), RingStatus::ok);
    EXPECT_TRUE(memory_.holds(slot));
    return slot;
  }
  void go_to(std::uint32_t offset) {
    while (producer_.producer().next() != offset) {
      const std::uint32_t left = wrap(offset - producer_.producer().next(), kMinCapacity);
      ASSERT_EQ(submit(allocate(std::min(left, 0x8000U) - kSizeBytes).data), RingStatus::ok);
      ASSERT_EQ(consumer_.give_back(take().data), RingStatus::ok);
    }
  }
  std::vector<std::uint8_t> snapshot() {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(ring_);
    return {bytes, memory_.end()};
  }

  RingMemory memory_;
  Ring* ring_ = memory_.ring();
  LendingProducer producer_{ring_, kMinCapacity};
  LendingConsumer consumer_{ring_, kMinCapacity};
};

TEST_F(Lending, the_tail_moves_over_a_finished_prefix_in_every_order_of_submitting) {
  for (const std::uint32_t start : {0U, kMinCapacity - 40}) {
    for (std::size_t count = 1; count <= 5; ++count) {
      std::vector<std::size_t> order(count);
      std::iota(order.begin(), order.end(), 0U);
      do {
        go_to(start);
        std::vector<Slot> slots;
        for (std::size_t i = 0; i < count; ++i) slots.push_back(allocate(static_cast<std::uint32_t>(7 * i)));
        std::vector<bool> done(count);
        for (const std::size_t i : order) {
          ASSERT_TRUE(producer_.lends());
          ASSERT_EQ(submit(slots[i].data), RingStatus::ok);
          done[i] = true;
          const auto held = std::find(done.begin(), done.end(), false) - done.begin();
          ASSERT_EQ(ring_->tail, held == 0 ? start : slots[static_cast<std::size_t>(held) - 1].end);
        }
        ASSERT_FALSE(producer_.lends());
        for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(take().size, slots[i].size);
        for (const Slot& slot : slots) ASSERT_EQ(consumer_.give_back(slot.data), RingStatus::ok);
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}

TEST_F(Lending, the_head_moves_over_a_finished_prefix_in_every_order_of_giving_back) {
  for (const std::uint32_t start : {0U, kMinCapacity - 40}) {
    for (std::size_t count = 1; count <= 5; ++count) {
      std::vector<std::size_t> order(count);
      std::iota(order.begin(), order.end(), 0U);
      do {
        go_to(start);
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_EQ(submit(allocate(static_cast<std::uint32_t>(7 * i)).data), RingStatus::ok);
        }
        std::vector<Slot> slots;
        for (std::size_t i = 0; i < count; ++i) slots.push_back(take());
        std::vector<bool> done(count);
        for (const std::size_t i : order) {
          ASSERT_TRUE(consumer_.lends());
          ASSERT_EQ(consumer_.give_back(slots[i].data), RingStatus::ok);
          done[i] = true;
          const auto held = std::find(done.begin(), done.end(), false) - done.begin();
          ASSERT_EQ(ring_->head, held == 0 ? start : slots[static_cast<std::size_t>(held) - 1].end);
        }
        ASSERT_FALSE(consumer_.lends());
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}

TEST_F(Lending, a_second_release_is_refused_and_changes_nothing) {
  for (int i = 0; i < 3; ++i) ASSERT_EQ(submit(allocate(100).data), RingStatus::ok);
  const Slot first = take();
  const Slot second = take();
  const Slot third = take();
  ASSERT_EQ(consumer_.give_back(second.data), RingStatus::ok);
  const auto before = snapshot();
  EXPECT_EQ(consumer_.give_back(second.data), RingStatus::not_held);
  EXPECT_EQ(snapshot(), before);
  ASSERT_EQ(consumer_.give_back(first.data), RingStatus::ok);
  EXPECT_EQ(consumer_.give_back(first.data), RingStatus::not_held);
  EXPECT_EQ(consumer_.give_back(second.data), RingStatus::not_held);
  EXPECT_EQ(consumer_.give_back(third.data), RingStatus::ok);
  EXPECT_EQ(consumer_.give_back(third.data), RingStatus::not_held);
}

TEST_F(Lending, a_second_submit_is_refused_and_changes_nothing) {
  const Slot first = allocate(100);
  const Slot second = allocate(100);
  ASSERT_EQ(submit(second.data), RingStatus::ok);
  const auto before = snapshot();
  EXPECT_EQ(submit(second.data), RingStatus::not_held);
  EXPECT_EQ(snapshot(), before);
  ASSERT_EQ(submit(first.data), RingStatus::ok);
  EXPECT_EQ(submit(first.data), RingStatus::not_held);
}

TEST_F(Lending, foreign_pointers_are_refused_and_change_nothing) {
  const Slot slot = allocate(100);
  // Between its words it looks like marked packets.
  for (std::uint32_t i = 0; i < 100; ++i) slot.data[i] = i % 4 == 0 ? 0x80 : 0;
  const Slot sent = allocate(100);
  std::fill_n(sent.data, 100, std::uint8_t{0});
  ASSERT_EQ(submit(sent.data), RingStatus::ok);
  *size_word(ring_, kMinCapacity + slot.offset) = 100 | kHeld;  // behind the capacity, where none begins
  const auto before = snapshot();
  std::uint8_t elsewhere[8] = {};
  const auto* const ring = reinterpret_cast<const std::uint8_t*>(ring_);
  std::vector<const std::uint8_t*> foreign = {
      nullptr, elsewhere, ring, slot.data + 104 + 104, slot.data + kMinCapacity, memory_.end() - 1, memory_.end()};
  for (std::ptrdiff_t i = -16; i <= 100; ++i) {
    if (i != 0) foreign.push_back(slot.data + i);
  }
  for (const std::uint8_t* const data : foreign) {
    EXPECT_EQ(submit(data), RingStatus::not_held);
    EXPECT_EQ(consumer_.give_back(data), RingStatus::not_held);
  }
  EXPECT_EQ(consumer_.give_back(slot.data), RingStatus::not_held);  // lent by the other end
  EXPECT_EQ(snapshot(), before);
  EXPECT_EQ(submit(slot.data), RingStatus::ok);
}

TEST_F(Lending, what_is_lent_is_room_that_nobody_else_gets) {
  const Slot first = allocate(kMaxPacketSize);
  Slot slot;
  EXPECT_EQ(producer_.allocate(kMaxPacketSize, slot), RingStatus::full);
  ASSERT_EQ(submit(first.data), RingStatus::ok);
  const Slot taken = take();
  EXPECT_EQ(producer_.allocate(kMaxPacketSize, slot), RingStatus::full);
  ASSERT_EQ(consumer_.give_back(taken.data), RingStatus::ok);
  EXPECT_EQ(producer_.allocate(kMaxPacketSize, slot), RingStatus::ok);
}

TEST_F(Lending, sizes_that_the_other_end_rewrote_never_lead_past_what_is_lent) {
  for (int i = 0; i < 3; ++i) ASSERT_EQ(submit(allocate(100).data), RingStatus::ok);
  const Slot first = take();
  const Slot second = take();
  // The first is released by its mark; the second's size is too long for what was handed out, or none at all.
  for (const std::uint32_t size : {0xFFFFU, 0x10000U, 0x7FFFFFFFU, 0x80010000U, 0xFFFFFFFCU, 0xFFFFFFFFU}) {
    *size_word(ring_, first.offset) = 100 | kHeld;
    *size_word(ring_, second.offset) = size;
    LendingConsumer lender = consumer_;  // a copy, so that each round starts from the same state
    ASSERT_EQ(lender.give_back(first.data), RingStatus::ok) << size;
    EXPECT_EQ(ring_->head, second.offset) << size;
    EXPECT_EQ(lender.give_back(second.data), RingStatus::not_held) << size;
    EXPECT_EQ(ring_->head, second.offset) << size;
  }
  *size_word(ring_, first.offset) = 100 | kHeld;
  ASSERT_EQ(consumer_.give_back(first.data), RingStatus::ok);
  *size_word(ring_, second.offset) = 101;  // one word too long
  EXPECT_EQ(consumer_.give_back(second.data), RingStatus::not_held);
  EXPECT_EQ(ring_->head, second.offset);
}

TEST_F(Lending, a_random_traffic_of_lenders_keeps_order_and_content) {
  Random random(140);
  std::vector<Slot> filling;
  std::vector<std::pair<Slot, std::uint32_t>> reading;
  std::uint32_t sent = 0;
  std::uint32_t got = 0;
  const auto pick = [&random](auto& from) {
    std::swap(from[random() % from.size()], from.back());
    auto picked = from.back();
    from.pop_back();
    return picked;
  };
  for (int step = 0; step < 20000; ++step) {
    Slot slot;
    switch (random() % 4) {
      case 0:
        if (producer_.allocate(random() % 8 == 0 ? random() % 0x10000 : random() % 1600, slot) == RingStatus::ok) {
          fill(slot, sent++);
          filling.push_back(slot);
        }
        break;
      case 1:
        if (filling.empty()) break;
        ASSERT_EQ(submit(pick(filling).data), RingStatus::ok);
        break;
      case 2:
        if (consumer_.take(slot) == RingStatus::ok) {
          ASSERT_TRUE(memory_.holds(slot));
          reading.emplace_back(slot, got++);
        }
        break;
      default:
        if (reading.empty()) break;
        const auto [packet, number] = pick(reading);
        ASSERT_TRUE(is_filled(packet, number));
        ASSERT_EQ(consumer_.give_back(packet.data), RingStatus::ok);
    }
  }
  EXPECT_GT(got, 1000U);
}

TEST_F(Lending, what_is_submitted_after_the_end_is_taken_back_and_not_published) {
  const Slot slot = allocate(100);
  producer_.producer().end();
  EXPECT_EQ(submit(slot.data), RingStatus::ok);
  EXPECT_EQ(ring_->tail, kEnded);
  EXPECT_FALSE(producer_.lends());
}

TEST_F(Lending, what_is_given_back_after_the_end_does_not_take_the_end_back) {
  ASSERT_EQ(submit(allocate(100).data), RingStatus::ok);
  const Slot slot = take();
  consumer_.consumer().end();
  EXPECT_TRUE(consumer_.lends());
  EXPECT_EQ(consumer_.give_back(slot.data), RingStatus::ok);
  EXPECT_FALSE(consumer_.lends());
  EXPECT_EQ(ring_->head, kEnded);
}

}  // namespace
}  // namespace wintun
