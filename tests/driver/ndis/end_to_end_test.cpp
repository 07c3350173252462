// A program and a stack with the driver between them: both directions, through rings.
#include <thread>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

class EndToEndTest : public NdisTest {
 protected:
  void SetUp() override {
    NdisTest::SetUp();
    ASSERT_EQ(adapter().start(), kSuccess);
    device_ = open();
    rings_.emplace(program());
    ASSERT_EQ(enroll(device_, *rings_), kSuccess);
  }
  ProgramRings& rings() { return *rings_; }

  HANDLE device_ = nullptr;
  std::optional<ProgramRings> rings_;
};

TEST_F(EndToEndTest, packets_of_the_stack_reach_the_program_in_order_and_are_completed) {
  for (std::uint32_t number = 0; number < 100; ++number) adapter().send_packet(packet_of(20 + number * 11, number));
  for (std::uint32_t number = 0; number < 100; ++number) {
    ASSERT_EQ(rings().receive(), packet_of(20 + number * 11, number));
  }
  adapter().wait_for_sends();
  std::uint64_t list = 0;
  for (const kernel::Completion& completion : adapter().completions()) {
    EXPECT_EQ(completion.status, kSuccess);
    EXPECT_TRUE(list == 0 || completion.list == list + 1) << completion.list << " after " << list;
    list = completion.list;
  }
  EXPECT_NE(list, 0U);
}

TEST_F(EndToEndTest, packets_in_many_pieces_and_with_room_in_front_arrive_whole) {
  const Bytes packet = packet_of(4000, 3, true);
  for (const std::size_t piece : {1U, 7U, 1000U}) {
    kernel::SendOptions options;
    options.mdl_bytes = piece;
    options.data_offset = 33;
    options.at_dispatch = piece == 7;
    adapter().send({{packet, packet_of(60, 1)}, {packet_of(61, 2)}}, options);
    EXPECT_EQ(rings().receive(), packet);
    EXPECT_EQ(rings().receive(), packet_of(60, 1));
    EXPECT_EQ(rings().receive(), packet_of(61, 2));
  }
}

TEST_F(EndToEndTest, packets_of_the_program_reach_the_stack_with_their_protocol) {
  std::vector<std::uint16_t> protocols;
  adapter().on_receive([&](const kernel::Received& received) {
    protocols.push_back(received.protocol);
    return true;
  });
  ASSERT_EQ(rings().send(packet_of(100, 1)), RingStatus::ok);
  ASSERT_EQ(rings().send(packet_of(200, 2, true)), RingStatus::ok);
  ASSERT_TRUE(adapter().wait_received(2, kLong));
  EXPECT_EQ(adapter().received(), (std::vector<Bytes>{packet_of(100, 1), packet_of(200, 2, true)}));
  adapter().pause();  // the indications are over
  EXPECT_EQ(protocols, (std::vector<std::uint16_t>{0x0008, 0xDD86}));
}

TEST_F(EndToEndTest, a_packet_that_is_no_ip_is_dropped_and_counted) {
  ASSERT_EQ(rings().send(Bytes(100, 0x15)), RingStatus::ok);
  ASSERT_EQ(rings().send(packet_of(19, 1)), RingStatus::ok);
  ASSERT_EQ(rings().send(packet_of(50, 2)), RingStatus::ok);
  ASSERT_TRUE(adapter().wait_received(1, kLong));
  EXPECT_EQ(adapter().received(), std::vector<Bytes>{packet_of(50, 2)});
  EXPECT_EQ(statistics().ifInDiscards, 2U);
}

TEST_F(EndToEndTest, lists_returned_late_and_in_any_order_free_the_ring_in_order) {
  adapter().on_receive([](const kernel::Received&) { return false; });
  for (std::uint32_t number = 0; number < 3; ++number) ASSERT_EQ(rings().send(packet_of(96, number)), RingStatus::ok);
  const auto kept = wait_kept(3);
  ASSERT_EQ(kept.size(), 3U);
  adapter().give_back({kept[2], kept[1]}, true);
  EXPECT_EQ(__atomic_load_n(&rings().down()->head, __ATOMIC_ACQUIRE), 0U);
  adapter().give_back({kept[0]});
  EXPECT_EQ(__atomic_load_n(&rings().down()->head, __ATOMIC_ACQUIRE), 300U);
}

TEST_F(EndToEndTest, a_full_ring_drops_with_a_status_and_counts) {
  const Bytes packet = packet_of(0x8000, 1);
  for (int i = 0; i < 5; ++i) adapter().send_packet(packet);
  adapter().wait_for_sends();
  std::size_t refused = 0;
  for (const auto& completion : adapter().completions()) refused += completion.status != kSuccess;
  EXPECT_EQ(refused, 2U);  // three fit into 0x20000 bytes, with their sizes
  EXPECT_EQ(statistics().ifOutDiscards, 2U);
}

TEST_F(EndToEndTest, both_directions_at_once_lose_nothing) {
  constexpr std::uint32_t kPackets = 3000;  // all of them fit into the ring to the program, so none is dropped
  ASSERT_EQ(program().close(device_), kSuccess);
  rings_.emplace(program(), 0x100000);
  ASSERT_EQ(enroll(open(), *rings_), kSuccess);
  std::thread stack([this] {
    for (std::uint32_t number = 0; number < kPackets; ++number) {
      adapter().send_packet(packet_of(40 + number % 100, number));
      if (number % 50 == 49) adapter().wait_for_sends();
    }
  });
  std::thread writer([this] {
    for (std::uint32_t number = 0; number < kPackets;) {
      if (rings().send(packet_of(40 + number % 900, number)) == RingStatus::ok) {
        ++number;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint32_t came = 0;
  while (came < kPackets) {
    const auto packet = rings().receive();
    if (!packet || *packet != packet_of(40 + came % 100, came)) break;
    ++came;
  }
  EXPECT_EQ(came, kPackets);
  stack.join();
  writer.join();
  EXPECT_TRUE(adapter().wait_received(kPackets, kLong));
  const auto received = adapter().received();
  ASSERT_EQ(received.size(), kPackets);
  for (std::uint32_t number = 0; number < kPackets; ++number) {
    ASSERT_EQ(received[number], packet_of(40 + number % 900, number));
  }
}

TEST_F(EndToEndTest, a_stack_may_answer_from_inside_the_indication) {
  adapter().on_receive([this](const kernel::Received& received) {
    adapter().send_packet(Bytes(received.data, received.data + received.size));
    return true;
  });
  for (std::uint32_t number = 0; number < 200; ++number) {
    ASSERT_EQ(rings().send(packet_of(64, number)), RingStatus::ok);
    ASSERT_EQ(rings().receive(), packet_of(64, number));
  }
}

}  // namespace
}  // namespace wintun::ndis_test
