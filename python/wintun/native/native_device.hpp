// A device as Python holds it: the session core's Device, the packet that a caller's buffer could not take, and the
// readers to be woken. Any thread, with or without the GIL, unless a function says otherwise.
// Neighbours: session/device.hpp below, the bind_*.cpp above.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "session/device.hpp"

namespace wintun::python {

class ReaderThread;

class NativeDevice {
 public:
  explicit NativeDevice(DeviceOptions options);
  ~NativeDevice();
  NativeDevice(const NativeDevice&) = delete;
  NativeDevice& operator=(const NativeDevice&) = delete;

  Device& device() { return *device_; }
  const Device& device() const { return *device_; }
  const std::string& name() const { return device_->name(); }

  // In the child of a fork: the devices that there are belong to the parent, who shares the interface, the queue and
  // the wait handle with us. Ending a session here would end it there. So up(), down() and close() leave all alone.
  static void forked() { forks_.fetch_add(1); }
  bool is_of_the_parent() const { return forks_.load() != forks_when_made_; }
  bool is_closed() const { return device_->is_closed() || left_.load(); }

  // Without the GIL: they wait for whoever is inside, and for each other.
  void up();
  void down();
  void close();

  // Without the GIL. A descriptor of the caller's own, which stays what it is when the device closes and its number
  // is used again, and becomes readable then; kNoWaitHandle when the device is not up.
  WaitHandle duplicate_wait_handle();

  [[nodiscard]] IoStatus receive(Packet& packet) {
    if (held_any_.load(std::memory_order_relaxed)) [[unlikely]] {
      if (take_held(packet)) return IoStatus::ok;
    }
    return device_->receive(packet);
  }
  [[nodiscard]] IoStatus receive_many(std::span<Packet> packets, std::size_t& count);
  [[nodiscard]] IoStatus wait(const Deadline& deadline) { return device_->wait(deadline); }

  // Without the GIL. The next to be received is this packet, which was received already; the device stays readable.
  void hold(const Packet& packet);

  // A wait made of slices is not inside the session all the time, so it compares this before and after.
  std::uint64_t cancels() const { return cancels_.load(std::memory_order_acquire); }
  void cancel_read();

  void add_reader(const std::shared_ptr<ReaderThread>& reader);

 private:
  bool take_held(Packet& packet);
  void drop_held();
  void end_session(bool close);
  void wake_readers();

  inline static std::atomic<unsigned> forks_{0};
  const unsigned forks_when_made_ = forks_.load();
  std::atomic<bool> left_{false};  // closed in the child of a fork

  std::unique_ptr<Device> device_;

  // up(), down(), close(), and whoever uses the wait handle's number while they might close it. Never held by a
  // thread that waits for the GIL, so a thread with the GIL may take it for a moment.
  std::mutex control_;

  std::mutex held_mutex_;  // inside control_
  std::vector<Packet> held_;
  std::atomic<bool> held_any_{false};

  std::atomic<std::uint64_t> cancels_{0};

  std::mutex readers_mutex_;
  std::vector<std::weak_ptr<ReaderThread>> readers_;
};

}  // namespace wintun::python
