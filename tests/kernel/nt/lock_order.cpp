// Which locks a thread holds, and in which order locks are taken by all threads: taking A under B after somebody took
// B under A is a violation, whether or not it came to a deadlock. By instance, as lock classes cannot be seen here.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "tests/kernel/nt/checker.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {
namespace {

struct Order {
  std::mutex lock;
  std::map<const void*, std::set<const void*>> after;  // key: held while each of these was taken
};

Order& order() {
  static Order* const one = new Order;
  return *one;
}

bool leads_to(const Order& known, const void* from, const void* to, std::set<const void*>& seen) {
  if (from == to) return true;
  if (!seen.insert(from).second) return false;
  const auto found = known.after.find(from);
  return found != known.after.end() && std::any_of(found->second.begin(), found->second.end(),
                                                   [&](const void* next) { return leads_to(known, next, to, seen); });
}

void erase(Order& known, const void* lock) {
  known.after.erase(lock);
  for (auto& [first, later] : known.after) later.erase(lock);
}

}  // namespace

void lock_wanted(const void* lock, const char* kind, const char* function) {
  const std::vector<HeldLock>& held = this_level().held;
  if (held.empty()) return;
  if (lock_is_held(lock)) {
    violation(std::string(function) + ": this thread holds that " + kind + " already, it would wait for itself");
    std::fprintf(stderr, "%s: deadlock with itself\n%s", function, take_violations().c_str());
    std::abort();
  }
  bool inverted = false;
  {
    Order& known = order();
    const std::lock_guard locked(known.lock);
    for (const HeldLock& first : held) {
      if (!known.after[first.lock].insert(lock).second) continue;
      std::set<const void*> seen;
      if (leads_to(known, lock, first.lock, seen)) inverted = true;
    }
  }
  if (inverted) violation(std::string(function) + ": this " + kind + " is taken in both orders with another lock");
}

void lock_taken(const void* lock, const char* kind, bool shared) {
  this_level().held.push_back({lock, kind, shared});
}

bool lock_left(const void* lock, const char* function) {
  std::vector<HeldLock>& held = this_level().held;
  const auto found = std::find_if(held.rbegin(), held.rend(), [&](const HeldLock& one) { return one.lock == lock; });
  if (found == held.rend()) {
    violation(std::string(function) + ": this thread does not hold that lock");
    return false;
  }
  held.erase(std::next(found).base());
  return true;
}

bool lock_is_held(const void* lock) {
  const std::vector<HeldLock>& held = this_level().held;
  return std::any_of(held.begin(), held.end(), [&](const HeldLock& one) { return one.lock == lock; });
}

void forget_lock(const void* lock) {
  const std::lock_guard locked(order().lock);
  erase(order(), lock);
}

void forget_locks_in(const void* memory, std::size_t bytes) {
  Order& known = order();
  const std::lock_guard locked(known.lock);
  if (known.after.empty()) return;
  const void* const end = static_cast<const char*>(memory) + bytes;
  const auto inside = [&](const void* lock) { return lock >= memory && lock < end; };
  for (auto one = known.after.begin(); one != known.after.end();) {
    if (inside(one->first)) {
      one = known.after.erase(one);
      continue;
    }
    for (auto later = one->second.begin(); later != one->second.end();) {
      later = inside(*later) ? one->second.erase(later) : std::next(later);
    }
    ++one;
  }
}

void forget_all_locks() {
  const std::lock_guard locked(order().lock);
  order().after.clear();
}

}  // namespace wintun::kernel
