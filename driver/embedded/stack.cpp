// See stack.hpp. lwIP's own timer list is not used (LWIP_TIMERS 0): it would wake up for protocols that we do not
// have, and every 25 ms for connections that wait for nothing.
#include "driver/embedded/stack.hpp"

#include <lwip/init.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/priv/tcp_priv.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#include "driver/embedded/blocks.hpp"

namespace wintun {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTick = std::chrono::milliseconds(TCP_TMR_INTERVAL);
constexpr auto kSlowTick = std::chrono::seconds(1);  // when nothing but the ends of connections is to be timed
constexpr std::int16_t kLeastRto = 200 / TCP_SLOW_INTERVAL;
constexpr auto kFragmentsLive =
    std::chrono::seconds((IP_REASS_MAXAGE > IPV6_REASS_MAXAGE ? IP_REASS_MAXAGE : IPV6_REASS_MAXAGE) + 2);
constexpr auto kFragmentTick = std::chrono::milliseconds(IP_TMR_INTERVAL);

enum class Pace { sleep, slow, fast };

struct Stack {
  std::mutex mutex;  // over lwIP and everything in it
  std::condition_variable timer;
  Deferred* deferred = nullptr;
  Pace pace = Pace::sleep;
  std::optional<Clock::time_point> fragments_until;
  Clock::time_point next_fragment_tick;
  bool stopping = false;
  std::atomic<std::uint64_t> wakes{0};

  std::mutex users_mutex;  // the thread's start and end
  std::uint32_t users = 0;
  bool initialized = false;
  std::thread thread;

  bool is_of_the_parent = false;
};

// Never destroyed: threads may be inside until the process is gone.
Stack& stack() {
  static Stack& one = *new Stack;
  return one;
}

// A child of a fork has a copy of the stack and none of its threads. Nobody else may have been inside at that moment,
// or whoever touches a socket in the child would wait for a thread that is not there.
void care_for_forks() {
  static const int once = ::pthread_atfork(
      [] {
        stack().mutex.lock();
        lock_blocks();
      },
      [] {
        unlock_blocks();
        stack().mutex.unlock();
      },
      [] {
        unlock_blocks();
        stack().is_of_the_parent = true;
        stack().mutex.unlock();
      });
  (void)once;  // without memory for it forks are as they were
}

// How many StackLocks this thread has: the end of a socket may be the end of others.
thread_local int depth = 0;

// Whether time changes anything about this connection.
bool waits_for_time(const tcp_pcb& pcb) {
  if (pcb.state != ESTABLISHED && pcb.state != CLOSE_WAIT && pcb.state != FIN_WAIT_2) return true;
  if (pcb.state == FIN_WAIT_2 && (pcb.flags & TF_RXCLOSED) != 0) return true;
  constexpr tcpflags_t kPending = TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR | TF_RTO;
  return pcb.unsent != nullptr || pcb.unacked != nullptr || pcb.ooseq != nullptr || pcb.refused_data != nullptr ||
         pcb.persist_backoff != 0 || pcb.poll != nullptr || (pcb.flags & kPending) != 0;
}

Pace needed_pace() {
  for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) {
    if (waits_for_time(*pcb)) return Pace::fast;
  }
  return tcp_tw_pcbs != nullptr ? Pace::slow : Pace::sleep;
}

void tick(Pace pace) {
  // A link inside one computer measures round trips of nothing, and a peer that once takes longer would be sent
  // everything again.
  for (tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) {
    if (pcb->sv < kLeastRto) pcb->sv = kLeastRto;  // what a timeout doubles is made of this
    if (pcb->rto < kLeastRto) pcb->rto = kLeastRto;
  }
  if (pace == Pace::slow) {
    tcp_ticks += static_cast<std::uint32_t>(kSlowTick / kTick) / 2 - 1;
    tcp_tmr();  // one call in two is the slow timer's
  }
  tcp_tmr();
}

void tick_fragments(Stack& self, Clock::time_point now) {
  if (!self.fragments_until || now < self.next_fragment_tick) return;
  ip_reass_tmr();
  ip6_reass_tmr();
  self.next_fragment_tick = now + kFragmentTick;
  if (now >= *self.fragments_until) self.fragments_until.reset();
}

