// The readers that wait, and how they are woken: those of this moment once (cancel), or everybody for good (close).
// Waiters of one epoch share an event; cancelling sets it and begins a new epoch with another, so that whoever comes
// later sleeps on an event that nobody has set. Any thread; the lock is held for a few instructions.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "platform/event.hpp"

namespace wintun {

class Waiters {
 public:
  struct Epoch {
    Event event;
    std::uint32_t waiting = 0;
    bool cancelled = false;
  };

  void open();   // before anybody waits; throws std::system_error without a descriptor
  void close();  // when nobody waits any more

  Epoch& join();
  [[nodiscard]] bool leave(Epoch& epoch);  // true: it was cancelled

  void cancel();    // nothing when nobody waits
  void wake_all();  // also those who come, until close()

 private:
  Epoch& unused();

  std::mutex mutex_;
  std::vector<std::unique_ptr<Epoch>> epochs_;  // rarely more than two: a cancelled one lives until its last is out
  Epoch* current_ = nullptr;                    // while open
};

}  // namespace wintun
