// The rules. "Before" is happens-before throughout; places in a modification order count from 0, and what was
// there at the start has place -1.
#include "model/execution.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace wintun::model {
namespace {

constexpr std::uint64_t bit(int event) { return std::uint64_t{1} << event; }

bool acquires(int order) {
  return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}
bool releases(int order) {
  return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

}  // namespace

const Execution::Order& Execution::order_of(const void* location) const {
  static const Order kNone;
  const auto found = stores_.find(location);
  return found == stores_.end() ? kNone : found->second;
}

int Execution::place(const void* location, int store) const {
  if (store < 0) return -1;
  const Order& order = order_of(location);
  return static_cast<int>(std::find(order.begin(), order.end(), store) - order.begin());
}

std::size_t Execution::choices(const Operation& operation) const {
  const Order& order = order_of(operation.location);
  switch (operation.kind) {
    case Kind::load:
    case Kind::store:
      return order.size() + 1;
    case Kind::wait:
      return order.empty() || events_[static_cast<std::size_t>(order.back())].operation.value == 0 ? 0 : 1;
    default:
      return 1;
  }
}

// Coherence: what this event reads, or the place that it takes, lies not before anything that happened before it.
bool Execution::is_coherent(const Event& event, int first_allowed) const {
  for (std::size_t i = 0; i < events_.size(); ++i) {
    const Event& other = events_[i];
    if ((event.before & bit(static_cast<int>(i))) == 0 || other.operation.location != event.operation.location)
      continue;
    if (other.writes() && place(other.operation.location, static_cast<int>(i)) > first_allowed) return false;
    if (other.reads() && place_read(other) > first_allowed) return false;
  }
  return true;
}

bool Execution::has_race(const Event& event) const {
  for (std::size_t i = 0; i < events_.size(); ++i) {
    const Event& other = events_[i];
    if (other.operation.location != event.operation.location || (event.before & bit(static_cast<int>(i))) != 0)
      continue;
    if ((other.writes() || event.writes()) && (other.is_plain() || event.is_plain())) return true;
  }
  return false;
}

// What happens before the thread's previous event, and that event itself, happens before this one.
void Execution::inherit(Event& event, int previous) const {
  if (previous < 0) return;
  const Event& last = events_[static_cast<std::size_t>(previous)];
  event.before = last.before | bit(previous);
  event.firmly_before = last.firmly_before | bit(previous);
  // Sequenced before b, b happens before the previous event, which is sequenced before this: strongly before.
  for (std::size_t b = 0; b < events_.size(); ++b) {
    if ((last.before & bit(static_cast<int>(b))) == 0 || events_[b].index == 0) continue;
    const int a = threads_[events_[b].thread][events_[b].index - 1];
    event.firmly_before |= bit(a) | events_[static_cast<std::size_t>(a)].firmly_before;
  }
}

// A total order of the sequentially consistent events exists when what it must agree with has no cycle.
bool Execution::has_total_order() const {
  std::vector<int> consistent;
  for (std::size_t i = 0; i < events_.size(); ++i) {
    if (events_[i].operation.order == __ATOMIC_SEQ_CST) consistent.push_back(static_cast<int>(i));
  }
  // A store stands at twice its place, a load of it right behind: coherence order is the order of these numbers.
  const auto rank = [this](int i) {
    const Event& event = events_[static_cast<std::size_t>(i)];
    return event.writes() ? 2 * place(event.operation.location, i) : 2 * place_read(event) + 1;
  };
  const auto must_precede = [&](int a, int b) {
    const Event& first = events_[static_cast<std::size_t>(a)];
    const Event& second = events_[static_cast<std::size_t>(b)];
    if ((second.firmly_before & bit(a)) != 0) return true;
    return first.operation.location == second.operation.location && rank(a) < rank(b);
  };
  while (!consistent.empty()) {
    const auto first = std::find_if(consistent.begin(), consistent.end(), [&](int candidate) {
      return std::none_of(consistent.begin(), consistent.end(),
                          [&](int other) { return other != candidate && must_precede(other, candidate); });
    });
    if (first == consistent.end()) return false;
    consistent.erase(first);
  }
  return true;
}

Execution::Added Execution::add(std::size_t thread, const Operation& operation, std::size_t choice) {
  if (events_.size() == 64) throw std::length_error("an execution of more than 64 events");
  const int number = static_cast<int>(events_.size());
  Event event;
  event.operation = operation;
  event.thread = thread;
  event.index = threads_[thread].size();
  inherit(event, threads_[thread].empty() ? -1 : threads_[thread].back());

  Order& order = stores_[operation.location];
  const auto end = static_cast<int>(order.size());
  const int chosen = static_cast<int>(choice) - 1;  // a load: the place of its source; a store: the one behind which
  if (event.reads()) {
    const int source = operation.kind == Kind::load ? chosen : end - 1;
    event.from = source < 0 ? -1 : order[static_cast<std::size_t>(source)];
    if (event.from >= 0) {
      const Event& from = events_[static_cast<std::size_t>(event.from)];
      event.read = from.operation.value;
      if (acquires(operation.order) && releases(from.operation.order)) {
        event.before |= from.before | bit(event.from);
        if (operation.order == __ATOMIC_SEQ_CST && from.operation.order == __ATOMIC_SEQ_CST) {
          event.firmly_before |= from.firmly_before | bit(event.from);
        }
      }
    }
    if (!event.is_plain() && !is_coherent(event, source)) return Added::impossible;
  } else if (!event.is_plain() && !is_coherent(event, chosen)) {
    return Added::impossible;
  }
  const bool raced = has_race(event);
  if (event.writes()) {
    const int behind = operation.kind == Kind::store ? chosen : end - 1;
    // Nothing comes between an update and what it read.
    const int here = behind + 1;
    if (here < end) {
      const int follower = order[static_cast<std::size_t>(here)];
      const Kind next = events_[static_cast<std::size_t>(follower)].operation.kind;
      if (next == Kind::update || next == Kind::wait) return Added::impossible;
    }
    order.insert(order.begin() + here, number);
  }
  events_.push_back(event);
  threads_[thread].push_back(number);
  if (raced) return Added::race;
  return operation.order == __ATOMIC_SEQ_CST && !has_total_order() ? Added::impossible : Added::ok;
}

std::string Execution::key() const {
  std::string key;
  const auto append = [&](int event) {
    key += event < 0 ? '\xFF' : static_cast<char>(events_[static_cast<std::size_t>(event)].thread);
    key += event < 0 ? '\xFF' : static_cast<char>(events_[static_cast<std::size_t>(event)].index);
  };
  // A thread does the same as long as it reads the same, so what it read says all.
  for (const auto& thread : threads_) {
    for (const int event : thread) {
      if (events_[static_cast<std::size_t>(event)].reads()) append(events_[static_cast<std::size_t>(event)].from);
      key += '.';
    }
    key += '|';
  }
  for (const auto& [location, order] : stores_) {
    for (const int event : order) append(event);
    key += '|';
  }
  return key;
}

std::string Execution::describe(const std::map<const void*, std::string>& names) const {
  static constexpr std::array kKinds = {"load", "store", "read", "write", "update", "wait"};
  static constexpr std::array kOrders = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
  std::string text;
  for (const Event& event : events_) {
    const auto named = names.find(event.operation.location);
    text +=
        "  thread " + std::to_string(event.thread) + ": " + kKinds[static_cast<std::size_t>(event.operation.kind)];
    text += " " + (named == names.end() ? std::string("?") : named->second);
    if (!event.is_plain()) text += std::string(" ") + kOrders[static_cast<std::size_t>(event.operation.order)];
    if (event.writes()) text += " := " + std::to_string(event.operation.value);
    if (event.reads()) text += " gives " + std::to_string(event.read);
    text += "\n";
  }
  return text;
}

}  // namespace wintun::model