void run(Stack& self) {
  std::unique_lock lock(self.mutex);
  Clock::time_point next_tick = Clock::now();
  Pace pace = Pace::sleep;
  while (!self.stopping) {
    if (self.pace != pace) next_tick = Clock::now() + (self.pace == Pace::slow ? kSlowTick : kTick);
    pace = self.pace;
    std::optional<Clock::time_point> until =
        self.fragments_until ? std::optional(self.next_fragment_tick) : std::nullopt;
    if (pace != Pace::sleep && (!until || next_tick < *until)) until = next_tick;
    if (until) {
      self.timer.wait_until(lock, *until);
    } else {
      self.timer.wait(lock);
    }
    self.wakes.fetch_add(1, std::memory_order_relaxed);
    depth = 1;
    const Clock::time_point now = Clock::now();
    tick_fragments(self, now);
    if (pace != Pace::sleep && now >= next_tick) {
      tick(pace);
      self.pace = needed_pace();
      next_tick = now + (self.pace == Pace::slow ? kSlowTick : kTick);
      pace = self.pace;
    }
    Deferred::run_all();
    depth = 0;
  }
}

}  // namespace

StackLock::StackLock() {
  if (depth++ == 0) stack().mutex.lock();
}

StackLock::~StackLock() {
  if (depth > 1) {
    --depth;
    return;
  }
  Stack& self = stack();
  Deferred::run_all();
  bool notify = false;
  if (self.pace != Pace::fast && tcp_active_pcbs != nullptr) {
    self.pace = Pace::fast;  // the next tick looks closer
    notify = true;
  } else if (self.pace == Pace::sleep && tcp_tw_pcbs != nullptr) {
    self.pace = Pace::slow;
    notify = true;
  }
  depth = 0;
  self.mutex.unlock();
  if (notify) self.timer.notify_one();
}

// Without a device nobody would ask lwIP to forget them.
static void forget_fragments(Stack& self) {
  for (int i = 0; i <= IP_REASS_MAXAGE; ++i) ip_reass_tmr();
  for (int i = 0; i <= IPV6_REASS_MAXAGE; ++i) ip6_reass_tmr();
  self.fragments_until.reset();
}

void Deferred::request() {
  if (requested_) return;
  Stack& self = stack();
  requested_ = true;
  next_ = self.deferred;
  self.deferred = this;
}

void Deferred::run_all() {
  Stack& self = stack();
  while (self.deferred != nullptr) {
    Deferred& one = *self.deferred;
    self.deferred = one.next_;
    one.requested_ = false;
    one.action_(one.owner_);
  }
}

void Deferred::cancel() {
  if (!requested_) return;
  for (Deferred** link = &stack().deferred; *link != nullptr; link = &(*link)->next_) {
    if (*link != this) continue;
    *link = next_;
    break;
  }
  requested_ = false;
}

StackUser::StackUser() {
  Stack& self = stack();
  const std::scoped_lock users(self.users_mutex);
  if (self.users++ != 0) return;
  {
    const StackLock lock;
    if (!self.initialized) lwip_init();
    self.initialized = true;
    care_for_forks();
    self.stopping = false;
  }
  try {
    self.thread = std::thread([&self] { run(self); });
  } catch (...) {
    --self.users;
    throw;
  }
}

StackUser::~StackUser() {
  Stack& self = stack();
  const std::scoped_lock users(self.users_mutex);
  if (--self.users != 0) return;
  {
    const StackLock lock;
    forget_fragments(self);
    self.stopping = true;
  }
  self.timer.notify_one();
  self.thread.join();
  free_idle_blocks();
}

void expect_fragments() {
  Stack& self = stack();
  const Clock::time_point now = Clock::now();
  const bool was_waiting = self.fragments_until.has_value();
  self.fragments_until = now + kFragmentsLive;
  if (was_waiting) return;
  self.next_fragment_tick = now + kFragmentTick;
  self.timer.notify_one();
}

bool stack_is_of_the_parent() { return stack().is_of_the_parent; }

std::uint64_t stack_wakes() { return stack().wakes.load(std::memory_order_relaxed); }

}  // namespace wintun

extern "C" {

void wintun_lwip_assert_locked(void) {
  if (wintun::depth > 0) return;
  wintun_lwip_failed("lwIP was called without its lock", __FILE__, __LINE__);
}

void wintun_lwip_failed(const char* what, const char* file, int line) {
  (void)std::fprintf(stderr, "ringtun: lwIP: %s (%s:%d)\n", what, file, line);
  std::abort();
}

u32_t sys_now(void) {
  const auto since = wintun::Clock::now().time_since_epoch();
  return static_cast<u32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}
}
