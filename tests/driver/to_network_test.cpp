// What core/to_network.hpp promises a host and a program.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "fake_host.hpp"

namespace wintun {
namespace {

class ToNetworkTest : public testing::Test {
 protected:
  ToNetworkTest() {
    queue.attach(memory.ring(), memory.capacity());
    state.start();
    state.connect();
  }
  ~ToNetworkTest() override {
    for (FakePacket* packet : host.lent) (void)queue.give_back(*packet);
    EXPECT_EQ(host.alive.load(), 0);
  }

  // All that the program sends.
  void send(std::uint32_t first, std::uint32_t count, std::size_t size = 100) {
    for (std::uint32_t id = first; id < first + count; ++id) ASSERT_TRUE(put(program, content(id, size)));
  }
  bool give_back(std::size_t which) {
    FakePacket* const packet = host.lent[which];
    host.lent.erase(host.lent.begin() + static_cast<std::ptrdiff_t>(which));
    return queue.give_back(*packet);
  }

  FakeHost host;
  State<FakeHost> state;
  ToNetwork<FakeHost> queue{host, state};
  RingMemory memory;
  Producer program = memory.producer();
};

TEST_F(ToNetworkTest, packets_are_lent_in_place_with_their_version) {
  send(1, 1);
  std::vector<std::uint8_t> six = content(2, 40);
  six[0] = 0x60;
  ASSERT_TRUE(put(program, six));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  ASSERT_EQ(host.lent.size(), 2u);
  EXPECT_EQ(host.lent[0]->data, ring_data(memory.ring()) + kSizeBytes);
  EXPECT_EQ(host.lent[0]->size, 100u);
  EXPECT_EQ(host.lent[0]->version, 4u);
  EXPECT_EQ(host.lent[1]->version, 6u);
  EXPECT_EQ(queue.traffic().packets.value(), 2u);
  EXPECT_EQ(queue.traffic().bytes.value(), 140u);
}

TEST_F(ToNetworkTest, the_head_moves_over_the_returned_prefix_only) {
  send(0, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_FALSE(give_back(1));
  EXPECT_EQ(memory.head(), 0u);
  EXPECT_FALSE(give_back(0));
  EXPECT_EQ(memory.head(), 2 * slot_bytes(100));
  EXPECT_TRUE(give_back(0));
  EXPECT_EQ(memory.head(), 3 * slot_bytes(100));
}

TEST_F(ToNetworkTest, every_order_of_return_gives_the_whole_ring_back) {
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  std::uint32_t sent = 0;
  do {
    send(0, 5);
    sent = wrap(sent + 5 * slot_bytes(100), memory.capacity());
    EXPECT_EQ(queue.drain(), DrainStatus::ok);
    const std::vector<FakePacket*> packets = host.lent;
    host.lent.clear();
    for (std::size_t i = 0; i < order.size(); ++i) {
      EXPECT_EQ(queue.give_back(*packets[order[i]]), i + 1 == order.size());
    }
    EXPECT_EQ(memory.head(), sent);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(ToNetworkTest, a_packet_that_is_no_ip_is_dropped_alone) {
  send(0, 1);
  std::vector<std::uint8_t> bad = content(1, 100);
  bad[0] = 0x55;
  ASSERT_TRUE(put(program, bad));
  ASSERT_TRUE(put(program, content(2, 19)));
  std::vector<std::uint8_t> short_six = content(3, 39);
  short_six[0] = 0x60;
  ASSERT_TRUE(put(program, short_six));
  ASSERT_TRUE(put(program, {}));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(host.lent.size(), 1u);
  EXPECT_EQ(queue.traffic().drops.value(), 4u);
  EXPECT_EQ(memory.head(), 0u);
  EXPECT_TRUE(give_back(0));
  EXPECT_EQ(memory.head(), memory.tail());
}

TEST_F(ToNetworkTest, dropped_packets_with_nothing_lent_leave_the_ring_at_once) {
  ASSERT_TRUE(put(program, content(2, 19)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(memory.head(), memory.tail());
}

TEST_F(ToNetworkTest, a_host_without_memory_drops_and_counts) {
  host.no_memory = true;
  send(0, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(queue.traffic().drops.value(), 3u);
  EXPECT_EQ(memory.head(), memory.tail());
}

TEST_F(ToNetworkTest, a_stack_may_return_packets_from_inside_indicate) {
  host.on_indicate = [this](const std::vector<FakePacket*>& packets) {
    for (auto packet = packets.rbegin(); packet != packets.rend(); ++packet) (void)queue.give_back(**packet);
  };
  send(0, 10);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(memory.head(), memory.tail());
  EXPECT_TRUE(queue.is_empty());
}

TEST_F(ToNetworkTest, one_drain_is_one_burst) {
  send(0, kBurst + 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(host.lent.size(), kBurst);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(host.lent.size(), kBurst + 3u);
  EXPECT_EQ(queue.drain(), DrainStatus::nothing);
}

TEST_F(ToNetworkTest, a_ring_that_cannot_be_ends_and_stays_ended) {
  send(0, 2);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  publish_tail(&memory.ring()->tail, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(memory.head(), kEnded);
  EXPECT_FALSE(give_back(0));
  EXPECT_TRUE(give_back(0));
  EXPECT_EQ(memory.head(), kEnded);
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
}

TEST_F(ToNetworkTest, a_size_past_the_tail_ends_the_ring_without_a_packet) {
  send(0, 1);
  store_once(size_word(memory.ring(), 0), 101);
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(host.lent.size(), 0u);
}

TEST_F(ToNetworkTest, what_came_before_a_corrupt_packet_is_delivered) {
  send(0, 2);
  store_once(size_word(memory.ring(), slot_bytes(100)), 0xFFFFFFFC);
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(host.lent.size(), 1u);
}

TEST_F(ToNetworkTest, paused_or_asleep_the_ring_is_emptied_and_nothing_indicated) {
  state.pause(queue);
  send(0, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  state.start();
  state.set_power(Power::d1, queue);
  send(0, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(host.lent.size(), 0u);
  EXPECT_EQ(queue.traffic().drops.value(), 6u);
  EXPECT_EQ(memory.head(), memory.tail());
}

TEST_F(ToNetworkTest, a_disconnected_queue_does_not_touch_the_ring) {
  send(0, 1);
  state.disconnect(queue);
  queue.attach(nullptr, memory.capacity());
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
}

TEST_F(ToNetworkTest, pause_waits_for_the_packets_that_the_stack_still_has) {
  send(0, 2);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  std::atomic<bool> paused{false};
  std::thread pauser([&] {
    state.pause(queue);
    paused = true;
  });
  EXPECT_FALSE(give_back(1));
  EXPECT_FALSE(paused.load());  // one is still out, so whenever this is looked at it holds
  EXPECT_TRUE(give_back(0));
  pauser.join();
  EXPECT_TRUE(queue.is_empty());
}

TEST_F(ToNetworkTest, a_second_session_begins_at_the_start_of_its_own_ring) {
  send(0, 3);
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  while (!host.lent.empty()) (void)give_back(0);
  state.disconnect(queue);
  queue.end();
  EXPECT_EQ(memory.head(), kEnded);
  RingMemory next;
  queue.attach(next.ring(), next.capacity());
  state.connect();
  Producer again = next.producer();
  ASSERT_TRUE(put(again, content(9, 64)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(id_of(host.lent.at(0)->data), 9u);
  EXPECT_TRUE(give_back(0));
  EXPECT_EQ(next.head(), slot_bytes(64));
}

// A stack answers while a packet is indicated to it, as TCP/IP does: the answer goes the other way at once, also
// while a transition waits for this very call.
TEST_F(ToNetworkTest, a_stack_that_answers_inside_indicate_does_not_deadlock_with_a_transition) {
  RingMemory back;
  ToUser<FakeHost> to_user{host, state};
  to_user.attach(back.ring(), back.capacity());
  std::promise<void> inside;
  std::atomic<bool> transition_begun{false};
  auto answer = make_packet(1, 100);
  host.on_indicate = [&](const std::vector<FakePacket*>& packets) {
    inside.set_value();
    while (!transition_begun.load()) std::this_thread::yield();
    (void)to_user.give(answer.get());
    for (FakePacket* packet : packets) (void)queue.give_back(*packet);
  };
  send(0, 1);
  std::thread thread([&] {
    inside.get_future().wait();
    transition_begun = true;
    state.pause(queue, to_user);
  });
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  thread.join();
  EXPECT_EQ(answer->completions.load(), 1);
}

// serve(): the loop of a host's own thread.
TEST_F(ToNetworkTest, the_thread_looks_again_a_bounded_number_of_times_before_it_sleeps) {
  int looks = 0;
  int sleeps = 0;
  host.on_relax = [&] { ++looks; };
  host.on_wait = [&] { return ++sleeps < 3; };
  serve(host, queue);
  EXPECT_EQ(sleeps, 3);
  EXPECT_EQ(looks, 3 * static_cast<int>(FakeHost::kSpins));
  EXPECT_EQ(observe_alertable(&memory.ring()->alertable), 0u);
}

TEST_F(ToNetworkTest, a_packet_that_comes_while_falling_asleep_keeps_the_thread_awake) {
  int sleeps = 0;
  host.on_wait = [&] { return ++sleeps < 1; };
  std::uint32_t looks = 0;
  host.on_relax = [&] {
    // At the last look before sleep the program sends, as it were between the look and the sleep.
    if (++looks == FakeHost::kSpins) send(5, 1);
  };
  serve(host, queue);
  ASSERT_EQ(host.lent.size(), 1u);
  EXPECT_EQ(sleeps, 1);  // only after it was served
}

TEST_F(ToNetworkTest, a_program_that_ends_its_ring_ends_the_thread) {
  host.on_wait = [&] {
    program.end();
    return true;
  };
  serve(host, queue);
  EXPECT_EQ(memory.head(), kEnded);
}

class ToNetworkWriterTest : public testing::Test {
 protected:
  ToNetworkWriterTest() {
    queue.attach(memory.ring(), memory.capacity());
    state.start();
    state.connect();
    host.on_write = [this](const std::uint8_t* data, std::uint32_t size, std::uint32_t) {
      if (answer == WriteStatus::ok) written.emplace_back(data, data + size);
      return answer;
    };
  }

  FakeHost host;
  State<FakeHost> state;
  ToNetworkWriter<FakeHost> queue{host, state};
  RingMemory memory;
  Producer program = memory.producer();
  std::vector<std::vector<std::uint8_t>> written;
  WriteStatus answer = WriteStatus::ok;
};

TEST_F(ToNetworkWriterTest, packets_are_written_whole_and_leave_the_ring) {
  ASSERT_TRUE(put(program, content(1, 20)));
  ASSERT_TRUE(put(program, content(2, 0xFFFF)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written[1], content(2, 0xFFFF));
  EXPECT_EQ(memory.head(), memory.tail());
  EXPECT_EQ(queue.drain(), DrainStatus::nothing);
  EXPECT_EQ(queue.traffic().packets.value(), 2u);
}

TEST_F(ToNetworkWriterTest, what_the_host_refuses_is_counted_and_not_tried_again) {
  answer = WriteStatus::refused;
  ASSERT_TRUE(put(program, content(1, 20)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  answer = WriteStatus::ok;
  EXPECT_EQ(queue.drain(), DrainStatus::nothing);
  EXPECT_EQ(written.size(), 0u);
  EXPECT_EQ(queue.traffic().drops.value(), 1u);
  EXPECT_EQ(queue.traffic().packets.value(), 0u);
}

TEST_F(ToNetworkWriterTest, a_sink_that_is_gone_ends_the_ring_for_the_program) {
  answer = WriteStatus::gone;
  ASSERT_TRUE(put(program, content(1, 20)));
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(memory.head(), kEnded);
}

TEST_F(ToNetworkWriterTest, what_is_no_ip_is_not_written) {
  std::vector<std::uint8_t> bad = content(1, 100);
  bad[0] = 0x55;
  ASSERT_TRUE(put(program, bad));
  ASSERT_TRUE(put(program, content(2, 20)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(queue.traffic().drops.value(), 1u);
}

TEST_F(ToNetworkWriterTest, a_ring_that_cannot_be_ends) {
  ASSERT_TRUE(put(program, content(1, 100)));
  store_once(size_word(memory.ring(), 0), 0x10000);
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(memory.head(), kEnded);
  EXPECT_EQ(written.size(), 0u);
}

TEST_F(ToNetworkWriterTest, paused_it_drops_and_disconnected_it_does_not_touch_the_ring) {
  state.pause(queue);
  ASSERT_TRUE(put(program, content(1, 100)));
  EXPECT_EQ(queue.drain(), DrainStatus::ok);
  EXPECT_EQ(queue.traffic().drops.value(), 1u);
  state.start();
  state.disconnect(queue);
  queue.attach(nullptr, memory.capacity());
  EXPECT_EQ(queue.drain(), DrainStatus::ended);
  EXPECT_EQ(written.size(), 0u);
}

}  // namespace
}  // namespace wintun
