// Real threads, all at once: many givers, a stack that returns packets late and in any order, a program that reads
// and writes, and transitions under all of it. The preset tsan looks on. Amounts are fixed, never times.
#include <gtest/gtest.h>

#include <condition_variable>
#include <random>

#include "fake_host.hpp"

namespace wintun {
namespace {

constexpr std::uint32_t kGivers = 3;
constexpr std::uint32_t kPackets = 2000;  // of each giver
constexpr int kTransitions = 60;

// Keeps what is lent and returns it from its own thread, out of order.
class Stack {
 public:
  Stack(FakeHost& host, ToNetwork<FakeHost>& queue) : queue_(queue) {
    host.on_indicate = [this](const std::vector<FakePacket*>& packets) {
      const std::lock_guard locked(mutex_);
      for (FakePacket* packet : packets) ids.push_back(id_of(packet->data));
      kept_.insert(kept_.end(), packets.begin(), packets.end());
      changed_.notify_all();
    };
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    {
      const std::lock_guard locked(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }

  std::vector<std::uint32_t> ids;

 private:
  void run() {
    std::mt19937 random(7);
    for (;;) {
      FakePacket* packet = nullptr;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !kept_.empty(); });
        if (kept_.empty()) return;
        const std::size_t which = random() % kept_.size();
        packet = kept_[which];
        kept_[which] = kept_.back();
        kept_.pop_back();
      }
      (void)queue_.give_back(*packet);
    }
  }

  ToNetwork<FakeHost>& queue_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<FakePacket*> kept_;
  bool stopping_ = false;
  std::thread thread_;
};

// Gives single packets and chains; afterwards each must have come back exactly once.
class Giver {
 public:
  Giver(ToUser<FakeHost>& queue, std::uint32_t first) : queue_(queue) {
    for (std::uint32_t i = 0; i < kPackets; ++i) packets.push_back(make_packet(first + i, 20 + i % 1400));
  }
  void run() {
    for (std::uint32_t i = 0; i < kPackets;) {
      std::vector<FakePacket*> chain;
      for (std::uint32_t n = 0; n < 1 + i % 3 && i < kPackets; ++n) chain.push_back(packets[i++].get());
      (void)queue_.give(chain_of(chain));
    }
  }
  std::vector<std::unique_ptr<FakePacket>> packets;

