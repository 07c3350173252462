// A TUN interface of the Linux kernel at the other end of a session's rings: /dev/net/tun around driver/core.
// It has no thread. Packets move in the caller's: pump_to_user() under dll's receive lock, pump_to_network() under
// its send lock; both at once are fine, and so is disconnect() against either. counters(), names and the wait handle
// may be asked from any thread. The network namespace is that of the thread that makes the object; those of the
// others do not matter. The interface goes with the object, or with the process if it is killed; one that somebody
// made persistent stays. Neighbours: dll/driver.hpp (the contract), driver/core (states and rings),
// src/platform/interface (netlink).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "driver.hpp"
#include "driver/core/to_network.hpp"
#include "driver/core/to_user.hpp"
#include "lock.hpp"
#include "platform/interface.hpp"

namespace wintun {

// The descriptor of a TUN interface, as core's host: one system call a packet, none of which waits.
class TunHost {
 public:
  // Owns the descriptor from here on.
  explicit TunHost(int descriptor) : descriptor_(descriptor) {}
  ~TunHost();
  TunHost(const TunHost&) = delete;
  TunHost& operator=(const TunHost&) = delete;

  // Nothing is gained by sharing: the session's lock lets one filler a direction in. So the cheapest lock will do.
  using TransitionLock = Lock;
  using SharedHold = std::lock_guard<TransitionLock>;
  using ExclusiveHold = std::lock_guard<TransitionLock>;

  ReadResult read(std::uint8_t* into, std::uint32_t room);
  WriteStatus write(const std::uint8_t* data, std::uint32_t size, std::uint32_t version);

  // Throws away what the kernel has queued; how many packets.
  std::uint32_t drain();

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};
static_assert(ReadingHost<TunHost> && WritingHost<TunHost>);

class LinuxDevice {
 public:
  // Makes the interface (`exclusive`: EEXIST if the name is in use), or attaches to a persistent one: ENODEV if there
  // is none of this name, EEXIST if it is no TUN, EBUSY if somebody holds it. Names that the kernel would not take
  // are mapped (interface_name.hpp). ENOENT: no /dev/net/tun; EPERM, EACCES: no right to it; EMFILE and the like as
  // they come. All are std::system_error, and their text names the operation and the interface.
  LinuxDevice(const std::string& name, bool exclusive);
  ~LinuxDevice();
  LinuxDevice(const LinuxDevice&) = delete;
  LinuxDevice& operator=(const LinuxDevice&) = delete;

  // Whether this kernel offers TUN interfaces at all.
  static bool is_present();

  std::uint32_t interface_index() const { return interface_.index(); }
  std::string interface_name() const;  // as it is called now: it may have been renamed
  bool is_persistent() const { return persistent_; }

  // The contract of dll/driver.hpp. disconnect() may be called when not connected: nothing happens.
  void connect(const Rings& rings);
  void disconnect();
  [[nodiscard]] PumpStatus pump_to_user(std::uint32_t limit);
  [[nodiscard]] PumpStatus pump_to_network();
  // The rings' other halves of a rewind, under the same locks as the pumps.
  [[nodiscard]] bool rewind_to_user() { return to_user_.rewind(); }
  void rewind_to_network() { to_network_.rewind(); }
  WaitHandle wait_handle() const { return host_.descriptor(); }

  // to_user_drops: what was drained between sessions, and what the kernel dropped because its own queue was full.
  DriverCounters counters() const;

 private:
  void bring_up();
  void set_carrier(bool on);
  void count_kernel_drops() const;

  TunHost host_;
  State<TunHost> state_;
  ToUserReader<TunHost> to_user_;
  ToNetworkWriter<TunHost> to_network_;
  const std::string name_;     // as it was at the beginning
  const Interface interface_;  // made where the TUN was, in its network namespace
  const bool persistent_;
  Event* to_user_moved_ = nullptr;                      // of the session, while connected
  std::uint64_t kernel_drops_before_ = 0;               // of a persistent interface, before it was ours
  mutable std::atomic<std::uint64_t> kernel_drops_{0};  // the last that could be read
};
static_assert(Driver<LinuxDevice>);

}  // namespace wintun
