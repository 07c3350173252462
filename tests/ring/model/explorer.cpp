// Depth first, each graph once. See explorer.hpp.
#include "model/explorer.hpp"

#include <optional>
#include <stdexcept>
#include <unordered_set>

namespace wintun::model {
namespace {

// How a run of a thread's function ends before its end.
struct Pending {
  Operation operation;
};
struct TriedAgain {};
struct Broken {
  const char* promise;
};

// The run that is going on: the thread's events so far are given to it again.
struct Run {
  const Execution* execution;
  std::size_t thread;
  std::size_t done = 0;
  std::vector<std::uint32_t> notes{};
};
Run* g_run = nullptr;
const Program* g_program = nullptr;

std::uint32_t perform(const Operation& operation) {
  if (g_run == nullptr) throw std::logic_error("an operation of the model outside of explore()");
  if (g_run->done == g_run->execution->length(g_run->thread)) throw Pending{operation};
  const Event& event = g_run->execution->event(g_run->thread, g_run->done++);
  if (event.operation.kind != operation.kind || event.operation.location != operation.location ||
      event.operation.value != operation.value) {
    throw std::logic_error("a thread of the model does not do the same when it is run again");
  }
  return event.read;
}

int ordered(const void* location, bool is_store, int order) {
  return g_program->reorder ? g_program->reorder(location, is_store, order) : order;
}

// What a thread wants next; none when it is done.
struct Next {
  std::optional<Operation> operation;
  std::vector<std::uint32_t> notes;
};

class Explorer {
 public:
  explicit Explorer(const Program& program) : program_(program) {}

  Findings run() {
    Execution start(program_.threads.size());
    std::vector<Next> wants;
    for (std::size_t thread = 0; thread < program_.threads.size(); ++thread) wants.push_back(replay(start, thread));
    visit(start, wants);
    findings_.states = seen_.size();
    return std::move(findings_);
  }

 private:
  Next replay(const Execution& execution, std::size_t thread) {
    Run run{&execution, thread};
    g_run = &run;
    struct Restore {
      ~Restore() { g_run = nullptr; }
    } restore;
    try {
      program_.threads[thread]();
    } catch (const Pending& pending) {
      return {pending.operation, {}};
    }
    return {std::nullopt, run.notes};
  }

  void found(std::uint64_t& count, const Execution& execution, const std::string& what) {
    if (findings_.clean()) findings_.example = what + " after\n" + execution.describe(program_.names);
    ++count;
  }

  void visit(const Execution& execution, const std::vector<Next>& wants) {
    if (!seen_.insert(execution.key()).second) return;
    bool goes_on = false;
    bool all_done = true;
    for (std::size_t thread = 0; thread < wants.size(); ++thread) {
      if (!wants[thread].operation) continue;
      all_done = false;
      const std::size_t choices = execution.choices(*wants[thread].operation);
      for (std::size_t choice = 0; choice < choices; ++choice) {
        if (step(execution, wants, thread, choice)) goes_on = true;
      }
    }
    if (all_done) {
      ++findings_.executions;
      std::vector<std::uint32_t> outcome;
      for (const Next& next : wants) outcome.insert(outcome.end(), next.notes.begin(), next.notes.end());
      findings_.outcomes.insert(outcome);
    } else if (!goes_on) {
      found(findings_.stuck, execution, "a thread waits for ever");
    }
  }

  // False: this choice is no step, because C++ forbids it or because the thread only tried in vain.
  bool step(const Execution& execution, const std::vector<Next>& wants, std::size_t thread, std::size_t choice) {
    Execution longer = execution;
    switch (longer.add(thread, *wants[thread].operation, choice)) {
      case Execution::Added::impossible:
        return false;
      case Execution::Added::race:
        found(findings_.races, longer, "a data race");
        return true;
      case Execution::Added::ok:
        break;
    }
    std::vector<Next> then = wants;
    try {
      then[thread] = replay(longer, thread);
    } catch (const TriedAgain&) {
      return false;
    } catch (const Broken& broken) {
      found(findings_.broken, longer, std::string("a broken promise (") + broken.promise + ")");
      return true;
    }
    visit(longer, then);
    return true;
  }

  const Program& program_;
  Findings findings_;
  std::unordered_set<std::string> seen_;
};

}  // namespace

std::uint32_t load(const std::uint32_t* location, int order) {
  return perform({Kind::load, location, ordered(location, false, order), 0});
}
void store(std::uint32_t* location, std::uint32_t value, int order) {
  perform({Kind::store, location, ordered(location, true, order), value});
}
std::uint32_t read_plain(const void* location) { return perform({Kind::plain_read, location, __ATOMIC_RELAXED, 0}); }
void write_plain(const void* location, std::uint32_t value) {
  perform({Kind::plain_write, location, __ATOMIC_RELAXED, value});
}
void set_event(const void* event) { perform({Kind::update, event, __ATOMIC_ACQ_REL, 1}); }
void reset_event(const void* event) { perform({Kind::update, event, __ATOMIC_ACQ_REL, 0}); }
void wait_event(const void* event) { perform({Kind::wait, event, __ATOMIC_ACQ_REL, 1}); }
void wait_and_reset_event(const void* event) { perform({Kind::wait, event, __ATOMIC_ACQ_REL, 0}); }

void try_again() { throw TriedAgain{}; }
void require(bool holds, const char* promise) {
  if (!holds) throw Broken{promise};
}
void note(std::uint32_t value) { g_run->notes.push_back(value); }

Findings explore(const Program& program) {
  g_program = &program;
  Findings findings = Explorer(program).run();
  g_program = nullptr;
  return findings;
}

}  // namespace wintun::model
