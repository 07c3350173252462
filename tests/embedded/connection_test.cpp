// TCP between two embedded devices on a cable: what connections promise while both sides behave.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>
#include <system_error>

#include "cable.hpp"

namespace wintun {
namespace {

// The same bytes both ways at once, and compared.
void exchange(Connection& client, Connection& server, std::size_t size) {
  const auto there = pattern(size, 1);
  const auto back = pattern(size, 2);
  std::vector<std::uint8_t> got_there, got_back;
  int sent_there = -1, sent_back = -1, received_there = -1;
  std::thread up([&] { sent_there = send_all(client, there), client.finish(); });
  std::thread down([&] { sent_back = send_all(server, back), server.finish(); });
  std::thread reader([&] { received_there = receive_all(server, got_there); });
  EXPECT_EQ(receive_all(client, got_back), 0);
  up.join();
  down.join();
  reader.join();
  EXPECT_EQ(sent_there, 0);
  EXPECT_EQ(sent_back, 0);
  EXPECT_EQ(received_there, 0);
  EXPECT_TRUE(got_there == there);
  EXPECT_TRUE(got_back == back);
}

TEST(connection, bytes_arrive_whole_and_in_order_both_ways_over_both_families) {
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    Pair pair;
    Cable cable(pair.a, pair.b);
    const auto listener = Listener::listen(pair.b.endpoint, at(host, 80));
    const auto [client, server] = meet(pair.a, *listener);
    exchange(*client, *server, 2 << 20);
    EXPECT_EQ(server->remote().port, client->local().port);
  }
}

TEST(connection, every_mtu_from_the_least_to_the_most_carries_data) {
  for (const std::uint32_t mtu : {576U, 1280U, 16000U, 65535U}) {
    Pair pair(mtu);
    std::size_t longest = 0;
    {
      Cable cable(pair.a, pair.b, [&](bool, std::span<const std::uint8_t> packet) {
        longest = std::max(longest, packet.size());
        return true;
      });
      const auto listener = Listener::listen(pair.b.endpoint, at("fd09::2", 80));
      const auto [client, server] = meet(pair.a, *listener);
      exchange(*client, *server, 1 << 20);
    }
    EXPECT_LE(longest, mtu);
    EXPECT_GT(longest, mtu - 64);
  }
}

TEST(connection, lost_packets_cost_time_and_no_byte) {
  Pair pair;
  std::uint32_t count = 0;
  Cable cable(pair.a, pair.b, [&](bool, std::span<const std::uint8_t>) { return ++count % 97 != 0; });
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  exchange(*client, *server, 512 << 10);
}

TEST(connection, a_limit_of_packets_holds_for_tcp_and_leaves_the_mtu_alone) {
  Pair pair(16000);
  pair.a.endpoint->set_packet_limit(8192);
  std::size_t from_a_most = 0, from_b_most = 0;
  {
    Cable cable(pair.a, pair.b, [&](bool from_a, std::span<const std::uint8_t> packet) {
      std::size_t& most = from_a ? from_a_most : from_b_most;
      most = std::max(most, packet.size());
      return true;
    });
    const auto listener = Listener::listen(pair.b.endpoint, at("fd09::2", 80));
    const auto [client, server] = meet(pair.a, *listener);
    exchange(*client, *server, 1 << 20);
    const auto other = Listener::listen(pair.a.endpoint, at("fd09::1", 81));
    const auto [second, accepted_by_a] = meet(pair.b, *other);
    exchange(*second, *accepted_by_a, 1 << 20);
  }
  EXPECT_LE(from_a_most, 8192U);
  EXPECT_GT(from_a_most, 8000U);
  EXPECT_GT(from_b_most, 15000U);
  EXPECT_EQ(pair.a.endpoint->mtu(), 16000U);
}

TEST(connection, each_side_finishes_on_its_own) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(100000, 3);
  EXPECT_EQ(send_all(*client, bytes), 0);
  EXPECT_EQ(client->finish(), 0);
  EXPECT_EQ(client->send(bytes).error, EPIPE);
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got), 0);
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(send_all(*server, got), 0);
  server->close();
  std::vector<std::uint8_t> back;
  EXPECT_EQ(receive_all(*client, back), 0);
  EXPECT_TRUE(back == bytes);
}

