// How a program learns that a socket of the stack can be read or written: a descriptor for those who wait for one
// socket, made when first asked for, or a Watcher for an event loop with thousands. The stack's lock covers Signals;
// a Watcher may be used from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "platform/event.hpp"

namespace wintun {

inline constexpr std::uint32_t kReadable = 1;  // something, the end, or an error can be received
inline constexpr std::uint32_t kWritable = 2;  // there is room to send, or an error to learn

// What has changed, by the tokens that its user gave. One descriptor for any number of sockets.
class Watcher {
 public:
  struct Change {
    std::uint64_t token;
    std::uint32_t became;  // kReadable, kWritable
  };

  WaitHandle handle() const { return event_.handle(); }  // readable while there are changes
  std::vector<Change> take();
  void add(std::uint64_t token, std::uint32_t became);

 private:
  Event event_;
  std::mutex mutex_;
  std::vector<Change> changes_;
};

class Signals {
 public:
  // A level that rises is told to the watcher; descriptors follow it both ways.
  void update(std::uint32_t level);
  std::uint32_t level() const { return level_; }

  // A descriptor that is readable while the level has `which`. Throws std::system_error.
  WaitHandle handle(std::uint32_t which);

  // What holds already is told at once. Null: no longer.
  void watch(std::shared_ptr<Watcher> watcher, std::uint64_t token);

 private:
  std::uint32_t level_ = 0;
  std::optional<Event> readable_;
  std::optional<Event> writable_;
  std::shared_ptr<Watcher> watcher_;
  std::uint64_t token_ = 0;
};

}  // namespace wintun
