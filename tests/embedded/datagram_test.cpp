// UDP and ping between two embedded devices on a cable.
#include <gtest/gtest.h>

#include <cerrno>
#include <system_error>

#include "cable.hpp"
#include "driver/embedded/datagram.hpp"
#include "driver/embedded/ping.hpp"

namespace wintun {
namespace {

int refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

std::vector<std::uint8_t> next(Datagram& socket, SocketAddress& from) {
  if (socket.wait(in(kPatience)) != WaitStatus::signalled) throw std::runtime_error("no datagram");
  std::vector<std::uint8_t> bytes(65536);
  const Progress got = socket.receive(bytes, from);
  if (got.error != 0) throw std::system_error(got.error, std::generic_category());
  bytes.resize(got.bytes);
  return bytes;
}

TEST(datagram, each_arrives_whole_with_its_sender_also_in_fragments) {
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    Pair pair;
    Cable cable(pair.a, pair.b);
    const auto server = Datagram::open(pair.b.endpoint, at(host, 53), std::nullopt);
    const auto client = Datagram::open(pair.a.endpoint, std::nullopt, at(host, 53));
    for (const std::size_t size : {0U, 1U, 1400U, 1473U, 30000U, 60000U}) {
      const auto bytes = pattern(size, 1);
      ASSERT_EQ(client->send(bytes, std::nullopt).error, 0);
      SocketAddress from;
      EXPECT_TRUE(next(*server, from) == bytes) << size;
      EXPECT_EQ(from.port, client->local().port);
      ASSERT_EQ(server->send(bytes, from).error, 0);
      EXPECT_TRUE(next(*client, from) == bytes);
    }
  }
}

TEST(datagram, a_connected_one_hears_its_peer_alone) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto peer = Datagram::open(pair.b.endpoint, at("10.9.0.2", 53), std::nullopt);
  const auto stranger = Datagram::open(pair.b.endpoint, at("10.9.0.2", 54), std::nullopt);
  const auto client = Datagram::open(pair.a.endpoint, at("10.9.0.1", 1000), at("10.9.0.2", 53));
  ASSERT_EQ(stranger->send(pattern(8, 1), at("10.9.0.1", 1000)).error, 0);
  ASSERT_EQ(peer->send(pattern(8, 2), at("10.9.0.1", 1000)).error, 0);
  SocketAddress from;
  EXPECT_TRUE(next(*client, from) == pattern(8, 2));
  EXPECT_EQ(from.port, 53);
}

TEST(datagram, what_nobody_receives_is_bounded_and_counted) {
  Pair pair(16000);
  const auto server = Datagram::open(pair.b.endpoint, at("10.9.0.2", 53), std::nullopt);
  const auto client = Datagram::open(pair.a.endpoint, std::nullopt, at("10.9.0.2", 53));
  Cable cable(pair.a, pair.b);
  const auto bytes = pattern(15000, 1);
  for (int i = 0; i < 400; ++i) {
    const std::uint64_t before = cable.carried();
    ASSERT_EQ(client->send(bytes, std::nullopt).error, 0);
    while (cable.carried() == before) std::this_thread::yield();
  }
  EXPECT_GT(server->drops(), 100U);
  EXPECT_LE(pair.b.endpoint->received().load(), Datagram::kKept + (1 << 20));
  SocketAddress from;
  EXPECT_TRUE(next(*server, from) == bytes);
}

TEST(datagram, bad_requests_are_refused_with_a_reason) {
  Pair pair;
  const auto one = Datagram::open(pair.a.endpoint, at("10.9.0.1", 1000), std::nullopt);
  EXPECT_EQ(refusal([&] { (void)Datagram::open(pair.a.endpoint, at("10.9.0.1", 1000), std::nullopt); }), EADDRINUSE);
  EXPECT_EQ(refusal([&] { (void)Datagram::open(pair.b.endpoint, at("10.9.0.2", 1000), std::nullopt); }), 0);
  EXPECT_EQ(refusal([&] { (void)Datagram::open(pair.a.endpoint, at("10.9.0.8", 0), std::nullopt); }), EADDRNOTAVAIL);
  EXPECT_EQ(refusal([&] { (void)Datagram::open(pair.a.endpoint, at("10.9.0.1", 0), at("fd09::2", 1)); }), EINVAL);
  EXPECT_EQ(one->send(pattern(8, 1), std::nullopt).error, EDESTADDRREQ);
  EXPECT_EQ(one->send(pattern(65508, 1), at("10.9.0.2", 53)).error, EMSGSIZE);
  pair.a.device->down();
  EXPECT_EQ(one->send(pattern(8, 1), at("10.9.0.2", 53)).error, ENETDOWN);
  pair.a.device->close();
  EXPECT_EQ(one->error(), ENODEV);
}

TEST(ping, measures_a_round_trip_of_any_size_over_both_families) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    for (const std::size_t size : {0U, 56U, 5000U}) {
      const auto ping = Ping::send(pair.a.endpoint, address(host), size);
      ASSERT_EQ(ping->wait(in(kPatience)), WaitStatus::signalled) << host << " " << size;
      ASSERT_TRUE(ping->round_trip().has_value());
      EXPECT_GT(ping->round_trip()->count(), 0);
    }
  }
}

TEST(ping, nobody_there_is_no_round_trip) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto ping = Ping::send(pair.a.endpoint, address("10.9.0.7"));
  EXPECT_EQ(ping->wait(in(std::chrono::milliseconds(300))), WaitStatus::timed_out);
  EXPECT_FALSE(ping->round_trip().has_value());
  pair.a.device->close();
  EXPECT_EQ(ping->wait(in(kPatience)), WaitStatus::signalled);
  EXPECT_EQ(ping->error(), ENODEV);
}

}  // namespace
}  // namespace wintun
