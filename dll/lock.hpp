// The lock of a packet's path: two atomic operations when nobody else wants it, a short spin, then a futex.
// Any thread. It is never held while a callback runs; the longest that happens under it is one pump of a driver.
#pragma once

#include <atomic>
#include <cstdint>

namespace wintun {

class Lock {
 public:
  void lock() {
    std::uint32_t expected = kFree;
    if (!word_.compare_exchange_strong(expected, kTaken, std::memory_order_acquire, std::memory_order_relaxed)) {
      lock_slowly();
    }
  }

  void unlock() {
    if (word_.exchange(kFree, std::memory_order_release) == kAwaited) word_.notify_one();
  }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kTaken = 1;
  static constexpr std::uint32_t kAwaited = 2;  // taken, and somebody may sleep
  static constexpr int kSpins = 100;            // about the time of a packet that needs no system call

  void lock_slowly() {
    for (int i = 0; i < kSpins; ++i) {
      std::uint32_t expected = kFree;
      if (word_.load(std::memory_order_relaxed) == kFree &&
          word_.compare_exchange_weak(expected, kTaken, std::memory_order_acquire, std::memory_order_relaxed)) {
        return;
      }
    }
    while (word_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
      word_.wait(kAwaited, std::memory_order_relaxed);
    }
  }

  std::atomic<std::uint32_t> word_{kFree};
};

}  // namespace wintun
