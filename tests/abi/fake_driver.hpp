// A driver without a kernel, for what a real one cannot be made to do: faults, a full or a broken ring, a sudden end.
// One FakeWorld holds what every FakeDriver sees; a test resets it. Any thread; the world has a lock of its own.
#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "api.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

using Bytes = std::vector<std::uint8_t>;

struct FakeWorld {
  std::mutex mutex;
  std::set<std::string> interfaces;  // that exist, of whoever
  std::set<std::string> persistent;  // that may be opened
  std::deque<Bytes> from_network;    // what a pump finds
  std::vector<Bytes> to_network;     // what was pumped
  std::unique_ptr<Event> has_packets = std::make_unique<Event>();
  int make_error = 0;  // errno that the next make, connect throws
  int connect_error = 0;
  bool is_present = true;
  bool takes_packets = true;    // otherwise the network is full
  bool is_gone = false;         // the interface was removed
  bool brings_a_burst = false;  // one pump brings all there is, as a super-packet does
  int connected = 0;
  std::function<void()> at_pump;  // called by a pump to the user, before it looks
  Rings rings;                    // of the last connect
};

inline FakeWorld& world() {
  static FakeWorld instance;
  return instance;
}

inline void reset_world() {
  FakeWorld& w = world();
  const std::scoped_lock lock(w.mutex);
  w.interfaces.clear();
  w.persistent.clear();
  w.from_network.clear();
  w.to_network.clear();
  w.has_packets->reset();
  w.make_error = w.connect_error = 0;
  w.is_present = w.takes_packets = true;
  w.is_gone = w.brings_a_burst = false;
  w.connected = 0;
  w.at_pump = nullptr;
}

inline void network_sends(const Bytes& packet) {
  FakeWorld& w = world();
  const std::scoped_lock lock(w.mutex);
  w.from_network.push_back(packet);
  w.has_packets->set();
}

template <bool kPushes>
class FakeDriver {
 public:
  FakeDriver(const std::string& name, bool exclusive) : name_(name) {
    const std::scoped_lock lock(world().mutex);
    if (const int error = std::exchange(world().make_error, 0); error != 0) throw_errno(error, "making");
    if (exclusive && world().interfaces.contains(name)) throw_errno(EEXIST, "making");
    if (!exclusive && !world().interfaces.contains(name)) throw_errno(ENODEV, "opening");
    if (!exclusive && !world().persistent.contains(name)) throw_errno(EBUSY, "opening");
    world().interfaces.insert(name);
  }
  ~FakeDriver() {
    const std::scoped_lock lock(world().mutex);
    if (!world().persistent.contains(name_)) world().interfaces.erase(name_);
  }

  std::uint32_t interface_index() const { return 7; }
  std::string interface_name() const { return name_; }
  WaitHandle wait_handle() const { return kPushes ? kNoWaitHandle : world().has_packets->handle(); }
  DriverCounters counters() const { return {1, 2, 3, 4, 5, 6}; }

  void connect(const Rings& rings) {
    const std::scoped_lock lock(world().mutex);
    if (const int error = std::exchange(world().connect_error, 0); error != 0) throw_errno(error, "connecting");
    producer_ = Producer(rings.to_user, rings.capacity);
    consumer_ = Consumer(rings.to_network, rings.capacity);
    world().rings = rings;
    ++world().connected;
  }

  void disconnect() {
    const std::scoped_lock lock(world().mutex);
    --world().connected;
  }

  PumpStatus pump_to_user(std::uint32_t limit) {
    FakeWorld& w = world();
    if (w.at_pump) w.at_pump();
    const std::scoped_lock lock(w.mutex);
    if (w.is_gone) return PumpStatus::ended;
    if (kPushes) return PumpStatus::idle;
    PumpStatus status = PumpStatus::idle;
    for (std::uint32_t i = 0; (i < limit || w.brings_a_burst) && !w.from_network.empty(); ++i) {
      if (!produce(w.from_network.front())) return PumpStatus::full;
      w.from_network.pop_front();
      status = PumpStatus::ok;
    }
    if (w.from_network.empty()) w.has_packets->reset();
    return status;
  }

  // A driver that pushes: from its own thread, as an embedded stack does.
  bool push(const Bytes& packet) {
    const std::scoped_lock lock(world().mutex);
    if (!produce(packet)) return false;
    world().rings.to_user_moved->set();
    return true;
  }

  PumpStatus pump_to_network() {
    FakeWorld& w = world();
    const std::scoped_lock lock(w.mutex);
    if (w.is_gone) return PumpStatus::ended;
    if (!w.takes_packets) return PumpStatus::full;
    Slot slot;
    PumpStatus status = PumpStatus::idle;
    while (consumer_.next(slot) == RingStatus::ok) {
      w.to_network.emplace_back(slot.data, slot.data + slot.size);
      consumer_.release(slot.end);
      status = PumpStatus::ok;
    }
    return status;
  }

 private:
  [[noreturn]] void throw_errno(int error, const char* doing) const {
    throw std::system_error(error, std::system_category(), std::string(doing) + " interface " + name_);
  }

  bool produce(const Bytes& packet) {
    Slot slot;
    if (producer_.reserve(static_cast<std::uint32_t>(packet.size()), slot) != RingStatus::ok) return false;
    std::memcpy(slot.data, packet.data(), packet.size());
    (void)producer_.publish(slot.end);
    return true;
  }

  const std::string name_;
  Producer producer_;
  Consumer consumer_;
};

template <bool kPushes>
struct FakeBackend {
  using DriverType = FakeDriver<kPushes>;
  inline static DriverType* made = nullptr;  // the last one
  static std::string interface_name(const std::string& name) { return name.substr(0, 15); }
  static std::unique_ptr<DriverType> make(const std::string& name, bool exclusive) {
    auto driver = std::make_unique<DriverType>(name.substr(0, 15), exclusive);
    made = driver.get();
    return driver;
  }
  static bool is_present() { return world().is_present; }
};

}  // namespace wintun
