// The close protocol: who may enter, who closes, and that nothing inside outlives the wait. TSan watches the data.
#include "platform/gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace wintun {
namespace {

constexpr int kUsers = 4;

TEST(Gate, is_closed_until_it_is_opened) {
  Gate gate;
  EXPECT_FALSE(gate.is_open());
  EXPECT_FALSE(gate.enter());
  EXPECT_FALSE(GateUser(gate));
  gate.open();
  EXPECT_TRUE(gate.is_open());
  EXPECT_TRUE(GateUser(gate));
}

TEST(Gate, a_refused_user_leaves_nothing_behind) {
  Gate gate;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(gate.enter());
  gate.wait_until_empty();  // returns at once
}

TEST(Gate, a_closed_gate_refuses_and_lets_those_inside_finish) {
  Gate gate;
  gate.open();
  ASSERT_TRUE(gate.enter());
  EXPECT_TRUE(gate.close());
  EXPECT_FALSE(gate.enter());
  EXPECT_FALSE(gate.is_open());
  std::atomic<bool> left{false};
  std::thread user([&] {
    left = true;
    gate.leave();
  });
  gate.wait_until_empty();
  EXPECT_TRUE(left);
  user.join();
}

TEST(Gate, a_user_leaves_on_every_way_out_of_its_scope) {
  Gate gate;
  gate.open();
  const auto refuse = [&gate] {
    const GateUser user(gate);
    if (user) throw std::runtime_error("out");
  };
  EXPECT_THROW(refuse(), std::runtime_error);
  EXPECT_TRUE(gate.close());
  gate.wait_until_empty();
}

TEST(Gate, closing_twice_names_one_closer) {
  Gate gate;
  gate.open();
  EXPECT_TRUE(gate.close());
  EXPECT_FALSE(gate.close());
}

TEST(Gate, of_many_closers_exactly_one_is_told_to_free) {
  for (int round = 0; round < 200; ++round) {
    Gate gate;
    gate.open();
    std::atomic<int> closers{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kUsers; ++i) threads.emplace_back([&] { closers += gate.close() ? 1 : 0; });
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(closers, 1);
  }
}

TEST(Gate, what_is_freed_after_the_wait_is_never_seen_by_a_user) {
  for (int round = 0; round < 50; ++round) {
    Gate gate;
    auto guarded = std::make_unique<int>(0);
    std::atomic<int> entered{0};
    gate.open();
    std::vector<std::thread> threads;
    for (int i = 0; i < kUsers; ++i) {
      threads.emplace_back([&] {
        for (;;) {
          const GateUser user(gate);
          if (!user) return;
          ++entered;
          // Read by many, freed by one: a race or a use after free here is what the sanitizers look for.
          if (*guarded != 0) return;
        }
      });
    }
    while (entered < kUsers) std::this_thread::yield();
    ASSERT_TRUE(gate.close());
    gate.wait_until_empty();
    *guarded = 1;
    guarded.reset();
    for (auto& thread : threads) thread.join();
  }
}

TEST(Gate, what_users_wrote_inside_is_seen_by_the_closer) {
  for (int round = 0; round < 200; ++round) {
    Gate gate;
    gate.open();
    int written[kUsers] = {};
    std::atomic<int> inside{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kUsers; ++i) {
      threads.emplace_back([&, i] {
        const GateUser user(gate);
        inside.fetch_add(1, std::memory_order_relaxed);
        if (user) written[i] = 1;
      });
    }
    while (inside.load(std::memory_order_relaxed) < kUsers) std::this_thread::yield();
    ASSERT_TRUE(gate.close());
    gate.wait_until_empty();
    for (const int value : written) ASSERT_EQ(value, 1);  // plain reads: TSan objects if leave() does not release
    for (auto& thread : threads) thread.join();
  }
}

TEST(Gate, opens_again_after_it_was_closed_and_emptied) {
  Gate gate;
  for (int generation = 0; generation < 100; ++generation) {
    gate.open();
    std::thread user([&] {
      const GateUser inside(gate);
      EXPECT_TRUE(inside);
    });
    user.join();
    ASSERT_TRUE(gate.close());
    gate.wait_until_empty();
    ASSERT_FALSE(gate.enter());
  }
}

}  // namespace
}  // namespace wintun
