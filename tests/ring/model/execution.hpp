// One execution of a concurrent program as a graph: events, who reads from whom, the modification order of each
// location. It grows by one event at a time, and only into graphs that C++20 allows ([intro.races], [atomics.order]):
// coherence, happens-before by release and acquire, one total order of the sequentially consistent accesses that
// agrees with strongly-happens-before and coherence, and no value out of thin air (a load reads from a store that
// is there already). Values of one thread only; explorer.hpp decides what grows next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace wintun::model {

enum class Kind : std::uint8_t {
  load,
  store,
  plain_read,  // of memory that is no atomic: two of them that are not ordered, one of which writes, are a race
  plain_write,
  update,  // of a kernel's event object: reads the last value and puts another in its place, acquiring and releasing
  wait,    // an update that is possible only while the last value is not 0
};

struct Operation {
  Kind kind{};
  const void* location = nullptr;
  int order = 0;            // as __ATOMIC_*
  std::uint32_t value = 0;  // what is written
};

struct Event {
  Operation operation;
  std::size_t thread = 0;
  std::size_t index = 0;            // in its thread
  int from = -1;                    // the event that it reads from; -1: what was there at the start, 0
  std::uint32_t read = 0;           // the value of that
  std::uint64_t before = 0;         // the events that happen before this one, a bit each
  std::uint64_t firmly_before = 0;  // the events that strongly happen before this one

  bool is_plain() const { return operation.kind == Kind::plain_read || operation.kind == Kind::plain_write; }
  bool reads() const { return operation.kind != Kind::store && operation.kind != Kind::plain_write; }
  bool writes() const { return operation.kind != Kind::load && operation.kind != Kind::plain_read; }
};

class Execution {
 public:
  enum class Added { ok, impossible, race };

  explicit Execution(std::size_t threads) : threads_(threads) {}

  // How many ways there are to add this operation: sources for a load, places in the modification order for a store.
  std::size_t choices(const Operation& operation) const;
  // Adds it as the next event of `thread`; impossible: C++ forbids this choice, and the graph is spoiled.
  Added add(std::size_t thread, const Operation& operation, std::size_t choice);

  std::size_t size() const { return events_.size(); }
  const Event& event(std::size_t thread, std::size_t index) const {
    return events_[static_cast<std::size_t>(threads_[thread][index])];
  }
  std::size_t length(std::size_t thread) const { return threads_[thread].size(); }

  // Equal for equal graphs, in whatever order they grew.
  std::string key() const;
  // The events in the order in which they were added, for people.
  std::string describe(const std::map<const void*, std::string>& names) const;

 private:
  using Order = std::vector<int>;  // the stores to one location, in modification order

  const Order& order_of(const void* location) const;
  int place(const void* location, int store) const;
  int place_read(const Event& event) const { return place(event.operation.location, event.from); }
  bool is_coherent(const Event& event, int first_allowed) const;
  bool has_race(const Event& event) const;
  bool has_total_order() const;
  void inherit(Event& event, int previous) const;

  std::vector<Event> events_;
  std::vector<std::vector<int>> threads_;
  std::map<const void*, Order> stores_;
};

}  // namespace wintun::model
