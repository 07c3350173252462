// What no honest peer would send, and what no careful program would do: from seeds, so that a failure can be
// repeated. Meant for AddressSanitizer and ThreadSanitizer; lwIP's assertions are on in every build.
#include <gtest/gtest.h>

#include <cerrno>
#include <mutex>
#include <random>

#include "cable.hpp"
#include "driver/embedded/datagram.hpp"
#include "driver/embedded/ping.hpp"

namespace wintun {
namespace {

// Packets of every kind that the stack speaks, as they go over a cable.
std::vector<Bytes> conversation() {
  Pair pair;
  std::mutex mutex;
  std::vector<Bytes> seen;
  Cable cable(pair.a, pair.b, [&](bool, std::span<const std::uint8_t> packet) {
    const std::scoped_lock lock(mutex);
    seen.emplace_back(packet.begin(), packet.end());
    return true;
  });
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    const auto listener = Listener::listen(pair.b.endpoint, at(host, 80));
    const auto [client, server] = meet(pair.a, *listener);
    EXPECT_EQ(send_all(*client, pattern(5000, 1)), 0);
    Bytes got;
    EXPECT_EQ(receive_all(*server, got, 5000), 0);
    server->close();
    EXPECT_EQ(receive_all(*client, got), 0);
    const auto datagram = Datagram::open(pair.a.endpoint, std::nullopt, at(host, 99));
    EXPECT_EQ(datagram->send(pattern(4000, 1), std::nullopt).error, 0);
    const auto ping = Ping::send(pair.a.endpoint, address(host), 3000);
    EXPECT_EQ(ping->wait(in(kPatience)), WaitStatus::signalled);
  }
  const std::scoped_lock lock(mutex);
  return seen;
}

Bytes mangled(const Bytes& packet, std::mt19937& random) {
  Bytes made = packet;
  const auto below = [&](std::size_t limit) { return random() % limit; };
  for (std::size_t changes = 1 + below(6); changes > 0; --changes) {
    if (made.size() < 21) break;
    const std::size_t header = std::min<std::size_t>(made.size(), 80);
    switch (below(8)) {
      case 0:
        made.resize(20 + below(made.size() - 20));
        break;
      case 1:
        made.resize(made.size() + below(200));
        break;
      case 2: {  // options, lengths and offsets are where parsers err
        const std::size_t at = below(header - 1);
        made[at] = static_cast<std::uint8_t>(below(2) * 255);
        made[at + 1] = static_cast<std::uint8_t>(random());
        break;
      }
      default:
        made[below(header)] = static_cast<std::uint8_t>(random());
    }
  }
  return made;
}

TEST(hostile, malformed_packets_of_every_kind_leave_the_stack_at_work) {
  const std::vector<Bytes> corpus = conversation();
  ASSERT_GT(corpus.size(), 30U);
  for (std::uint32_t seed = 1; seed <= 4; ++seed) {
    Pair pair;
    // Without checksums more of what is wrong gets to where it hurts.
    pair.b.endpoint->set_checksum_checking(seed % 2 == 0);
    const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
    const auto listener6 = Listener::listen(pair.b.endpoint, at("fd09::2", 80));
    const auto datagram = Datagram::open(pair.b.endpoint, at("10.9.0.2", 99), std::nullopt);
    std::mt19937 random(seed);
    for (int i = 0; i < 8000; ++i) {
      (void)pair.b.device->write(mangled(corpus[random() % corpus.size()], random));
      Packet packet;
      while (i % 64 == 0 && pair.b.device->receive(packet) == IoStatus::ok) pair.b.device->release(packet);
      int error = 0;
      while (i % 256 == 0 && listener->accept(error) != nullptr) {
      }
    }
    Cable cable(pair.a, pair.b);
    const auto fresh = Listener::listen(pair.b.endpoint, at("10.9.0.2", 8080));
    const auto [client, server] = meet(pair.a, *fresh);
    EXPECT_EQ(send_all(*client, pattern(5000, seed)), 0);
    Bytes got;
    EXPECT_EQ(receive_all(*server, got, 5000), 0);
    EXPECT_TRUE(got == pattern(5000, seed));
  }
}

TEST(hostile, a_live_connection_survives_a_cable_that_garbles) {
  Pair pair;
  std::mt19937 random(7);
  std::vector<Bytes> extra;
  Cable cable(pair.a, pair.b, [&](bool from_a, std::span<const std::uint8_t> packet) {
    if (random() % 20 == 0) {  // beside the honest one, in sequence and with the right ports
      (void)(from_a ? pair.b : pair.a).device->write(mangled(Bytes(packet.begin(), packet.end()), random));
    }
    return true;
  });
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(1 << 20, 3);
  int sent = -1;
  std::thread sender([&, from = client] { sent = send_all(*from, bytes), from->finish(); });
  Bytes got;
  const int received = receive_all(*server, got);
  sender.join();
  EXPECT_EQ(sent, 0);
  EXPECT_EQ(received, 0);
  EXPECT_TRUE(got == bytes);
}

TEST(hostile, every_call_from_every_thread_at_once) {
  for (int round = 0; round < 3; ++round) {
    Pair pair;
    Cable cable(pair.a, pair.b);
    const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      while (!stop) {
        int error = 0;
        auto server = listener->accept(error);
        if (error != 0 && error != EAGAIN) return;
        if (server == nullptr) {
          (void)listener->wait(in(std::chrono::milliseconds(5)));
          continue;
        }
        (void)server->send(pattern(20000, 1));
      }
    });
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        while (!stop) {
          try {
            const auto client = Connection::connect(pair.a.endpoint, at("10.9.0.2", 80));
            (void)client->wait(kWritable, in(std::chrono::milliseconds(20)));
            std::thread other([&] { client->close(); });
            Bytes buffer(4096);
            for (int j = 0; j < 20; ++j) (void)client->receive(buffer);
            (void)client->finish();
            other.join();
          } catch (const std::system_error&) {  // the device is closed
            return;
          }
        }
      });
    }
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        pair.a.endpoint->add_address(address("fd09::" + std::to_string(100 + i) + "/64"));
        pair.a.endpoint->remove_address(address("fd09::" + std::to_string(100 + i) + "/64"));
        (void)pair.a.device->statistics();
        (void)Ping::send(pair.a.endpoint, address("10.9.0.2"));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      pair.a.device->close();
      stop = true;
    });
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace wintun
