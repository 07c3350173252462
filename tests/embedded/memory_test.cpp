// What the stack holds is bounded, and given back: thousands of connections, blocks that wait to be used again.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <random>

#include "cable.hpp"
#include "driver/embedded/blocks.hpp"

namespace wintun {
namespace {

// Bytes of the C library's heap that are in use: unlike the process's size it does not depend on what went before.
std::size_t heap_in_use() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd - idle_block_bytes();
}

// Sanitizers have a heap of their own, of which this says nothing.
bool heap_is_counted() {
  const std::size_t before = heap_in_use();
  const std::unique_ptr<volatile char[]> memory(new volatile char[1 << 20]);
  memory[0] = 1;
  return heap_in_use() >= before + (1 << 20);
}

void talk(Connection& client, Connection& server, std::uint8_t byte) {
  ASSERT_EQ(send_all(client, {&byte, 1}), 0);
  std::vector<std::uint8_t> got;
  ASSERT_EQ(receive_all(server, got, 1), 0);
  ASSERT_EQ(send_all(server, got), 0);
  std::vector<std::uint8_t> back;
  ASSERT_EQ(receive_all(client, back, 1), 0);
  ASSERT_EQ(back, std::vector{byte});
}

TEST(memory, thousands_of_connections_open_talk_and_close_and_leave_nothing) {
  constexpr std::size_t kCount = WINTUN_MANY_CONNECTIONS;
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80), Listener::kMostBacklog);
  const std::size_t before = heap_in_use();
  std::size_t most = 0;
  {
    std::vector<std::pair<std::shared_ptr<Connection>, std::shared_ptr<Connection>>> all;
    for (std::size_t i = 0; i < kCount; ++i) {
      all.push_back(meet(pair.a, *listener));
      talk(*all.back().first, *all.back().second, static_cast<std::uint8_t>(i));
      if (HasFatalFailure()) return;
    }
    most = heap_in_use() - before;
    for (auto& [client, server] : all) {
      client->abort();  // no TIME-WAIT, which is memory that is meant to stay for a while
      server->close();
    }
  }
  EXPECT_EQ(pair.a.endpoint->sending, 0U);
  EXPECT_EQ(pair.a.endpoint->received().load() + pair.b.endpoint->received().load(), 0U);
  if (!heap_is_counted()) return;
  EXPECT_LT(most / (2 * kCount), 4096U) << "bytes an idle end of a connection";
  // The last resets are on their way for a moment.
  const Deadline patience = in(kPatience);
  while (heap_in_use() > before + (256 << 10) && std::chrono::steady_clock::now() < *patience) {
    std::this_thread::yield();
  }
  EXPECT_LE(heap_in_use(), before + (256 << 10));
}

TEST(memory, uploads_share_what_a_device_may_hold_to_send_and_none_starves) {
  constexpr std::size_t kCount = 200;
  Pair pair(16000);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80), Listener::kMostBacklog);
  std::vector<std::pair<std::shared_ptr<Connection>, std::shared_ptr<Connection>>> all;
  {
    Cable cable(pair.a, pair.b);
    for (std::size_t i = 0; i < kCount; ++i) all.push_back(meet(pair.a, *listener));
  }
  const auto bytes = pattern(4 << 20, 1);
  for (auto& [client, server] : all) {  // nothing is carried, so everything stays
    std::size_t sent = 0;
    for (Progress progress; (progress = client->send(std::span(bytes).subspan(sent))).error == 0;) {
      sent += progress.bytes;
    }
    EXPECT_GE(sent, Endpoint::kSendShare);
    EXPECT_EQ(client->unsent(), sent);
  }
  EXPECT_GE(pair.a.endpoint->sending, Endpoint::kSendLimit);
  EXPECT_LE(pair.a.endpoint->sending, Endpoint::kSendLimit + kCount * Endpoint::kSendShare);
  for (auto& [client, server] : all) client->abort();
  EXPECT_EQ(pair.a.endpoint->sending, 0U);
}

