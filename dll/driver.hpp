// How a session reaches its driver: the contract that driver/linux fulfils, and every other driver in this process.
// dll/ is a template over it, so no call on a packet's path is virtual. A driver is the other end of both rings:
// the producer of to_user and the consumer of to_network.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>

#include "platform/event.hpp"
#include "ring/layout.hpp"

namespace wintun {

// Both rings of one session, in memory of this process, zeroed. They live until disconnect() has returned.
struct Rings {
  Ring* to_user = nullptr;
  Ring* to_network = nullptr;
  std::uint32_t capacity = 0;  // of each
  Event* to_user_moved =
      nullptr;  // the driver sets it when it published packets that nobody pumped for, and at its end
};

// What was counted since the adapter was made. Packets and bytes that went through, and those that could not.
struct DriverCounters {
  std::uint64_t to_user_packets = 0, to_user_bytes = 0, to_user_drops = 0;
  std::uint64_t to_network_packets = 0, to_network_bytes = 0, to_network_drops = 0;
};

enum class PumpStatus {
  ok,     // something moved
  idle,   // nothing to move
  full,   // the ring had no room: what the kernel has stays in the kernel
  ended,  // the driver has ended (interface gone, or disconnected)
};

// A driver that touches a ring only under the session's lock of that direction may also offer rewind_to_user() or
// rewind_to_network(): its half of Consumer::rewind() or Producer::rewind().
template <class D>
concept Driver = requires(D driver, const D& read_only, Rings rings, std::uint32_t limit) {
  // Made by D(name, exclusive): throws std::system_error. `exclusive`: EEXIST when the interface exists already;
  // otherwise a persistent interface of the caller's is opened.
  { read_only.interface_index() } -> std::convertible_to<std::uint32_t>;
  { read_only.interface_name() } -> std::convertible_to<std::string>;
  // One session at a time, Disconnected to Running: link up. Throws std::system_error.
  driver.connect(rings);
  // Running to Disconnected: link down, queues empty when it returns; the rings are not touched any more.
  driver.disconnect();
  // Kernel to ring, at most `limit` packets, in the caller's thread and under the session's receive lock.
  { driver.pump_to_user(limit) } -> std::same_as<PumpStatus>;
  // Ring to kernel, all that is there, in the caller's thread and under the session's send lock.
  { driver.pump_to_network() } -> std::same_as<PumpStatus>;
  // Readable while the kernel has packets; kNoWaitHandle where the driver pushes and sets Rings::to_user_moved.
  { read_only.wait_handle() } -> std::same_as<WaitHandle>;
  { read_only.counters() } -> std::same_as<DriverCounters>;
};

}  // namespace wintun
