// See waiters.hpp. The lock is held for counting and for setting an event, never while anybody sleeps. An epoch's
// event is reset by the last of its waiters, since all of them must have seen it.
#include "session/waiters.hpp"

#include <algorithm>

namespace wintun {

void Waiters::open() {
  const std::lock_guard lock(mutex_);
  current_ = epochs_.emplace_back(std::make_unique<Epoch>()).get();
}

Waiters::Epoch& Waiters::join() {
  const std::lock_guard lock(mutex_);
  ++current_->waiting;
  return *current_;
}

bool Waiters::leave(Epoch& epoch) {
  const std::lock_guard lock(mutex_);
  const bool cancelled = epoch.cancelled;
  if (--epoch.waiting == 0 && cancelled) {
    epoch.event.reset();
    epoch.cancelled = false;
  }
  return cancelled;
}

void Waiters::cancel() {
  const std::lock_guard lock(mutex_);
  if (current_ == nullptr || current_->waiting == 0) return;
  Epoch& next = unused();  // may throw: then nobody was woken
  current_->cancelled = true;
  current_->event.set();
  current_ = &next;
}

void Waiters::wake_all() {
  const std::lock_guard lock(mutex_);
  current_->event.set();  // the others are set already
}

void Waiters::close() {
  const std::lock_guard lock(mutex_);
  current_ = nullptr;
  epochs_.clear();
}

Waiters::Epoch& Waiters::unused() {
  const auto found = std::find_if(epochs_.begin(), epochs_.end(), [this](const auto& epoch) {
    return epoch.get() != current_ && epoch->waiting == 0;
  });
  return found != epochs_.end() ? **found : *epochs_.emplace_back(std::make_unique<Epoch>());
}

}  // namespace wintun
