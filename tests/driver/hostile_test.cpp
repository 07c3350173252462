// A program that writes anything into its rings while the driver runs. Every shared word is mutated: the three of
// the head, and the size words of packets. The preset asan looks on, and the rings' memory is of exactly their
// size, so a step outside of them ends the test. The seeds are fixed.
#include <gtest/gtest.h>

#include <random>
#include <utility>

#include "fake_host.hpp"

namespace wintun {
namespace {

constexpr std::uint32_t kSeeds = 12;
constexpr std::uint32_t kRounds = 300;    // of each seed
constexpr std::uint32_t kSessions = 200;  // that the other thread must bring to an end

// A value that hits: small, aligned, at the edges, near the capacity, or anything.
std::uint32_t nasty(std::mt19937& random) {
  const std::uint32_t any = static_cast<std::uint32_t>(random());
  switch (any % 6) {
    case 0:
      return any >> 8 & 0xFFFC;
    case 1:
      return kMinCapacity - 4 + (any >> 8) % 8;
    case 2:
      return 0xFFFFFFF8 + (any >> 8) % 8;
    case 3:
      return kMaxPacketSize - 2 + (any >> 8) % 5;
    case 4:
      return 1U << ((any >> 8) % 32);
    default:
      return static_cast<std::uint32_t>(random());
  }
}

void mutate(RingMemory& memory, std::mt19937& random) {
  Ring* const ring = memory.ring();
  std::uint32_t* const words[] = {&ring->head, &ring->tail, &ring->alertable};
  const std::uint32_t which = static_cast<std::uint32_t>(random()) % 6;
  if (which < 3) return __atomic_store_n(words[which], nasty(random), __ATOMIC_SEQ_CST);
  const std::uint32_t offset = static_cast<std::uint32_t>(random()) % memory.capacity() & ~3U;
  // Mostly the words that are sizes now: those near the start.
  store_once(size_word(ring, which == 3 ? offset : offset % 4096), nasty(random));
}

struct Sides {
  explicit Sides(FakeHost& host) : to_user(host, state), reader(host, state), to_network(host, state) {}
  void connect() {
    to_user_memory = std::make_unique<RingMemory>();
    to_network_memory = std::make_unique<RingMemory>();
    to_user.attach(to_user_memory->ring(), kMinCapacity);
    reader.attach(to_user_memory->ring(), kMinCapacity);
    to_network.attach(to_network_memory->ring(), kMinCapacity);
    state.start();
    state.connect();
  }
  State<FakeHost> state;
  ToUser<FakeHost> to_user;
  ToUserReader<FakeHost> reader;
  ToNetwork<FakeHost> to_network;
  std::unique_ptr<RingMemory> to_user_memory, to_network_memory;
};

// The stack looks at every byte that it was lent, and returns some packets late.
void use_and_return(FakeHost& host, ToNetwork<FakeHost>& queue, std::mt19937& random, std::uint32_t& sum) {
  while (!host.lent.empty()) {
    const std::size_t which = random() % host.lent.size();
    FakePacket* const packet = host.lent[which];
    if (random() % 4 == 0) return;
    host.lent.erase(host.lent.begin() + static_cast<std::ptrdiff_t>(which));
    EXPECT_LE(packet->size, kMaxPacketSize);
    for (std::uint32_t i = 0; i < packet->size; ++i) {
      sum += static_cast<std::uint32_t>(__atomic_load_n(packet->data + i, __ATOMIC_RELAXED));
    }
    (void)queue.give_back(*packet);
  }
}

TEST(Hostile, mutated_words_between_calls_never_lead_outside_of_a_ring) {
  std::uint32_t sum = 0, ended = 0, lent = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937 random(seed);
    FakeHost host;
    Sides sides(host);
    sides.connect();
    Producer program = sides.to_network_memory->producer();
    auto packet = make_packet(1, 1400);
    host.on_read = [](std::uint8_t* into, std::uint32_t room) -> ReadResult {
      std::memset(into, 0x45, room);
      return {ReadStatus::ok, room};
    };
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      for (std::uint32_t i = 0; i < random() % 5; ++i) (void)put(program, content(round, 20 + random() % 3000));
      if (random() % 2 == 0) mutate(*sides.to_network_memory, random);
      if (random() % 2 == 0) mutate(*sides.to_user_memory, random);
      const bool corrupt = sides.to_network.drain() == DrainStatus::ended;
      lent += static_cast<std::uint32_t>(host.lent.size());
      use_and_return(host, sides.to_network, random, sum);
      packet->flight.next = nullptr;
      const bool gone = !sides.to_user.give(packet.get()) || sides.reader.fill(1) == FillStatus::ended;
      if (!corrupt && !gone) continue;
      ++ended;
      for (FakePacket* out : std::exchange(host.lent, {})) (void)sides.to_network.give_back(*out);
      sides.state.disconnect(sides.to_user, sides.to_network);
      sides.connect();
      program = sides.to_network_memory->producer();
    }
    for (FakePacket* out : std::exchange(host.lent, {})) (void)sides.to_network.give_back(*out);
    EXPECT_EQ(host.alive.load(), 0);
  }
  EXPECT_GT(ended, kSeeds);  // the mutations do bite
  EXPECT_GT(lent, kSeeds);   // and not all at once
}

TEST(Hostile, words_mutated_by_another_thread_while_the_driver_runs_never_lead_outside_of_a_ring) {
  FakeHost host;
  Sides sides(host);
  sides.connect();
  std::atomic<bool> over{false};
  std::mutex swap;  // the program's thread must not write into a ring that is replaced
  std::thread program([&] {
    std::mt19937 random(99);
    while (!over.load()) {
      const std::lock_guard locked(swap);
      mutate(*sides.to_network_memory, random);
      mutate(*sides.to_user_memory, random);
      publish_tail(&sides.to_network_memory->ring()->tail, static_cast<std::uint32_t>(random()) % kMinCapacity & ~3U);
    }
  });
  std::mt19937 random(5);
  // One relaxed byte a step, since the program's words may be where the packet is.
  host.on_copy = [](FakePacket&) {};
  host.on_read = [](std::uint8_t* into, std::uint32_t room) -> ReadResult {
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(into), 0x45, __ATOMIC_RELAXED);
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(into + room / 4 * 4 - 4), 0x45, __ATOMIC_RELAXED);
    return {ReadStatus::ok, room};
  };
  std::uint32_t sum = 0, ended = 0;
  while (ended < kSessions) {
    bool gone = sides.to_network.drain() == DrainStatus::ended;
    for (FakePacket* packet : std::exchange(host.lent, {})) {
      EXPECT_LE(packet->size, kMaxPacketSize);
      if (packet->size >= 4) {
        const std::uint32_t* const last = reinterpret_cast<std::uint32_t*>(packet->data + packet->size / 4 * 4 - 4);
        sum += load_once(last);
      }
      (void)sides.to_network.give_back(*packet);
    }
    gone = sides.reader.fill(1) == FillStatus::ended || gone;
    if (!gone) {
      std::this_thread::yield();
      continue;
    }
    ++ended;
    const std::lock_guard locked(swap);
    sides.state.disconnect(sides.to_user, sides.reader, sides.to_network);
    sides.connect();
  }
  over = true;
  program.join();
  EXPECT_EQ(host.alive.load(), 0);
  RecordProperty("sum", static_cast<int>(sum & 0x7FFFFFFF));
}

}  // namespace
}  // namespace wintun
