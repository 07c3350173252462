// See signals.hpp.
#include "driver/embedded/signals.hpp"

#include <utility>

namespace wintun {
namespace {

void follow(std::optional<Event>& event, bool rose, bool fell) {
  if (!event) return;
  if (rose) event->set();
  if (fell) event->reset();
}

}  // namespace

std::vector<Watcher::Change> Watcher::take() {
  const std::scoped_lock lock(mutex_);
  event_.reset();
  return std::exchange(changes_, {});
}

void Watcher::add(std::uint64_t token, std::uint32_t became) {
  const std::scoped_lock lock(mutex_);
  if (changes_.empty()) event_.set();
  changes_.push_back({token, became});
}

void Signals::update(std::uint32_t level) {
  const std::uint32_t rose = level & ~level_;
  const std::uint32_t fell = level_ & ~level;
  if ((rose | fell) == 0) return;
  level_ = level;
  follow(readable_, (rose & kReadable) != 0, (fell & kReadable) != 0);
  follow(writable_, (rose & kWritable) != 0, (fell & kWritable) != 0);
  if (rose != 0 && watcher_ != nullptr) watcher_->add(token_, rose);
}

WaitHandle Signals::handle(std::uint32_t which) {
  std::optional<Event>& event = which == kReadable ? readable_ : writable_;
  if (!event) {
    event.emplace();
    if ((level_ & which) != 0) event->set();
  }
  return event->handle();
}

void Signals::watch(std::shared_ptr<Watcher> watcher, std::uint64_t token) {
  watcher_ = std::move(watcher);
  token_ = token;
  if (watcher_ != nullptr && level_ != 0) watcher_->add(token_, level_);
}

}  // namespace wintun
