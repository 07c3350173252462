// The model checker itself against litmus tests whose verdicts the C++ standard and the literature give.
// A verdict is the set of what the threads can have read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "model/explorer.hpp"

namespace wintun {
namespace {

using model::explore;
using model::load;
using model::note;
using model::store;
using testing::Contains;
using testing::Not;
using Outcome = std::vector<std::uint32_t>;

std::uint32_t x, y;  // locations: only their addresses count

model::Findings store_buffering(int stores, int loads) {
  return explore({{[=] {
                     store(&x, 1, stores);
                     note(load(&y, loads));
                   },
                   [=] {
                     store(&y, 1, stores);
                     note(load(&x, loads));
                   }}});
}

TEST(Litmus, store_buffering_is_forbidden_for_sequentially_consistent_accesses) {
  const auto findings = store_buffering(__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  EXPECT_EQ(findings.outcomes, (std::set<Outcome>{{0, 1}, {1, 0}, {1, 1}}));
}

TEST(Litmus, store_buffering_is_allowed_when_any_access_is_weaker) {
  EXPECT_THAT(store_buffering(__ATOMIC_RELEASE, __ATOMIC_SEQ_CST).outcomes, Contains(Outcome{0, 0}));
  EXPECT_THAT(store_buffering(__ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE).outcomes, Contains(Outcome{0, 0}));
  EXPECT_THAT(store_buffering(__ATOMIC_RELAXED, __ATOMIC_RELAXED).outcomes, Contains(Outcome{0, 0}));
}

model::Findings message_passing(int stores, int loads) {
  return explore({{[=] {
                     store(&x, 1, __ATOMIC_RELAXED);
                     store(&y, 1, stores);
                   },
                   [=] {
                     note(load(&y, loads));
                     note(load(&x, __ATOMIC_RELAXED));
                   }}});
}

TEST(Litmus, a_message_that_is_released_and_acquired_is_seen) {
  EXPECT_THAT(message_passing(__ATOMIC_RELEASE, __ATOMIC_ACQUIRE).outcomes, Not(Contains(Outcome{1, 0})));
  EXPECT_THAT(message_passing(__ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE).outcomes, Not(Contains(Outcome{1, 0})));
}

TEST(Litmus, a_message_is_missed_when_either_half_is_relaxed) {
  EXPECT_THAT(message_passing(__ATOMIC_RELAXED, __ATOMIC_ACQUIRE).outcomes, Contains(Outcome{1, 0}));
  EXPECT_THAT(message_passing(__ATOMIC_RELEASE, __ATOMIC_RELAXED).outcomes, Contains(Outcome{1, 0}));
}

TEST(Litmus, plain_memory_behind_a_message_races_when_either_half_is_relaxed) {
  static std::uint32_t data;
  const auto passing = [](int stores, int loads) {
    return explore({{[=] {
                       model::write_plain(&data, 7);
                       store(&y, 1, stores);
                     },
                     [=] {
                       if (load(&y, loads) == 1) model::require(model::read_plain(&data) == 7, "the data is there");
                     }}});
  };
  EXPECT_TRUE(passing(__ATOMIC_RELEASE, __ATOMIC_ACQUIRE).clean());
  EXPECT_GT(passing(__ATOMIC_RELAXED, __ATOMIC_ACQUIRE).races, 0U);
  EXPECT_GT(passing(__ATOMIC_RELEASE, __ATOMIC_RELAXED).races, 0U);
}

TEST(Litmus, one_location_is_never_read_backwards) {
  const auto findings = explore({{[] {
                                    store(&x, 1, __ATOMIC_RELAXED);
                                    store(&x, 2, __ATOMIC_RELAXED);
                                  },
                                  [] {
                                    note(load(&x, __ATOMIC_RELAXED));
                                    note(load(&x, __ATOMIC_RELAXED));
                                  }}});
  EXPECT_EQ(findings.outcomes, (std::set<Outcome>{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}}));
}

model::Findings independent_readers(int stores, int loads) {
  const auto reader = [=](std::uint32_t* first, std::uint32_t* second) {
    return [=] {
      note(load(first, loads));
      note(load(second, loads));
    };
  };
  return explore({{[=] { store(&x, 1, stores); }, [=] { store(&y, 1, stores); }, reader(&x, &y), reader(&y, &x)}});
}

TEST(Litmus, independent_readers_agree_only_on_sequentially_consistent_stores) {
  const Outcome disagreement{1, 0, 1, 0};
  EXPECT_THAT(independent_readers(__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST).outcomes, Not(Contains(disagreement)));
  EXPECT_THAT(independent_readers(__ATOMIC_RELEASE, __ATOMIC_ACQUIRE).outcomes, Contains(disagreement));
}

// The second store of each thread is overtaken by the first of the other: only modification orders can show it.
model::Findings crossed_stores(int order) {
  return explore({{[=] {
                     store(&x, 1, order);
                     store(&y, 2, order);
                   },
                   [=] {
                     store(&y, 1, order);
                     store(&x, 2, order);
                   },
                   [] {
                     note(load(&x, __ATOMIC_RELAXED));
                     note(load(&x, __ATOMIC_RELAXED));
                   },
                   [] {
                     note(load(&y, __ATOMIC_RELAXED));
                     note(load(&y, __ATOMIC_RELAXED));
                   }}});
}

TEST(Litmus, crossed_stores_may_both_lose_unless_they_are_sequentially_consistent) {
  const Outcome both_lost{2, 1, 2, 1};
  EXPECT_THAT(crossed_stores(__ATOMIC_RELEASE).outcomes, Contains(both_lost));
  EXPECT_THAT(crossed_stores(__ATOMIC_SEQ_CST).outcomes, Not(Contains(both_lost)));
}

TEST(Litmus, what_happened_before_is_never_overwritten_backwards) {
  const auto findings = explore({{[] {
                                    store(&x, 1, __ATOMIC_RELAXED);
                                    store(&y, 1, __ATOMIC_RELEASE);
                                  },
                                  [] {
                                    if (load(&y, __ATOMIC_ACQUIRE) == 0) return;
                                    store(&x, 2, __ATOMIC_RELAXED);
                                    note(load(&x, __ATOMIC_RELAXED));
                                  }}});
  EXPECT_EQ(findings.outcomes, (std::set<Outcome>{{}, {2}}));
}

TEST(Litmus, a_wait_for_an_event_that_nobody_sets_is_stuck) {
  static int event;
  EXPECT_EQ(explore({{[] { model::wait_event(&event); }}}).stuck, 1U);
  EXPECT_TRUE(explore({{[] { model::wait_event(&event); }, [] { model::set_event(&event); }}}).clean());
  // An event that resets itself lets one of two pass.
  const auto wait = [] { model::wait_and_reset_event(&event); };
  EXPECT_GT(explore({{wait, wait, [] { model::set_event(&event); }}}).stuck, 0U);
}

TEST(Litmus, what_is_written_before_an_event_is_set_is_read_behind_its_wait) {
  static int event;
  static std::uint32_t data;
  const auto findings = explore({{[] {
                                    model::write_plain(&data, 7);
                                    model::set_event(&event);
                                  },
                                  [] {
                                    model::wait_event(&event);
                                    note(model::read_plain(&data));
                                  }}});
  EXPECT_TRUE(findings.clean()) << findings.example;
  EXPECT_EQ(findings.outcomes, (std::set<Outcome>{{7}}));
}

TEST(Litmus, a_loop_that_tries_again_waits_for_the_other_thread) {
  const auto spin = [] {
    if (load(&x, __ATOMIC_ACQUIRE) == 0) model::try_again();
    note(load(&y, __ATOMIC_RELAXED));
  };
  const auto findings = explore({{spin, [] {
                                    store(&y, 1, __ATOMIC_RELAXED);
                                    store(&x, 1, __ATOMIC_RELEASE);
                                  }}});
  EXPECT_TRUE(findings.clean()) << findings.example;
  EXPECT_EQ(findings.outcomes, (std::set<Outcome>{{1}}));
  EXPECT_GT(explore({{spin}}).stuck, 0U);
}

}  // namespace
}  // namespace wintun
