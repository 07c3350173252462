// Connections when something is wrong: nobody there, nobody reads, the device goes away.
#include <gtest/gtest.h>

#include <cerrno>
#include <system_error>

#include "cable.hpp"

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

int outcome(Node& from, const SocketAddress& to) {
  const auto client = Connection::connect(from.endpoint, to);
  if (client->wait(kWritable, in(kPatience)) != WaitStatus::signalled) return -1;
  std::uint8_t byte = 0;
  EXPECT_EQ(client->receive({&byte, 1}).error, client->error());
  EXPECT_EQ(client->send({&byte, 1}).error, client->error());
  return client->error();
}

TEST(trouble, a_port_without_a_server_refuses) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  EXPECT_EQ(outcome(pair.a, at("10.9.0.2", 81)), ECONNREFUSED);
  EXPECT_EQ(outcome(pair.a, at("fd09::2", 81)), ECONNREFUSED);
}

TEST(trouble, nobody_there_times_out) {
  Node alone("alone", {"10.9.0.1/24"});
  EXPECT_EQ(outcome(alone, at("10.9.0.9", 80)), ETIMEDOUT);
}

TEST(trouble, without_a_way_out_connecting_fails_at_once_and_says_why) {
  Node node("node", {"10.9.0.1/24"});
  EXPECT_EQ(refusal([&] { (void)Connection::connect(node.endpoint, at("fd09::2", 80)); }), ENETUNREACH);
  EXPECT_EQ(refusal([&] { (void)Connection::connect(node.endpoint, at("10.9.0.2", 80), at("10.9.0.7", 0)); }),
            EADDRNOTAVAIL);
  node.device->down();
  EXPECT_EQ(refusal([&] { (void)Connection::connect(node.endpoint, at("10.9.0.2", 80)); }), ENETDOWN);
  node.device->close();
  EXPECT_EQ(refusal([&] { (void)Connection::connect(node.endpoint, at("10.9.0.2", 80)); }), ENODEV);
  EXPECT_EQ(refusal([&] { (void)Listener::listen(node.endpoint, at("10.9.0.1", 80)); }), ENODEV);
}

TEST(trouble, a_reset_reaches_the_reader_behind_what_came_before_it) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(1000, 5);
  EXPECT_EQ(send_all(*client, bytes), 0);
  while (client->unsent() != 0) std::this_thread::yield();
  client->abort();
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got), ECONNRESET);
  EXPECT_TRUE(got == bytes);
}

TEST(trouble, closing_before_everything_was_received_resets_the_peer) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  EXPECT_EQ(send_all(*client, pattern(1000, 5)), 0);
  ASSERT_EQ(server->wait(kReadable, in(kPatience)), WaitStatus::signalled);
  server->close();
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*client, got), ECONNRESET);
}

TEST(trouble, closing_the_device_ends_everything_on_it) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  int error = -1;
  std::thread reader([&, reading = client] {
    std::vector<std::uint8_t> got;
    error = receive_all(*reading, got);
  });
  const auto pending = Connection::connect(pair.a.endpoint, at("10.9.0.7", 80));
  pair.a.device->close();
  reader.join();
  EXPECT_EQ(error, ENODEV);
  EXPECT_EQ(client->error(), ENODEV);
  EXPECT_EQ(pending->error(), ENODEV);
  EXPECT_EQ(server->error(), 0);  // a cable that was cut says nothing
}

TEST(trouble, connections_outlive_a_device_that_is_down_for_a_while) {
  Pair pair;
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  std::shared_ptr<Connection> client, server;
  {
    Cable cable(pair.a, pair.b);
    std::tie(client, server) = meet(pair.a, *listener);
  }
  pair.a.device->down();
  const auto bytes = pattern(50000, 6);
  EXPECT_EQ(send_all(*client, bytes), 0);
  pair.a.device->up();
  client->finish();
  Cable cable(pair.a, pair.b);
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got), 0);
  EXPECT_TRUE(got == bytes);
}

TEST(trouble, a_reader_that_never_reads_costs_a_bounded_amount) {
  Pair pair(16000);
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("fd09::2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(32 << 20, 7);
  std::size_t sent = 0;
  for (;;) {  // until the window is closed and everything that we may keep is kept
    const Progress progress = client->send(std::span(bytes).subspan(sent));
    sent += progress.bytes;
    if (progress.error == EAGAIN && client->wait(kWritable, in(std::chrono::seconds(2))) != WaitStatus::signalled)
      break;
    ASSERT_LT(sent, bytes.size());
  }
  EXPECT_LE(sent, 9U << 20);  // a window there, room to send here
  EXPECT_LE(pair.b.endpoint->received().load(), 9U << 20);
  std::vector<std::uint8_t> got;
  std::thread rest([&, to = client] {
    EXPECT_EQ(send_all(*to, std::span(bytes).subspan(sent)), 0);
    to->finish();
  });
  EXPECT_EQ(receive_all(*server, got), 0);
  rest.join();
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(pair.b.endpoint->received().load(), 0U);
}

TEST(trouble, single_bytes_do_not_cost_a_packet_each) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(4000, 8);
  for (const std::uint8_t byte : bytes) ASSERT_EQ(send_all(*client, {&byte, 1}), 0);
  while (client->unsent() != 0) std::this_thread::yield();
  EXPECT_EQ(server->available(), bytes.size());
  EXPECT_EQ(pair.b.endpoint->received().load(), 0U);  // gathered in memory of the connection's own
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got, bytes.size()), 0);
  EXPECT_TRUE(got == bytes);
}

TEST(trouble, a_program_that_does_not_read_the_ring_holds_senders_back_and_loses_nothing) {
  Pair pair(65535);  // so the first flight is longer than a ring of the least capacity
  pair.a.device->down();
  pair.a.device->set_ring_capacity(0x20000);
  pair.a.device->up();
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  std::shared_ptr<Connection> client, server;
  {
    Cable cable(pair.a, pair.b);
    std::tie(client, server) = meet(pair.a, *listener);
  }
  const auto bytes = pattern(3 << 20, 9);
  int sent = -1;
  std::thread sender([&, to = client] { sent = send_all(*to, bytes), to->finish(); });
  std::vector<std::uint8_t> got;
  {
    Cable cable(pair.a, pair.b);
    EXPECT_EQ(receive_all(*server, got), 0);
    sender.join();
  }
  EXPECT_EQ(sent, 0);
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(pair.a.device->statistics().received_drops, 0U);
}

TEST(trouble, an_address_that_is_removed_takes_its_connections_along) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  pair.a.endpoint->remove_address(address("10.9.0.1/24"));
  EXPECT_NE(client->error(), 0);
  EXPECT_EQ(refusal([&] { (void)Connection::connect(pair.a.endpoint, at("10.9.0.2", 80)); }), ENETUNREACH);
}

}  // namespace
}  // namespace wintun
