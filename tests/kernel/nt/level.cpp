// IRQL, one for each thread: a number that calls are checked against. Raising it keeps nobody from interrupting.
#include "tests/kernel/nt/level.hpp"

#include <string>

#include "tests/kernel/nt/checker.hpp"
#include "tests/kernel/nt/per_thread.hpp"

namespace wintun::kernel {

ThreadLevel& this_level() {
  static auto* const own = new PerThread([](void* level) { delete static_cast<ThreadLevel*>(level); });
  if (own->get() == nullptr) own->set(new ThreadLevel);
  return *static_cast<ThreadLevel*>(own->get());
}

void expect_passive_after(const char* function) {
  ThreadLevel& level = this_level();
  if (level.irql != PASSIVE_LEVEL) violation(std::string(function) + " came back at a raised IRQL");
  if (!level.held.empty()) violation(std::string(function) + " came back with a lock held");
  level.irql = PASSIVE_LEVEL;
}

void require_irql_at_most(unsigned most, const char* function) {
  const KIRQL irql = this_level().irql;
  if (irql <= most) return;
  violation(std::string(function) + " called at IRQL " + std::to_string(irql) + ", at most " + std::to_string(most) +
            " is allowed");
}

void require_may_wait(const char* function) {
  require_irql_at_most(APC_LEVEL, function);
  for (const HeldLock& held : this_level().held) {
    violation(std::string(function) + " may wait while a " + held.kind + " is held");
  }
}

KIRQL raise_irql(KIRQL irql) {
  KIRQL& now = this_level().irql;
  const KIRQL before = now;
  if (irql < before) violation("KeRaiseIrql to " + std::to_string(irql) + " from " + std::to_string(before));
  now = irql;
  return before;
}

void lower_irql(KIRQL irql) {
  KIRQL& now = this_level().irql;
  if (irql > now) violation("KeLowerIrql to " + std::to_string(irql) + " from " + std::to_string(now));
  if (irql < DISPATCH_LEVEL && !this_level().held.empty()) {
    violation(std::string("KeLowerIrql while a ") + this_level().held.back().kind + " is held");
  }
  now = irql;
}

}  // namespace wintun::kernel
