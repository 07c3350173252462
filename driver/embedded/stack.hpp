// The one lwIP of this process: its lock, and its timers. lwIP knows no threads, so whoever calls it, or touches what
// belongs to it, holds a StackLock. Any thread may take one, also while it holds a session's lock; whoever holds it
// takes no session's lock, calls no foreign code and waits for nothing.
// The first device starts a thread that sleeps until lwIP's next timeout, the last device ends it; without work to
// time it sleeps without end. Neighbours: device.hpp (packets), endpoint.hpp (the host's side), lwipopts.h.
#pragma once

#include <cstdint>

namespace wintun {

class StackLock {
 public:
  StackLock();   // a thread that has one may take another
  ~StackLock();  // announces what has become readable or writable meanwhile, and starts the timers if need be
  StackLock(const StackLock&) = delete;
  StackLock& operator=(const StackLock&) = delete;
};

// What must be done once at the end of a hold, however often it came up: linked until then. Under the lock.
class Deferred {
 public:
  using Action = void (*)(void* owner);
  Deferred(Action action, void* owner) : action_(action), owner_(owner) {}
  ~Deferred() { cancel(); }
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  void request();
  void cancel();
  static void run_all();  // stack.cpp alone

 private:
  const Action action_;
  void* const owner_;
  Deferred* next_ = nullptr;
  bool requested_ = false;
};

// Held by every device: the stack runs while one lives. Without the lock.
class StackUser {
 public:
  StackUser();
  ~StackUser();
  StackUser(const StackUser&) = delete;
  StackUser& operator=(const StackUser&) = delete;
};

// A fragment has come: lwIP must be asked to forget it, should the rest never come. Under the lock.
void expect_fragments();

// In the child of a fork: the devices are the parent's, and so is what they send. Under the lock.
bool stack_is_of_the_parent();

// How often the timer thread has woken up since the process began: a test shows by it that an idle stack sleeps.
std::uint64_t stack_wakes();

}  // namespace wintun
