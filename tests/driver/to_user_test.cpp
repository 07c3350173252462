// What core/to_user.hpp promises a host and a program.
#include <gtest/gtest.h>

#include <future>

#include "fake_host.hpp"

namespace wintun {
namespace {

class ToUserTest : public testing::Test {
 protected:
  ToUserTest() {
    queue.attach(memory.ring(), memory.capacity());
    state.start();
    state.connect();
  }

  std::vector<std::uint32_t> ids_in_ring() {
    std::vector<std::uint32_t> ids;
    Slot slot;
    while (consumer.next(slot) == RingStatus::ok) {
      EXPECT_EQ(std::vector<std::uint8_t>(slot.data, slot.data + slot.size), content(id_of(slot.data), slot.size));
      ids.push_back(id_of(slot.data));
      consumer.release(slot.end);
    }
    return ids;
  }

  FakeHost host;
  State<FakeHost> state;
  ToUser<FakeHost> queue{host, state};
  RingMemory memory;
  Consumer consumer = memory.consumer();
};

using Ids = std::vector<std::uint32_t>;

TEST_F(ToUserTest, a_chain_arrives_in_order_and_whole) {
  auto a = make_packet(1, 20), b = make_packet(2, 1499), c = make_packet(3, 0xFFFF);
  EXPECT_TRUE(queue.give(chain_of({a.get(), b.get(), c.get()})));
  EXPECT_EQ(ids_in_ring(), (Ids{1, 2, 3}));
  EXPECT_EQ(host.completed(), (Ids{1, 2, 3}));
  EXPECT_EQ(c->outcome, Outcome::delivered);
  EXPECT_EQ(queue.traffic().packets.value(), 3u);
  EXPECT_EQ(queue.traffic().bytes.value(), 20u + 1499u + 0xFFFFu);
  EXPECT_EQ(queue.traffic().drops.value(), 0u);
}

TEST_F(ToUserTest, the_programs_event_is_set_at_every_move) {
  for (std::uint32_t i = 0; i < 5; ++i) {
    auto packet = make_packet(i, 64);
    (void)queue.give(packet.get());
    EXPECT_EQ(host.wakes.load(), static_cast<int>(i) + 1);
  }
}

TEST_F(ToUserTest, a_copy_that_is_late_holds_back_the_tail_and_the_completions) {
  auto slow = make_packet(1, 100), quick = make_packet(2, 100);
  std::promise<void> copying, go_on;
  host.on_copy = [&](FakePacket& packet) {
    if (packet.id != 1) return;
    copying.set_value();
    go_on.get_future().wait();
  };
  std::thread first([&] { (void)queue.give(slow.get()); });
  copying.get_future().wait();
  (void)queue.give(quick.get());
  EXPECT_EQ(memory.tail(), 0u);
  EXPECT_EQ(host.completed(), Ids{});
  EXPECT_FALSE(queue.is_empty());
  go_on.set_value();
  first.join();
  EXPECT_EQ(ids_in_ring(), (Ids{1, 2}));
  EXPECT_EQ(host.completed(), (Ids{1, 2}));
  EXPECT_TRUE(queue.is_empty());
}

TEST_F(ToUserTest, a_packet_that_is_given_again_is_in_flight_again) {
  auto slow = make_packet(1, 100), quick = make_packet(2, 100);
  (void)queue.give(slow.get());
  std::promise<void> copying, go_on;
  host.on_copy = [&](FakePacket& packet) {
    if (packet.id != 1) return;
    copying.set_value();
    go_on.get_future().wait();
  };
  std::thread first([&] { (void)queue.give(slow.get()); });
  copying.get_future().wait();
  (void)queue.give(quick.get());
  EXPECT_EQ(memory.tail(), slot_bytes(100));
  EXPECT_EQ(host.completed(), Ids{1});
  go_on.set_value();
  first.join();
  EXPECT_EQ(ids_in_ring(), (Ids{1, 1, 2}));
}

TEST_F(ToUserTest, a_packet_that_finishes_during_a_completion_is_completed_after_it) {
  auto first = make_packet(1, 100), second = make_packet(2, 100);
  std::promise<void> completing, go_on;
  host.on_complete = [&](FakePacket& packet) {
    if (packet.id != 1) return;
    completing.set_value();
    go_on.get_future().wait();
  };
  std::thread thread([&] { (void)queue.give(first.get()); });
  completing.get_future().wait();
  (void)queue.give(second.get());
  EXPECT_EQ(second->completions.load(), 0);
  go_on.set_value();
  thread.join();
  EXPECT_EQ(host.completed(), (Ids{1, 2}));
}

TEST_F(ToUserTest, a_stack_may_send_from_inside_complete) {
  auto first = make_packet(1, 100), second = make_packet(2, 100);
  host.on_complete = [&](FakePacket& packet) {
    if (packet.id == 1) (void)queue.give(second.get());
  };
  (void)queue.give(first.get());
  EXPECT_EQ(host.completed(), (Ids{1, 2}));
  EXPECT_EQ(ids_in_ring(), (Ids{1, 2}));
}

TEST_F(ToUserTest, a_full_ring_drops_what_does_not_fit_and_takes_what_does) {
  auto large = make_packet(1, 0xFFFF), too_much = make_packet(2, 0xFFFF), small = make_packet(3, 20);
  EXPECT_TRUE(queue.give(chain_of({large.get(), too_much.get(), small.get()})));
  EXPECT_EQ(ids_in_ring(), (Ids{1, 3}));
  EXPECT_EQ(too_much->outcome, Outcome::no_room);
  EXPECT_EQ(small->outcome, Outcome::delivered);
  EXPECT_EQ(queue.traffic().drops.value(), 1u);
}

TEST_F(ToUserTest, a_packet_over_the_limit_is_refused_by_its_own_reason) {
  auto packet = make_packet(1, 0x10000), next = make_packet(2, 20);
  EXPECT_TRUE(queue.give(chain_of({packet.get(), next.get()})));
  EXPECT_EQ(packet->outcome, Outcome::too_large);
  EXPECT_EQ(ids_in_ring(), Ids{2});
}

TEST_F(ToUserTest, a_program_that_ended_its_ring_is_reported) {
  consumer.end();
  auto packet = make_packet(1, 0xFFFF), next = make_packet(2, 0xFFFF);
  EXPECT_FALSE(queue.give(chain_of({packet.get(), next.get()})));
  EXPECT_EQ(next->outcome, Outcome::ended);
  EXPECT_EQ(next->completions.load(), 1);
}

TEST_F(ToUserTest, a_head_that_cannot_be_ends_the_program) {
  publish_head(&memory.ring()->head, 6);
  auto packet = make_packet(1, 0xFFFF), next = make_packet(2, 0xFFFF);
  EXPECT_FALSE(queue.give(chain_of({packet.get(), next.get()})));
  EXPECT_EQ(next->outcome, Outcome::ended);
}

TEST_F(ToUserTest, marks_in_the_ring_cannot_publish_an_unfinished_copy) {
  auto slow = make_packet(1, 100), quick = make_packet(2, 100);
  std::promise<void> copying, go_on;
  host.on_copy = [&](FakePacket& packet) {
    if (packet.id != 1) return;
    copying.set_value();
    go_on.get_future().wait();
  };
  std::thread first([&] { (void)queue.give(slow.get()); });
  copying.get_future().wait();
  store_once(size_word(memory.ring(), 0), 0xFFFFFFFC);  // the program rewrites the size of what is being copied
  (void)queue.give(quick.get());
  EXPECT_EQ(memory.tail(), 0u);
  go_on.set_value();
  first.join();
  EXPECT_EQ(memory.tail(), 2 * slot_bytes(100));
}

TEST_F(ToUserTest, every_state_that_admits_nothing_gives_its_reason) {
  auto packet = make_packet(1, 100);
  const auto reason = [&] {
    packet->flight.next = nullptr;
    (void)queue.give(packet.get());
    return packet->outcome;
  };
  state.pause(queue);
  EXPECT_EQ(reason(), Outcome::paused);
  state.start();
  for (const Power power : {Power::d1, Power::d2, Power::d3}) {
    state.set_power(power, queue);
    EXPECT_EQ(reason(), Outcome::asleep);
  }
  state.set_power(Power::d0, queue);
  EXPECT_EQ(reason(), Outcome::delivered);
  state.disconnect(queue);
  EXPECT_EQ(reason(), Outcome::disconnected);
  EXPECT_EQ(queue.traffic().drops.value(), 5u);
  EXPECT_EQ(queue.traffic().packets.value(), 1u);
}

TEST_F(ToUserTest, the_end_is_told_once_to_a_program_that_sleeps) {
  state.disconnect(queue);
  queue.end();
  Slot slot;
  EXPECT_EQ(consumer.next(slot), RingStatus::ended);
  EXPECT_EQ(host.wakes.load(), 1);
}

class ToUserReaderTest : public testing::Test {
 protected:
  ToUserReaderTest() {
    queue.attach(memory.ring(), memory.capacity());
    state.start();
    state.connect();
    host.on_read = [this](std::uint8_t* into, std::uint32_t room) -> ReadResult {
      ++reads;
      if (gone) return {ReadStatus::gone, 0};
      if (kernel.empty()) return {ReadStatus::nothing, 0};
      const auto packet = kernel.front();
      kernel.erase(kernel.begin());
      EXPECT_GE(room, packet.size());
      std::memcpy(into, packet.data(), packet.size());
      return {ReadStatus::ok, static_cast<std::uint32_t>(packet.size())};
    };
  }

