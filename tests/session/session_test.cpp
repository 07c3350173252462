// A session on a scripted library: what it lends, counts, refuses, and how the library's answers reach the caller.
#include "session/session.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <thread>

#include "fake_library.hpp"

namespace wintun {
namespace {

const auto kAdapter = reinterpret_cast<WINTUN_ADAPTER_HANDLE>(0xADA);

class SessionTest : public FakeTest, public testing::WithParamInterface<bool> {
 protected:
  void start() { ASSERT_EQ(session.start(kAdapter, 0x20000), 0u); }

  // With our batch functions, and as a library without them is used.
  Session session{GetParam() ? library : foreign};
};

INSTANTIATE_TEST_SUITE_P(Library, SessionTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "ours" : "foreign"; });

using Spans = std::vector<std::span<const std::uint8_t>>;

TEST_P(SessionTest, nothing_works_before_start_and_after_end) {
  Packet packet;
  std::size_t count = 9;
  const Bytes bytes = ipv4_packet(20, 1);
  const Spans spans{bytes};
  const auto expect_not_up = [&] {
    EXPECT_EQ(session.receive(packet), IoStatus::not_up);
    EXPECT_EQ(session.receive_many({&packet, 1}, count), IoStatus::not_up);
    EXPECT_EQ(count, 0u);
    EXPECT_EQ(session.allocate(20, packet), IoStatus::not_up);
    EXPECT_EQ(session.write(bytes), IoStatus::not_up);
    EXPECT_EQ(session.write_many(spans, count), IoStatus::not_up);
    EXPECT_EQ(session.wait(std::nullopt), IoStatus::not_up);
    EXPECT_EQ(session.wait_handle(), kNoWaitHandle);
    EXPECT_FALSE(session.is_up());
  };
  expect_not_up();
  start();
  EXPECT_TRUE(session.is_up());
  session.end();
  expect_not_up();
}

TEST_P(SessionTest, a_packet_is_lent_until_it_is_released) {
  start();
  world().deliver(ipv4_packet(33, 7));
  Packet packet;
  ASSERT_EQ(session.receive(packet), IoStatus::ok);
  EXPECT_THAT(packet.bytes(), testing::ElementsAreArray(ipv4_packet(33, 7)));
  EXPECT_EQ(world().lent.size(), 1u);
  session.release(packet);
  EXPECT_EQ(world().lent.size(), 0u);
  EXPECT_EQ(session.receive(packet), IoStatus::empty);
}

TEST_P(SessionTest, what_the_library_says_of_an_empty_ring_is_told_apart) {
  start();
  Packet packet;
  std::size_t count = 0;
  for (const auto& [error, status] : {std::pair{ERROR_NO_MORE_ITEMS, IoStatus::empty},
                                      {ERROR_HANDLE_EOF, IoStatus::ended},
                                      {ERROR_INVALID_DATA, IoStatus::corrupt}}) {
    world().receive_error = error;
    EXPECT_EQ(session.receive(packet), status);
    EXPECT_EQ(session.receive_many({&packet, 1}, count), status);
  }
  world().receive_error = ERROR_NOT_ENOUGH_MEMORY;
  errno = 0;
  EXPECT_EQ(session.receive(packet), IoStatus::failed);
  EXPECT_EQ(errno, ENOMEM);
}

TEST_P(SessionTest, many_are_received_in_order_up_to_the_room_given) {
  start();
  for (std::uint8_t i = 0; i < 200; ++i) world().deliver(ipv4_packet(20u + i, i));
  std::vector<Packet> packets(150);
  std::size_t count = 0;
  ASSERT_EQ(session.receive_many(packets, count), IoStatus::ok);
  ASSERT_EQ(count, 150u);
  for (std::uint8_t i = 0; i < 150; ++i) {
    ASSERT_THAT(packets[i].bytes(), testing::ElementsAreArray(ipv4_packet(20u + i, i)));
  }
  session.release_many(packets);
  EXPECT_EQ(world().lent.size(), 0u);
  ASSERT_EQ(session.receive_many(packets, count), IoStatus::ok);
  EXPECT_EQ(count, 50u);
  session.release_many(std::span(packets).first(count));
  EXPECT_EQ(session.receive_many(packets, count), IoStatus::empty);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(world().batch_calls > 0, GetParam());
}

TEST_P(SessionTest, a_short_batch_is_not_asked_for_again) {
  start();
  world().deliver(ipv4_packet(20, 1));
  std::vector<Packet> packets(10);
  std::size_t count = 0;
  int calls = 0;
  world().in_receive = [&] { ++calls; };
  ASSERT_EQ(session.receive_many(packets, count), IoStatus::ok);
  EXPECT_EQ(GetParam() ? world().batch_calls : calls, GetParam() ? 1 : 2);
  session.release(packets[0]);
}

TEST_P(SessionTest, an_end_behind_the_last_packets_is_told_after_them) {
  start();
  world().receive_error = ERROR_HANDLE_EOF;
  world().deliver(ipv4_packet(20, 1));
  std::vector<Packet> packets(10);
  std::size_t count = 0;
  ASSERT_EQ(session.receive_many(packets, count), IoStatus::ok);
  EXPECT_EQ(count, 1u);
  session.release(packets[0]);
  EXPECT_EQ(session.receive_many(packets, count), IoStatus::ended);
}

TEST_P(SessionTest, a_write_is_one_packet_with_the_same_bytes) {
  start();
  const Bytes bytes = ipv4_packet(1400, 9);
  EXPECT_EQ(session.write(bytes), IoStatus::ok);
  EXPECT_THAT(world().sent, testing::ElementsAre(bytes));
}

TEST_P(SessionTest, sizes_of_no_packet_are_refused_before_the_library_sees_them) {
  start();
  Packet packet;
  const Bytes fits = ipv4_packet(0xFFFF, 1), too_long = ipv4_packet(0x10000, 1);
  EXPECT_EQ(session.write({}), IoStatus::invalid);
  EXPECT_EQ(session.write(too_long), IoStatus::invalid);
  EXPECT_EQ(session.allocate(0, packet), IoStatus::invalid);
  EXPECT_EQ(session.allocate(0x10000, packet), IoStatus::invalid);
  EXPECT_EQ(session.allocate(0xFFFFFFFF, packet), IoStatus::invalid);
  std::size_t written = 9;
  EXPECT_EQ(session.write_many(Spans{fits, too_long}, written), IoStatus::invalid);
  EXPECT_EQ(written, 0u);
  EXPECT_TRUE(world().sent.empty());
  EXPECT_EQ(session.write(fits), IoStatus::ok);
}

TEST_P(SessionTest, each_packet_that_a_full_ring_refuses_is_one_drop) {
  start();
  world().room = 0;
  const Bytes bytes = ipv4_packet(60, 1);
  EXPECT_EQ(session.write(bytes), IoStatus::full);
  EXPECT_EQ(session.write(bytes), IoStatus::full);
  Packet packet;
  EXPECT_EQ(session.allocate(60, packet), IoStatus::full);
  EXPECT_EQ(session.counters().sent.drops.value(), 3u);
  EXPECT_EQ(session.counters().sent.packets.value(), 0u);
}

TEST_P(SessionTest, writing_many_stops_at_the_first_that_is_refused) {
  start();
  world().frees_room_on_send = false;
  world().room = 100;
  std::vector<Bytes> packets;
  for (std::uint8_t i = 0; i < 130; ++i) packets.push_back(ipv4_packet(20u + i, i));
  const Spans spans(packets.begin(), packets.end());
  std::size_t written = 0;
  EXPECT_EQ(session.write_many(spans, written), IoStatus::full);
  EXPECT_EQ(written, 100u);
  EXPECT_EQ(session.counters().sent.drops.value(), 1u);
  EXPECT_THAT(world().sent, testing::ElementsAreArray(packets.begin(), packets.begin() + 100));
}

TEST_P(SessionTest, writing_many_goes_on_when_sending_made_room) {
  start();
  world().room = 3;
  const std::vector<Bytes> packets(20, ipv4_packet(20, 1));
  std::size_t written = 0;
  EXPECT_EQ(session.write_many(Spans(packets.begin(), packets.end()), written), IoStatus::ok);
  EXPECT_EQ(written, 20u);
  EXPECT_EQ(session.counters().sent.drops.value(), 0u);
}

TEST_P(SessionTest, an_allocated_packet_is_sent_by_its_sender) {
  start();
  Packet packet;
  ASSERT_EQ(session.allocate(20, packet), IoStatus::ok);
  EXPECT_TRUE(world().sent.empty());
  std::fill_n(packet.data, packet.size, std::uint8_t{0x45});
  EXPECT_EQ(session.send(packet), IoStatus::ok);
  EXPECT_THAT(world().sent, testing::ElementsAre(Bytes(20, 0x45)));
}

TEST_P(SessionTest, a_packet_that_is_not_lent_changes_nothing) {
  start();
  Packet packet;
  session.release(packet);
  session.release_many({&packet, 1});
  EXPECT_EQ(session.send(packet), IoStatus::invalid);
  EXPECT_EQ(world().strangers, 0);
  session.end();
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_P(SessionTest, a_lent_packet_outlives_the_session) {
  start();
  world().deliver(ipv4_packet(40, 3));
  world().deliver(ipv4_packet(41, 4));
  Packet first, second;
  ASSERT_EQ(session.receive(first), IoStatus::ok);
  ASSERT_EQ(session.receive(second), IoStatus::ok);
  session.end();
  EXPECT_TRUE(session.has_lent());
  EXPECT_THAT(first.bytes(), testing::ElementsAreArray(ipv4_packet(40, 3)));
  session.release(second);
  EXPECT_EQ(world().sessions_ended, 0);
  EXPECT_THAT(first.bytes(), testing::ElementsAreArray(ipv4_packet(40, 3)));
  session.release(first);
  EXPECT_EQ(world().sessions_ended, 1);
  EXPECT_FALSE(session.has_lent());
  start();
}

TEST_P(SessionTest, an_allocated_packet_outlives_the_session_and_is_not_sent) {
  start();
  Packet packet;
  ASSERT_EQ(session.allocate(20, packet), IoStatus::ok);
  session.end();
  EXPECT_TRUE(session.has_lent());
  packet.data[0] = 1;
  EXPECT_EQ(session.send(packet), IoStatus::not_up);
  EXPECT_TRUE(world().sent.empty());
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_P(SessionTest, a_batch_that_is_lent_keeps_the_session_until_its_last_part) {
  start();
  for (std::uint8_t i = 0; i < 100; ++i) world().deliver(ipv4_packet(20, i));
  std::vector<Packet> packets(100);
  std::size_t count = 0;
  ASSERT_EQ(session.receive_many(packets, count), IoStatus::ok);
  session.end();
  session.release_many(std::span(packets).first(99));
  EXPECT_EQ(world().sessions_ended, 0);
  session.release_many(std::span(packets).last(1));
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_P(SessionTest, a_session_without_a_wait_event_is_ended_and_refused) {
  world().wait_event_errors = {ERROR_NOT_ENOUGH_MEMORY};
  EXPECT_EQ(session.start(kAdapter, 0x20000), ERROR_NOT_ENOUGH_MEMORY);
  EXPECT_FALSE(session.is_up());
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_P(SessionTest, counters_add_up_over_sessions) {
  for (int round = 0; round < 2; ++round) {
    start();
    world().deliver(ipv4_packet(100, 1));
    world().deliver(ipv4_packet(50, 1));
    Packet packet;
    std::size_t count = 0;
    ASSERT_EQ(session.receive(packet), IoStatus::ok);
    session.release(packet);
    ASSERT_EQ(session.receive_many({&packet, 1}, count), IoStatus::ok);
    session.release(packet);
    EXPECT_EQ(session.write(ipv4_packet(30, 1)), IoStatus::ok);
    ASSERT_EQ(session.allocate(31, packet), IoStatus::ok);
    EXPECT_EQ(session.send(packet), IoStatus::ok);
    const Bytes one = ipv4_packet(32, 1);
    EXPECT_EQ(session.write_many(Spans{one, one}, count), IoStatus::ok);
    session.end();
  }
  const SessionCounters& counters = session.counters();
  EXPECT_EQ(counters.received.packets.value(), 4u);
  EXPECT_EQ(counters.received.bytes.value(), 300u);
  EXPECT_EQ(counters.sent.packets.value(), 8u);
  EXPECT_EQ(counters.sent.bytes.value(), 2u * (30 + 31 + 32 + 32));
}

}  // namespace
}  // namespace wintun
