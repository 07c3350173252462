// Faults: which call of a fallible kernel function fails. One fault a run; the idea is usersim's, that a stack which
// has failed once need not fail again.
#include <map>
#include <mutex>
#include <set>

#include "tests/kernel/kernel.hpp"
#include "tests/kernel/nt/checker.hpp"

namespace wintun::kernel {
namespace {

struct Plan {
  std::mutex lock;
  std::map<std::string, unsigned, std::less<>> calls;  // fail_call: how many more until it fails
  bool exploring = false;
  bool failed_in_this_run = false;
  std::set<Stack> failed;
};

Plan& plan() {
  static Plan* const one = new Plan;
  return *one;
}

}  // namespace

bool should_fail(const char* function) {
  Plan& now = plan();
  const std::lock_guard locked(now.lock);
  const auto call = now.calls.find(function);
  if (call != now.calls.end() && --call->second == 0) {
    now.calls.erase(call);
    return true;
  }
  if (!now.exploring || now.failed_in_this_run) return false;
  now.failed_in_this_run = now.failed.insert(capture_stack(1)).second;
  return now.failed_in_this_run;
}

std::size_t with_every_fault(const std::function<void()>& scenario) {
  Plan& now = plan();
  for (;;) {
    {
      const std::lock_guard locked(now.lock);
      now.exploring = true;
      now.failed_in_this_run = false;
    }
    scenario();
    const std::lock_guard locked(now.lock);
    if (now.failed_in_this_run) continue;
    now.exploring = false;
    const std::size_t faults = now.failed.size();
    now.failed.clear();
    return faults;
  }
}

void fail_call(std::string_view function, unsigned nth) {
  const std::lock_guard locked(plan().lock);
  plan().calls[std::string(function)] = nth;
}

bool no_failure_left() {
  const std::lock_guard locked(plan().lock);
  const bool none = plan().calls.empty();
  plan().calls.clear();
  return none;
}

}  // namespace wintun::kernel
