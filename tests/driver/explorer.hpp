// Runs a few tasks under every schedule, one step at a time, so that a race that exists is found, not hoped for.
// A task calls step() where another one may come between, and block_until() where it would wait for one.
// Only one task runs at any moment; depth-first over the choices, with a bound on preemptions where tasks are many.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace wintun {

class Explorer {
 public:
  using Tasks = std::vector<std::function<void()>>;
  static constexpr int kNoBound = 1 << 20;
  explicit Explorer(int preemptions = kNoBound) : preemptions_(preemptions) {}

  // `prepare` makes fresh objects and the tasks upon them; `check` looks at the outcome. Returns the number of
  // schedules, which stops early when check or a task says false through fail().
  template <class Prepare, class Check>
  std::size_t run(Prepare prepare, Check check) {
    std::size_t schedules = 0;
    do {
      ++schedules;
      execute(prepare());
      check();
    } while (!failed_ && next_schedule());
    return schedules;
  }

  void fail() { failed_ = true; }
  bool failed() const { return failed_; }
  bool deadlocked() const { return deadlocked_; }

  void step() {
    block_until([] { return true; });
  }

  // Within a task. `ready` reads only what tasks change.
  void block_until(std::function<bool()> ready) {
    std::unique_lock lock(mutex_);
    const std::size_t self = current_;
    waiting_[self] = std::move(ready);
    choose(self);
    changed_.notify_all();
    changed_.wait(lock, [&] { return current_ == self || abandoned_; });
    if (abandoned_) throw Abandoned{};
    ++steps_;
  }

  // A spinning wait: runnable again only after another task has moved.
  void yield() {
    const std::size_t before = steps_ + 1;
    block_until([this, before] { return steps_ >= before; });
  }

 private:
  struct Abandoned {};
  struct Choice {
    std::size_t taken, options;
  };
  static constexpr std::size_t kNobody = ~std::size_t{0};

  void execute(const Tasks& tasks) {
    waiting_.assign(tasks.size(), [] { return true; });
    finished_.assign(tasks.size(), false);
    depth_ = 0;
    used_ = 0;
    steps_ = 0;
    abandoned_ = false;
    current_ = kNobody;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      threads.emplace_back([this, i, &tasks] { body(i, tasks[i]); });
    }
    {
      const std::lock_guard lock(mutex_);
      choose(kNobody);
    }
    changed_.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void body(std::size_t self, const std::function<void()>& task) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return current_ == self || abandoned_; });
      if (abandoned_) return;
    }
    try {
      task();
    } catch (const Abandoned&) {
      return;
    }
    const std::lock_guard lock(mutex_);
    finished_[self] = true;
    ++steps_;
    choose(kNobody);
    changed_.notify_all();
  }

  // Under the mutex: who runs next. The one that runs is the first option, so that going on costs no preemption.
  void choose(std::size_t self) {
    std::vector<std::size_t> options;
    const bool self_ready = self != kNobody && waiting_[self]();
    if (self_ready) options.push_back(self);
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      if (i != self && !finished_[i] && waiting_[i]()) options.push_back(i);
    }
    if (options.empty()) {
      bool all = true;
      for (const bool finished : finished_) all = all && finished;
      if (!all) deadlocked_ = failed_ = abandoned_ = true;
      current_ = kNobody;
      return;
    }
    if (self_ready && used_ >= preemptions_) options.erase(options.begin() + 1, options.end());
    if (depth_ == choices_.size()) choices_.push_back({0, options.size()});
    if (choices_[depth_].options != options.size()) throw std::logic_error("a task is not deterministic");
    const std::size_t taken = choices_[depth_++].taken;
    if (self_ready && taken != 0) ++used_;
    current_ = options[taken];
  }

  bool next_schedule() {
    while (!choices_.empty()) {
      Choice& last = choices_.back();
      if (++last.taken < last.options) return true;
      choices_.pop_back();
    }
    return false;
  }

  const int preemptions_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<bool()>> waiting_;
  std::vector<bool> finished_;
  std::vector<Choice> choices_;
  std::size_t depth_ = 0, current_ = kNobody, steps_ = 0;
  int used_ = 0;
  bool failed_ = false, deadlocked_ = false, abandoned_ = false;
};

}  // namespace wintun
