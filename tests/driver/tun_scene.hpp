// What the tests of real TUN interfaces share: a network namespace of the test's own, rings, a session's program end,
// packets that the kernel's sockets send and take. Nothing outside of the namespace is touched.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "../own_network.hpp"
#include "driver/linux/device.hpp"
#include "platform/interface.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

using Bytes = std::vector<std::uint8_t>;

// Looks until it is true, at most 20 seconds.
bool eventually(const std::function<bool()>& is_true);

// The code of the std::system_error that `act` throws (0: none), and its text.
struct Failure {
  int code = 0;
  std::string text;
};
Failure failure_of(const std::function<void()>& act);

// Runs `act` in a child process; its result, or -1 if the child died.
int in_child(const std::function<int()>& act);
// The same in two steps, for what the parent does meanwhile. A child of a process with other threads may find a lock
// of the C library's taken for good, so it is begun before they are.
pid_t begin_child(const std::function<int()>& act);
int end_of(pid_t child);

// What `ip link del` does.
void delete_interface(std::uint32_t index);
bool has_carrier(const std::string& interface);

IpAddress address4(std::uint8_t last, std::uint8_t prefix = 24);  // 10.77.0.last
IpAddress address6(std::uint8_t last, std::uint8_t prefix = 64);  // fd77::last

// A kernel's UDP socket at .1, talking with .2 behind the TUN; port 7001 here, 7002 there.
class UdpSocket {
 public:
  explicit UdpSocket(int family);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;
  bool send(const Bytes& payload);
  Bytes receive();  // waits at most 20 seconds

 private:
  int descriptor_;
};

// The packet that .2:7002 sends to .1:7001, with its checksums.
Bytes udp_packet(int family, const Bytes& payload);
// Whether `packet` is what .1:7001 sent to .2:7002 with this payload.
bool is_udp_packet(const Bytes& packet, int family, const Bytes& payload);
Bytes numbered(std::size_t size, std::uint8_t first);

// Both rings of a session, and the program's ends of them.
class Program {
 public:
  explicit Program(std::uint32_t capacity = kMinCapacity);
  Rings rings();
  void restart();  // fresh rings, for the next session
  bool send(const Bytes& packet);
  // What is in the ring now; empty when nothing is.
  Bytes take(RingStatus* status = nullptr);
  Ring* to_user() { return reinterpret_cast<Ring*>(to_user_.get()); }
  Ring* to_network() { return reinterpret_cast<Ring*>(to_network_.get()); }
  Event& moved() { return moved_; }

 private:
  std::uint32_t capacity_;
  std::unique_ptr<std::uint32_t[]> to_user_, to_network_;
  Event moved_;
  Consumer consumer_;
  Producer producer_;
};

// An interface that is up with both families' addresses.
class TunScene : public testing::Test {
 protected:
  // Fixtures that go on after it look at IsSkipped() first.
  void SetUp() override {
    if (const std::string reason = enter_own_network(); !reason.empty()) GTEST_SKIP() << reason;
  }

  std::unique_ptr<LinuxDevice> connected(Program& program, const std::string& name = "Demo");
  // Pumps until a packet comes for which `wanted` is true; the kernel's own (neighbour and router messages) pass by.
  Bytes next(LinuxDevice& device, Program& program, const std::function<bool(const Bytes&)>& wanted);
};

}  // namespace wintun
