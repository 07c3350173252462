// For tests with threads: waiting for a condition without guessing times. The condition must come true by itself, or
// the test's own time limit ends it.
#pragma once

#include <thread>
#include <vector>

namespace wintun {

template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

class Threads {
 public:
  ~Threads() { join(); }
  template <class Function>
  void run(Function function) {
    threads_.emplace_back(std::move(function));
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace wintun
