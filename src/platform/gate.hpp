// Who is inside, and one way to close: flag, wake, wait for users, free, once. Any thread may call anything here.
// A session, an adapter and a handle each stand behind a gate, so that nothing is freed under a caller.
#pragma once

#include <atomic>
#include <cstdint>

namespace wintun {

class Gate {
 public:
  // True: inside, and leave() must follow. False: closed.
  [[nodiscard]] bool enter() {
    // Pair G: the closer sets the flag and then reads the count, a user adds itself and then reads the flag.
    // One word holds both, so whichever comes second in its modification order sees the first.
    if ((word_.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0) return true;
    leave();
    return false;
  }

  void leave() {
    // Release: all that the user did inside happens before what the closer frees.
    if (word_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) word_.notify_all();
  }

  // True for the one caller that closed it; only that one waits and frees.
  [[nodiscard]] bool close() { return (word_.fetch_or(kClosed, std::memory_order_acq_rel) & kClosed) == 0; }

  // After close() and after everybody inside was woken: returns when nobody is inside.
  void wait_until_empty() {
    for (auto word = word_.load(std::memory_order_acquire); word != kClosed;
         word = word_.load(std::memory_order_acquire)) {
      word_.wait(word, std::memory_order_acquire);
    }
  }

  // A closed and empty gate can be used again.
  void open() { word_.fetch_and(~kClosed, std::memory_order_acq_rel); }

  bool is_open() const { return (word_.load(std::memory_order_acquire) & kClosed) == 0; }

 private:
  static constexpr std::uint32_t kClosed = 0x80000000;
  std::atomic<std::uint32_t> word_{kClosed};  // the flag, and how many are inside
};

// Leaves on every way out of a scope. Test it before use.
class GateUser {
 public:
  explicit GateUser(Gate& gate) : gate_(gate.enter() ? &gate : nullptr) {}
  ~GateUser() {
    if (gate_ != nullptr) gate_->leave();
  }
  GateUser(const GateUser&) = delete;
  GateUser& operator=(const GateUser&) = delete;
  explicit operator bool() const { return gate_ != nullptr; }

 private:
  Gate* gate_;
};

}  // namespace wintun
