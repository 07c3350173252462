// Waiting: what ends a wait, and whom cancelling wakes. `waits` is counted when a waiter has joined, so a test knows
// who is blocked without sleeping.
#include <gmock/gmock.h>
#include <pthread.h>

#include <atomic>
#include <csignal>

#include "fake_library.hpp"
#include "session/session.hpp"
#include "threads.hpp"

namespace wintun {
namespace {

using std::chrono::steady_clock;

const Deadline kPast = steady_clock::time_point{};

bool is_set(const Event& event) {
  const WaitHandle handle = event.handle();
  return wait_any({&handle, 1}, kPast) == WaitStatus::signalled;
}

class WaitTest : public FakeTest {
 protected:
  WaitTest() { EXPECT_EQ(session.start(nullptr, 0x20000), 0u); }

  // So many threads that wait without end; returns when all of them are blocked.
  void block(std::size_t count) {
    const std::uint64_t before = session.counters().waits.value();
    answers.assign(count, IoStatus::failed);
    for (IoStatus& answer : answers) threads.run([&] { answer = session.wait(std::nullopt); });
    until([&] { return session.counters().waits.value() == before + count; });
  }

  Session session{library};
  std::vector<IoStatus> answers;  // to be read when the threads are joined
  Threads threads;
};

TEST_F(WaitTest, a_packet_that_is_there_ends_a_wait_at_once) {
  world().deliver(ipv4_packet(20, 1));
  EXPECT_EQ(session.wait(std::nullopt), IoStatus::ok);
  EXPECT_EQ(session.wait(kPast), IoStatus::ok);
  EXPECT_EQ(session.counters().wakes.value(), 2u);
}

TEST_F(WaitTest, a_packet_wakes_every_waiter) {
  block(3);
  world().deliver(ipv4_packet(20, 1));
  threads.join();
  EXPECT_THAT(answers, testing::Each(IoStatus::ok));
  EXPECT_EQ(session.counters().wakes.value(), 3u);
}

TEST_F(WaitTest, a_wait_ends_at_its_deadline_and_not_before) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(30);
  EXPECT_EQ(session.wait(deadline), IoStatus::timed_out);
  EXPECT_GE(steady_clock::now(), deadline);
  EXPECT_EQ(session.wait(kPast), IoStatus::timed_out);
  EXPECT_EQ(session.counters().wakes.value(), 0u);
}

TEST_F(WaitTest, cancelling_wakes_all_who_wait_at_that_moment) {
  block(4);
  session.cancel_read();
  threads.join();
  EXPECT_THAT(answers, testing::Each(IoStatus::cancelled));
}

TEST_F(WaitTest, cancelling_does_not_touch_those_who_come_later) {
  block(2);
  session.cancel_read();
  // Whether or not the cancelled ones are out already.
  EXPECT_EQ(session.wait(kPast), IoStatus::timed_out);
  threads.join();
  EXPECT_EQ(session.wait(kPast), IoStatus::timed_out);
}

TEST_F(WaitTest, cancelling_when_nobody_waits_does_nothing) {
  for (int i = 0; i < 3; ++i) {
    session.cancel_read();
    EXPECT_EQ(session.wait(kPast), IoStatus::timed_out);
  }
}

TEST_F(WaitTest, cancelling_takes_no_packet) {
  block(1);
  session.cancel_read();
  threads.join();
  world().deliver(ipv4_packet(20, 1));
  EXPECT_EQ(session.wait(kPast), IoStatus::ok);
}

TEST_F(WaitTest, ending_wakes_all_who_wait) {
  block(4);
  session.end();
  threads.join();
  EXPECT_THAT(answers, testing::Each(IoStatus::not_up));
}

TEST_F(WaitTest, a_session_waits_again_after_it_ended_under_waiters) {
  block(1);
  session.end();
  threads.join();
  ASSERT_EQ(session.start(nullptr, 0x20000), 0u);
  EXPECT_EQ(session.wait(kPast), IoStatus::timed_out);
  block(1);
  session.cancel_read();
  threads.join();
  EXPECT_THAT(answers, testing::Each(IoStatus::cancelled));
}

TEST_F(WaitTest, a_signal_handler_interrupts_a_wait) {
  struct sigaction action {};
  struct sigaction last {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &last), 0);
  std::atomic<bool> out = false;
  IoStatus answer = IoStatus::ok;
  std::thread waiter([&] {
    answer = session.wait(std::nullopt);
    out = true;
  });
  // Again and again: a signal that comes before the waiter sleeps is no interruption.
  until([&] { return session.counters().waits.value() == 1; });
  until([&] {
    if (!out) pthread_kill(waiter.native_handle(), SIGUSR1);
    return out.load();
  });
  waiter.join();
  EXPECT_EQ(answer, IoStatus::interrupted);
  ASSERT_EQ(sigaction(SIGUSR1, &last, nullptr), 0);
}

TEST(Waiters, a_cancelled_epoch_is_reset_by_its_last_waiter_and_used_again) {
  Waiters waiters;
  waiters.open();
  Waiters::Epoch& first = waiters.join();
  ASSERT_EQ(&waiters.join(), &first);
  waiters.cancel();
  EXPECT_TRUE(is_set(first.event));

  Waiters::Epoch& second = waiters.join();
  ASSERT_NE(&second, &first);
  EXPECT_FALSE(is_set(second.event));

  EXPECT_TRUE(waiters.leave(first));
  EXPECT_TRUE(is_set(first.event)) << "another of its waiters has not seen it yet";
  EXPECT_TRUE(waiters.leave(first));
  EXPECT_FALSE(is_set(first.event));
  EXPECT_FALSE(waiters.leave(second));

  Waiters::Epoch& third = waiters.join();
  EXPECT_EQ(&third, &second) << "nobody cancelled it";
  waiters.cancel();
  EXPECT_EQ(&waiters.join(), &first) << "no new descriptor while an old one is free";
  EXPECT_TRUE(waiters.leave(third));
  EXPECT_FALSE(waiters.leave(first));
}

TEST(Waiters, each_of_several_cancellations_reaches_its_own_waiters) {
  Waiters waiters;
  waiters.open();
  std::vector<Waiters::Epoch*> epochs;
  for (int i = 0; i < 5; ++i) {
    epochs.push_back(&waiters.join());
    waiters.cancel();
  }
  Waiters::Epoch& later = waiters.join();
  for (Waiters::Epoch* epoch : epochs) EXPECT_TRUE(waiters.leave(*epoch));
  EXPECT_FALSE(is_set(later.event));
  EXPECT_FALSE(waiters.leave(later));
}

TEST(Waiters, closing_wakes_also_those_who_come_until_it_is_over) {
  Waiters waiters;
  waiters.open();
  waiters.wake_all();
  Waiters::Epoch& epoch = waiters.join();
  EXPECT_TRUE(is_set(epoch.event));
  EXPECT_FALSE(waiters.leave(epoch));
  waiters.close();
  waiters.open();
  EXPECT_FALSE(is_set(waiters.join().event));
}

}  // namespace
}  // namespace wintun