TEST(connection, what_was_sent_before_close_still_arrives) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(200000, 4);
  EXPECT_EQ(send_all(*client, bytes), 0);
  client->close();
  EXPECT_EQ(client->send(bytes).error, EBADF);
  EXPECT_EQ(client->receive({}).error, EBADF);
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got), 0);
  EXPECT_TRUE(got == bytes);
}

TEST(connection, two_thousand_at_once_each_carry_their_own_bytes) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80), Listener::kMostBacklog);
  constexpr std::uint32_t kCount = 2000;
  std::vector<std::shared_ptr<Connection>> clients, servers;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    auto [client, server] = meet(pair.a, *listener);
    EXPECT_EQ(send_all(*client, pattern(64, i)), 0);
    clients.push_back(std::move(client));
    servers.push_back(std::move(server));
  }
  std::set<std::uint16_t> ports;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    std::vector<std::uint8_t> got;
    EXPECT_EQ(receive_all(*servers[i], got, 64), 0);
    EXPECT_TRUE(got == pattern(64, i));
    ports.insert(clients[i]->local().port);
  }
  EXPECT_EQ(ports.size(), kCount);
}

TEST(connection, a_watcher_tells_of_many_by_one_descriptor) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto watcher = std::make_shared<Watcher>();
  std::vector<std::shared_ptr<Connection>> clients, servers;
  for (std::uint64_t i = 0; i < 10; ++i) {
    auto [client, server] = meet(pair.a, *listener);
    server->watch(watcher, i);
    clients.push_back(std::move(client));
    servers.push_back(std::move(server));
  }
  for (const auto& client : clients) EXPECT_EQ(send_all(*client, pattern(8, 1)), 0);
  std::set<std::uint64_t> readable;
  while (readable.size() < 10) {
    const WaitHandle handle = watcher->handle();
    ASSERT_EQ(wait_any({&handle, 1}, in(kPatience)), WaitStatus::signalled);
    for (const auto& change : watcher->take()) {
      if ((change.became & kReadable) != 0) readable.insert(change.token);
    }
  }
  EXPECT_EQ(*readable.rbegin(), 9U);
}

TEST(connection, both_sides_begin_with_ten_segments) {
  for (const std::uint32_t mtu : {1500U, 6000U}) {  // ten are less than a window without its scale, as a SYN has it
    Pair pair(mtu);
    const auto listener = Listener::listen(pair.b.endpoint, at("fd09::2", 80));
    std::shared_ptr<Connection> client, server;
    {
      Cable cable(pair.a, pair.b);
      std::tie(client, server) = meet(pair.a, *listener);
    }
    EXPECT_EQ(client->send(pattern(20 * mtu, 1)).error, 0);
    EXPECT_EQ(server->send(pattern(20 * mtu, 1)).error, 0);
    for (Node* const node : {&pair.a, &pair.b}) {
      const auto packets = taken(*node);
      EXPECT_EQ(std::count_if(packets.begin(), packets.end(), [mtu](const Bytes& one) { return one.size() == mtu; }),
                10);
    }
  }
}

TEST(connection, initial_sequence_numbers_do_not_follow_from_each_other) {
  Pair pair;
  std::mutex mutex;
  std::vector<std::uint32_t> numbers;
  {
    Cable cable(pair.a, pair.b, [&](bool from_a, std::span<const std::uint8_t> packet) {
      constexpr std::uint8_t kSyn = 2;
      if (from_a && packet.size() >= 40 && packet[9] == 6 && packet[33] == kSyn) {
        const std::scoped_lock lock(mutex);
        numbers.push_back(static_cast<std::uint32_t>(packet[24]) << 24 |
                          static_cast<std::uint32_t>(packet[25]) << 16 | static_cast<std::uint32_t>(packet[26]) << 8 |
                          packet[27]);
      }
      return true;
    });
    const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
    for (int i = 0; i < 16; ++i) (void)meet(pair.a, *listener);
  }
  // Without the hash they would be the clock's, a few thousand apart.
  std::uint32_t far = 0;
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    const std::uint32_t step = numbers[i] - numbers[i - 1];
    if (std::min(step, ~step) > 1 << 24) ++far;
  }
  EXPECT_GE(far, numbers.size() / 2);
}

}  // namespace
}  // namespace wintun
