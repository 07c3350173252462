// Both ends in threads of their own: order, content and wake-ups, for ThreadSanitizer to watch. Waits are for
// something that will come; nothing here depends on speed.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "ring/lending.hpp"
#include "ring_memory.hpp"

namespace wintun {
namespace {

// Stays set until reset; a wait is by futex, so a lost wake-up hangs.
class Signal {
 public:
  void set() {
    set_.store(1);
    set_.notify_all();
  }
  void wait_and_reset() {
    set_.wait(0);
    set_.store(0);
  }

 private:
  std::atomic<int> set_{0};
};

std::uint32_t size_of(std::uint32_t number) { return number % 64 == 0 ? kMaxPacketSize : number * 37 % 1500; }

TEST(Threads, a_stream_crosses_in_order_and_whole) {
  constexpr std::uint32_t kPackets = 20000;
  RingMemory memory;
  std::thread sender([&] {
    Producer producer(memory.ring(), memory.capacity());
    for (std::uint32_t number = 0; number < kPackets;) {
      Slot slot;
      if (producer.reserve(size_of(number), slot) != RingStatus::ok) {
        std::this_thread::yield();
        continue;
      }
      fill(slot, number++);
      (void)producer.publish(slot.end);
    }
  });
  Consumer consumer(memory.ring(), memory.capacity());
  std::uint32_t wrong = 0;
  for (std::uint32_t number = 0; number < kPackets;) {
    Slot slot;
    if (consumer.next(slot) != RingStatus::ok) {
      std::this_thread::yield();
      continue;
    }
    wrong += memory.holds(slot) && slot.size == size_of(number) && is_filled(slot, number) ? 0 : 1;
    consumer.release(slot.end);
    ++number;
  }
  sender.join();
  EXPECT_EQ(wrong, 0U);
}

TEST(Threads, a_consumer_that_sleeps_whenever_it_can_gets_every_packet_and_the_end) {
  constexpr std::uint32_t kPackets = 20000;
  RingMemory memory;
  Signal moved;
  std::thread sender([&] {
    Producer producer(memory.ring(), memory.capacity());
    for (std::uint32_t number = 0; number < kPackets; ++number) {
      Slot slot;
      while (producer.reserve(number % 100, slot) != RingStatus::ok) std::this_thread::yield();
      fill(slot, number);
      if (producer.publish(slot.end)) moved.set();
      if (number % 16 == 0) std::this_thread::yield();
    }
    // The end is out of band: what was published before it must be drained first.
    while (producer.look() == RingStatus::ok) {
      if (__atomic_load_n(&memory.ring()->head, __ATOMIC_ACQUIRE) == producer.published()) break;
      std::this_thread::yield();
    }
    producer.end();
    moved.set();
  });
  Consumer consumer(memory.ring(), memory.capacity());
  std::uint32_t got = 0;
  std::uint32_t wrong = 0;
  for (;;) {
    Slot slot;
    const RingStatus status = consumer.next(slot);
    if (status == RingStatus::ok) {
      wrong += is_filled(slot, got++) ? 0 : 1;
      consumer.release(slot.end);
    } else if (status == RingStatus::empty) {
      if (consumer.prepare_to_wait()) moved.wait_and_reset();
      consumer.finish_wait();
    } else {
      EXPECT_EQ(status, RingStatus::ended);
      break;
    }
  }
  sender.join();
  EXPECT_EQ(got, kPackets);
  EXPECT_EQ(wrong, 0U);
}

TEST(Threads, many_lenders_at_both_ends_lose_nothing_and_see_whole_packets) {
  constexpr std::uint32_t kEach = 3000;
  constexpr std::uint32_t kThreads = 3;
  RingMemory memory;
  std::mutex sending;
  std::mutex receiving;
  LendingProducer producer(memory.ring(), memory.capacity());
  LendingConsumer consumer(memory.ring(), memory.capacity());
  std::atomic<std::uint32_t> received{0};
  std::atomic<std::uint32_t> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      Random random(id);
      std::vector<Slot> held;
      for (std::uint32_t sent = 0; sent < kEach || !held.empty();) {
        Slot slot;
        bool got = false;
        if (sent < kEach && held.size() < 4) {
          const std::lock_guard lock(sending);
          got = producer.allocate(4 + random() % 1000, slot) == RingStatus::ok;
        }
        if (got) {
          held.push_back(slot);
          ++sent;
          fill(slot, slot.size);  // outside of the lock
        }
        if (!held.empty() && (!got || random() % 2 == 0)) {
          std::swap(held[random() % held.size()], held.back());
          const std::lock_guard lock(sending);
          bool wake = false;
          wrong += producer.submit(held.back().data, wake) == RingStatus::ok ? 0U : 1U;
          held.pop_back();
        } else if (!got) {
          std::this_thread::yield();
        }
      }
    });
    threads.emplace_back([&, id] {
      Random random(100 + id);
      std::vector<Slot> held;
      while (received < kEach * kThreads || !held.empty()) {
        Slot slot;
        bool got = false;
        if (held.size() < 4) {
          const std::lock_guard lock(receiving);
          got = consumer.take(slot) == RingStatus::ok;
        }
        if (got) {
          ++received;
          held.push_back(slot);
          wrong += is_filled(slot, slot.size) ? 0U : 1U;  // outside of the lock
        }
        if (!held.empty() && (!got || random() % 2 == 0)) {
          std::swap(held[random() % held.size()], held.back());
          const std::lock_guard lock(receiving);
          wrong += consumer.give_back(held.back().data) == RingStatus::ok ? 0U : 1U;
          held.pop_back();
        } else if (!got) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(received, kEach * kThreads);
  EXPECT_EQ(wrong, 0U);
  EXPECT_FALSE(producer.lends());
  EXPECT_FALSE(consumer.lends());
}

// A third party writes anything into the head of the ring while both ends run. They touch packets by atomics only,
// so that what ThreadSanitizer finds would be the ring's own.
TEST(Threads, both_ends_stay_inside_a_ring_whose_words_change_under_them) {
  RingMemory memory;
  Ring* const ring = memory.ring();
  std::atomic<bool> stop{false};
  std::atomic<std::uint32_t> outside{0};
  const auto touch = [&](const Slot& slot) {
    if (!memory.holds(slot)) {
      ++outside;
      return;
    }
    if (slot.size == 0) return;
    __atomic_store_n(slot.data, std::uint8_t{1}, __ATOMIC_RELAXED);
    __atomic_store_n(slot.data + slot.size - 1, std::uint8_t{1}, __ATOMIC_RELAXED);
  };
  std::thread hostile([&] {
    Random random(7);
    std::uint32_t* const words[] = {&ring->head, &ring->tail, &ring->alertable, size_word(ring, 0),
                                    size_word(ring, kMinCapacity - 4)};
    for (int i = 0; i < 200000; ++i) {
      std::uint32_t value = random();
      if (random() % 2 == 0) value %= kMinCapacity;
      if (random() % 2 == 0) value &= ~3U;
      __atomic_store_n(words[random() % 5], value, __ATOMIC_RELAXED);
    }
    stop = true;
  });
  std::thread sender([&] {
    Random random(8);
    Producer producer(ring, kMinCapacity);
    while (!stop) {
      Slot slot;
      if (producer.reserve(random() % 0x10000, slot) != RingStatus::ok) continue;
      touch(slot);
      (void)producer.publish(slot.end);
    }
  });
  Consumer consumer(ring, kMinCapacity);
  while (!stop) {
    Slot slot;
    if (consumer.next(slot) != RingStatus::ok) continue;
    touch(slot);
    consumer.release(slot.end);
  }
  hostile.join();
  sender.join();
  EXPECT_EQ(outside, 0U);
}

}  // namespace
}  // namespace wintun
