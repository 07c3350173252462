// The level of a thread and the locks that it holds. ndis/ needs no more of a thread than this, so that it also runs
// on another kernel's threads.
#pragma once

#include <vector>

#include "tests/kernel/kernel.hpp"

namespace wintun::kernel {

struct HeldLock {
  const void* lock;
  const char* kind;
  bool shared;
};

struct ThreadLevel {
  KIRQL irql = PASSIVE_LEVEL;
  std::vector<HeldLock> held;
};
ThreadLevel& this_level();  // of this thread, which alone looks at it

// A function of a driver came back where it should be at PASSIVE_LEVEL with no lock; put right if it is not.
void expect_passive_after(const char* function);

// Notes that this thread takes or lets go of a lock that raises to DISPATCH_LEVEL: order, recursion, waiting.
void lock_wanted(const void* lock, const char* kind, const char* function);  // before it spins
void lock_taken(const void* lock, const char* kind, bool shared);
bool lock_left(const void* lock, const char* function);  // false: this thread does not hold it
bool lock_is_held(const void* lock);                     // by this thread
void forget_lock(const void* lock);                      // its memory is used for something else
void forget_locks_in(const void* memory, std::size_t bytes);
void forget_all_locks();

}  // namespace wintun::kernel