  FakeHost host;
  State<FakeHost> state;
  ToUserReader<FakeHost> queue{host, state};
  RingMemory memory;
  Consumer consumer = memory.consumer();
  std::vector<std::vector<std::uint8_t>> kernel;
  int reads = 0;
  bool gone = false;
};

TEST_F(ToUserReaderTest, packets_take_no_more_room_than_they_need) {
  kernel = {content(1, 20), content(2, 1500)};
  EXPECT_EQ(queue.fill(5), FillStatus::ok);
  EXPECT_EQ(memory.tail(), slot_bytes(20) + slot_bytes(1500));
  Slot slot;
  ASSERT_EQ(consumer.next(slot), RingStatus::ok);
  EXPECT_EQ(slot.size, 20u);
  ASSERT_EQ(consumer.next(slot), RingStatus::ok);
  EXPECT_EQ(std::vector<std::uint8_t>(slot.data, slot.data + slot.size), content(2, 1500));
  EXPECT_EQ(queue.traffic().packets.value(), 2u);
  EXPECT_EQ(queue.traffic().bytes.value(), 1520u);
}

TEST_F(ToUserReaderTest, a_limit_of_one_costs_one_read) {
  kernel = {content(1, 20), content(2, 20)};
  EXPECT_EQ(queue.fill(1), FillStatus::ok);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(kernel.size(), 1u);
}

TEST_F(ToUserReaderTest, an_empty_source_changes_nothing) {
  EXPECT_EQ(queue.fill(1), FillStatus::nothing);
  EXPECT_EQ(memory.tail(), 0u);
  kernel = {content(1, 20)};
  EXPECT_EQ(queue.fill(1), FillStatus::ok);
  EXPECT_EQ(memory.tail(), slot_bytes(20));
}

TEST_F(ToUserReaderTest, a_ring_without_room_leaves_packets_in_the_kernel) {
  kernel = {content(1, 0xFFFF), content(2, 20)};
  EXPECT_EQ(queue.fill(1), FillStatus::ok);
  EXPECT_EQ(queue.fill(1), FillStatus::full);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(kernel.size(), 1u);
  Slot slot;
  ASSERT_EQ(consumer.next(slot), RingStatus::ok);
  consumer.release(slot.end);
  EXPECT_EQ(queue.fill(1), FillStatus::ok);
  EXPECT_EQ(queue.traffic().drops.value(), 0u);
}

TEST_F(ToUserReaderTest, a_source_that_is_gone_ends_the_ring_for_the_program) {
  gone = true;
  EXPECT_EQ(queue.fill(1), FillStatus::ended);
  Slot slot;
  EXPECT_EQ(consumer.next(slot), RingStatus::ended);
}

TEST_F(ToUserReaderTest, packets_before_the_end_of_the_source_are_delivered) {
  kernel = {content(1, 20)};
  const auto read = host.on_read;
  host.on_read = [&, read](std::uint8_t* into, std::uint32_t room) {
    gone = kernel.empty();
    return read(into, room);
  };
  EXPECT_EQ(queue.fill(8), FillStatus::ok);
  Slot slot;
  ASSERT_EQ(consumer.next(slot), RingStatus::ok);
  EXPECT_EQ(id_of(slot.data), 1u);
  EXPECT_EQ(queue.fill(8), FillStatus::ended);
  EXPECT_EQ(consumer.next(slot), RingStatus::ended);
}

TEST_F(ToUserReaderTest, nothing_is_read_in_a_state_that_admits_nothing) {
  kernel = {content(1, 20)};
  state.pause(queue);
  EXPECT_EQ(queue.fill(1), FillStatus::stopped);
  state.start();
  state.set_power(Power::d2, queue);
  EXPECT_EQ(queue.fill(1), FillStatus::stopped);
  state.set_power(Power::d0, queue);
  state.disconnect(queue);
  EXPECT_EQ(queue.fill(1), FillStatus::stopped);
  EXPECT_EQ(reads, 0);
}

TEST_F(ToUserReaderTest, a_head_that_cannot_be_ends_the_ring) {
  kernel = {content(1, 0xFFFF), content(2, 0xFFFF)};
  EXPECT_EQ(queue.fill(1), FillStatus::ok);
  publish_head(&memory.ring()->head, 2);
  EXPECT_EQ(queue.fill(1), FillStatus::ended);
  EXPECT_EQ(reads, 1);
}

}  // namespace
}  // namespace wintun