TEST(memory, what_comes_beyond_the_limit_of_a_device_is_dropped_and_counted) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  const auto bytes = pattern(5000, 1);
  ASSERT_EQ(send_all(*server, bytes), 0);
  while (server->unsent() != 0) std::this_thread::yield();
  pair.b.endpoint->received() += Endpoint::kReceiveLimit;  // as if others had not received so much
  EXPECT_EQ(send_all(*client, bytes), 0);
  const Deadline patience = in(kPatience);
  while (pair.b.device->statistics().sent_drops == 0) ASSERT_LT(std::chrono::steady_clock::now(), *patience);
  EXPECT_EQ(server->available(), 0U);
  std::vector<std::uint8_t> got;  // what brings no data still passes, or nothing would ever get free
  EXPECT_EQ(receive_all(*client, got, 5000), 0);
  EXPECT_EQ(send_all(*server, bytes), 0);
  while (server->unsent() != 0) ASSERT_LT(std::chrono::steady_clock::now(), *patience);
  pair.b.endpoint->received() -= Endpoint::kReceiveLimit;
  got.clear();
  EXPECT_EQ(receive_all(*server, got, 5000), 0);  // it is sent again
  EXPECT_TRUE(got == bytes);
}

TEST(memory, blocks_of_every_length_hold_what_is_written) {
  std::mt19937 random(1);
  std::vector<std::pair<std::uint8_t*, std::size_t>> blocks;
  for (std::size_t i = 0; i < 4000; ++i) {
    if (blocks.size() > 100) {
      const auto [block, size] = blocks[random() % blocks.size()];
      for (std::size_t j = 0; j < size; j += 97) ASSERT_EQ(block[j], static_cast<std::uint8_t>(size + j));
      give_block(block);
      std::erase_if(blocks, [&, freed = block](const auto& one) { return one.first == freed; });
    }
    const std::size_t size = i % 2 == 0 ? random() % 3000 : random() % 100000;
    auto* const block = static_cast<std::uint8_t*>(take_block(size));
    ASSERT_NE(block, nullptr);
    for (std::size_t j = 0; j < size; j += 97) block[j] = static_cast<std::uint8_t>(size + j);
    blocks.emplace_back(block, size);
  }
  for (const auto& [block, size] : blocks) give_block(block);
  give_block(nullptr);
  EXPECT_EQ(take_block(SIZE_MAX - 8), nullptr);
  free_idle_blocks();
  EXPECT_EQ(idle_block_bytes(), 0U);
}

TEST(memory, idle_blocks_are_bounded_and_those_of_an_old_size_make_room) {
  const auto use = [](std::size_t size, std::size_t count) {
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < count; ++i) blocks.push_back(take_block(size));
    for (void* const block : blocks) give_block(block);
  };
  free_idle_blocks();
  use(1500, 20000);  // 30 MB
  const std::size_t most = idle_block_bytes();
  EXPECT_LE(most, 8U << 20);
  use(16000, 2000);
  EXPECT_LE(idle_block_bytes(), 8U << 20);
  if (most == 0) return;  // under a sanitizer none is idle
  EXPECT_GT(most, 7U << 20);
  EXPECT_GT(idle_block_bytes(), 7U << 20);
  free_idle_blocks();
}

TEST(memory, the_last_device_takes_the_idle_blocks_along) {
  {
    Pair pair(16000);
    Cable cable(pair.a, pair.b);
    const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
    const auto [client, server] = meet(pair.a, *listener);
    EXPECT_EQ(send_all(*client, pattern(200000, 1)), 0);
    std::vector<std::uint8_t> got;
    EXPECT_EQ(receive_all(*server, got, 200000), 0);
  }
  EXPECT_EQ(idle_block_bytes(), 0U);
}

}  // namespace
}  // namespace wintun