 private:
  ToUser<FakeHost>& queue_;
};

std::size_t count_outcome(const std::vector<std::unique_ptr<Giver>>& givers, Outcome outcome) {
  std::size_t count = 0;
  for (const auto& giver : givers) {
    for (const auto& packet : giver->packets) {
      EXPECT_EQ(packet->completions.load(), 1);
      if (packet->outcome == outcome) ++count;
    }
  }
  return count;
}

TEST(Load, many_givers_lose_nothing_that_was_called_delivered) {
  FakeHost host;
  State<FakeHost> state;
  ToUser<FakeHost> queue(host, state);
  RingMemory memory;
  queue.attach(memory.ring(), memory.capacity());
  state.start();
  state.connect();
  std::vector<std::unique_ptr<Giver>> givers;
  for (std::uint32_t i = 0; i < kGivers; ++i) givers.push_back(std::make_unique<Giver>(queue, i * kPackets));
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  for (auto& giver : givers) threads.emplace_back([&giver] { giver->run(); });
  std::vector<std::uint32_t> seen;
  std::thread program([&] {
    Consumer consumer = memory.consumer();
    for (;;) {
      const bool last = over.load();
      Slot slot;
      if (consumer.next(slot) == RingStatus::ok) {
        const std::uint32_t id = id_of(slot.data);
        EXPECT_EQ(std::vector<std::uint8_t>(slot.data, slot.data + slot.size), content(id, slot.size));
        seen.push_back(id);
        consumer.release(slot.end);
      } else if (last) {
        return;
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  program.join();
  EXPECT_TRUE(queue.is_empty());
  EXPECT_EQ(seen.size(), count_outcome(givers, Outcome::delivered));
  EXPECT_EQ(queue.traffic().packets.value(), seen.size());
  EXPECT_EQ(queue.traffic().packets.value() + queue.traffic().drops.value(), kGivers * kPackets);
  // What the ring carried is what was completed as delivered, in the same order.
  std::vector<std::uint32_t> delivered;
  for (const std::uint32_t id : host.completed()) {
    if (givers[id / kPackets]->packets[id % kPackets]->outcome == Outcome::delivered) delivered.push_back(id);
  }
  EXPECT_EQ(delivered, seen);
}

TEST(Load, pause_disconnect_and_power_down_under_load_leave_the_queues_empty) {
  FakeHost host;
  State<FakeHost> state;
  ToUser<FakeHost> to_user(host, state);
  ToNetwork<FakeHost> to_network(host, state);
  std::atomic<bool> stopped{true}, over{false};  // stopped: a transition has returned and the way up not begun
  host.on_copy = [&](FakePacket&) { EXPECT_FALSE(stopped.load()); };
  Stack stack(host, to_network);
  std::vector<std::unique_ptr<RingMemory>> memories;
  const auto attach = [&] {
    for (int i = 0; i < 2; ++i) memories.push_back(std::make_unique<RingMemory>());
    to_user.attach(memories[memories.size() - 2]->ring(), kMinCapacity);
    to_network.attach(memories.back()->ring(), kMinCapacity);
    Producer program = memories.back()->producer();
    for (std::uint32_t id = 0; put(program, content(id, 600)); ++id) {
    }
  };
  attach();
  stopped = false;
  state.start();
  state.connect();
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kGivers; ++i) {
    threads.emplace_back([&] {
      auto packet = make_packet(1, 200);
      for (std::uint32_t n = 0; n < kPackets || !over.load(); ++n) {
        packet->flight.next = nullptr;
        const int before = packet->completions.load();
        (void)to_user.give(packet.get());
        while (packet->completions.load() == before) std::this_thread::yield();  // another thread completes it
      }
    });
  }
  threads.emplace_back([&] {
    while (!over.load()) {
      if (to_network.drain() != DrainStatus::ok) std::this_thread::yield();
    }
  });
  for (int i = 0; i < kTransitions; ++i) {
    switch (i % 3) {
      case 0:
        state.pause(to_user, to_network);
        break;
      case 1:
        state.set_power(Power::d3, to_user, to_network);
        break;
      default:
        state.disconnect(to_user, to_network);
    }
    stopped = true;
    EXPECT_TRUE(to_network.is_empty());
    EXPECT_EQ(host.alive.load(), 0);
    // The rings stay where they are now, until the way up.
    const std::uint32_t tail = memories[memories.size() - 2]->tail();
    std::this_thread::yield();
    EXPECT_EQ(memories[memories.size() - 2]->tail(), tail);
    stopped = false;
    if (i % 3 == 2) {
      to_user.end();
      to_network.end();
      attach();
      state.connect();
    }
    state.set_power(Power::d0, to_user, to_network);
    state.start();
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  state.disconnect(to_user, to_network);
  EXPECT_TRUE(to_user.is_empty());
  stack.stop();
  EXPECT_EQ(host.alive.load(), 0);
}

TEST(Load, a_serving_thread_misses_no_packet_of_a_program_that_wakes_it_only_when_asked) {
  FakeHost host;
  State<FakeHost> state;
  ToNetwork<FakeHost> queue(host, state);
  RingMemory memory;
  queue.attach(memory.ring(), memory.capacity());
  state.start();
  state.connect();
  std::mutex mutex;
  std::condition_variable event;
  bool set = false;
  host.on_wait = [&] {
    std::unique_lock lock(mutex);
    event.wait(lock, [&] { return set; });
    set = false;
    return true;
  };
  Stack stack(host, queue);
  std::thread server([&] { serve(host, queue); });
  Producer program = memory.producer();
  const auto wake = [&] {
    const std::lock_guard locked(mutex);
    set = true;
    event.notify_all();
  };
  for (std::uint32_t id = 0; id < kPackets;) {
    const std::vector<std::uint8_t> bytes = content(id, 64);
    Slot slot;
    if (program.reserve(64, slot) != RingStatus::ok) {
      std::this_thread::yield();
      continue;
    }
    std::memcpy(slot.data, bytes.data(), bytes.size());
    if (program.publish(slot.end)) wake();
    ++id;
  }
  // Its head comes to the tail without another wake-up, or one was lost.
  while (memory.head() != memory.tail()) std::this_thread::yield();
  program.end();
  wake();
  server.join();
  stack.stop();
  ASSERT_EQ(stack.ids.size(), kPackets);
  for (std::uint32_t id = 0; id < kPackets; ++id) EXPECT_EQ(stack.ids[id], id);
}

}  // namespace
}  // namespace wintun
