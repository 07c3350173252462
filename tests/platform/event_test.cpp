// Events and waiting for several of them: what ends a wait, who is woken, and what a deadline means.
#include "platform/event.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

namespace wintun {
namespace {

using std::chrono::steady_clock;

Deadline after(std::chrono::milliseconds time) { return steady_clock::now() + time; }
const Deadline kAtOnce = steady_clock::time_point::min();

WaitStatus wait_for(const Event& event, const Deadline& deadline) {
  const WaitHandle handles[] = {event.handle()};
  return wait_any(handles, deadline);
}

TEST(Event, is_not_set_when_it_is_made) {
  const Event event;
  EXPECT_EQ(wait_for(event, kAtOnce), WaitStatus::timed_out);
}

TEST(Event, stays_set_until_it_is_reset) {
  Event event;
  event.set();
  event.set();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wait_for(event, std::nullopt), WaitStatus::signalled);
  event.reset();
  EXPECT_EQ(wait_for(event, kAtOnce), WaitStatus::timed_out);
  event.reset();  // of one that is not set: nothing
  EXPECT_EQ(wait_for(event, kAtOnce), WaitStatus::timed_out);
}

TEST(Event, keeps_errno) {
  Event event;
  errno = EBUSY;
  event.reset();
  EXPECT_EQ(errno, EBUSY);
  event.set();
  EXPECT_EQ(errno, EBUSY);
}

TEST(Event, is_closed_on_exec) {
  const Event event;
  EXPECT_NE(fcntl(static_cast<int>(event.handle()), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Event, gives_its_descriptor_back) {
  int descriptor = 0;
  {
    const Event event;
    descriptor = static_cast<int>(event.handle());
  }
  EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
}

TEST(Wait, a_set_event_wins_over_a_deadline_that_has_passed) {
  Event event;
  event.set();
  EXPECT_EQ(wait_for(event, kAtOnce), WaitStatus::signalled);
}

TEST(Wait, never_returns_before_its_deadline) {
  const Event event;
  for (int i = 0; i < 20; ++i) {
    const auto deadline = after(std::chrono::milliseconds(2));
    EXPECT_EQ(wait_for(event, deadline), WaitStatus::timed_out);
    EXPECT_GE(steady_clock::now(), *deadline);
  }
}

TEST(Wait, the_last_moment_of_the_clock_is_a_deadline_like_any_other) {
  Event event;
  std::thread setter([&] { event.set(); });
  EXPECT_EQ(wait_for(event, steady_clock::time_point::max()), WaitStatus::signalled);
  setter.join();
}

TEST(Wait, any_of_many_handles_ends_it) {
  std::vector<Event> events(kMaxWaitHandles);
  std::vector<WaitHandle> handles;
  for (const Event& event : events) handles.push_back(event.handle());
  EXPECT_EQ(wait_any(handles, kAtOnce), WaitStatus::timed_out);
  for (Event& event : events) {
    event.set();
    EXPECT_EQ(wait_any(handles, std::nullopt), WaitStatus::signalled);
    event.reset();
  }
}

TEST(Wait, no_wait_handle_is_passed_over) {
  Event event;
  const WaitHandle handles[] = {kNoWaitHandle, event.handle(), kNoWaitHandle};
  EXPECT_EQ(wait_any(handles, kAtOnce), WaitStatus::timed_out);
  event.set();
  EXPECT_EQ(wait_any(handles, kAtOnce), WaitStatus::signalled);
  EXPECT_EQ(wait_any({}, kAtOnce), WaitStatus::timed_out);
}

TEST(Wait, too_many_handles_are_refused) {
  const std::vector<WaitHandle> handles(kMaxWaitHandles + 1, kNoWaitHandle);
  EXPECT_EQ(wait_any(handles, std::nullopt), WaitStatus::failed);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Wait, a_closed_descriptor_fails_at_once_and_says_so) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  close(ends[1]);
  const WaitHandle handles[] = {ends[0]};
  EXPECT_EQ(wait_any(handles, std::nullopt), WaitStatus::failed);
  EXPECT_EQ(errno, EBADF);
}

TEST(Wait, a_hung_up_descriptor_ends_it) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[1]);
  const WaitHandle handles[] = {ends[0]};
  EXPECT_EQ(wait_any(handles, std::nullopt), WaitStatus::signalled);
  close(ends[0]);
}

TEST(Wait, one_set_wakes_every_waiter) {
  Event event;
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.emplace_back([&] { woken += wait_for(event, std::nullopt) == WaitStatus::signalled ? 1 : 0; });
  }
  event.set();
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(woken, 8);
}

TEST(Wait, what_was_written_before_the_set_is_there_after_the_wait) {
  for (int round = 0; round < 100; ++round) {
    Event event;
    std::atomic<int> written{0};
    std::thread setter([&] {
      written.store(round + 1, std::memory_order_relaxed);
      event.set();
    });
    EXPECT_EQ(wait_for(event, std::nullopt), WaitStatus::signalled);
    EXPECT_EQ(written.load(std::memory_order_relaxed), round + 1);
    setter.join();
  }
}

std::atomic<int> g_signals{0};

TEST(Wait, a_signal_handler_interrupts_it_with_and_without_a_deadline) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++g_signals; };
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  for (const Deadline& deadline : {Deadline{}, after(std::chrono::minutes(1))}) {
    g_signals = 0;
    const Event event;
    std::atomic<bool> done{false};
    WaitStatus status = WaitStatus::failed;
    std::thread waiter([&] {
      status = wait_for(event, deadline);
      done = true;
    });
    // A signal that comes before the wait has begun is no interruption: another follows until it is one.
    while (!done) {
      pthread_kill(waiter.native_handle(), SIGUSR1);
      std::this_thread::yield();
    }
    waiter.join();
    EXPECT_EQ(status, WaitStatus::interrupted);
    EXPECT_GE(g_signals, 1);
  }
  sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace wintun
