// A network namespace of a test's own, and the kernel's end of a tunnel in it: UDP sockets in the calling thread's
// namespace. The namespace goes with the thread, and with it every interface that the test forgot.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "../own_network.hpp"
#include "platform/interface.hpp"
#include "wintun.h"

namespace wintun {

using Bytes = std::vector<std::uint8_t>;

inline void write_text(const char* path, const char* text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;  // a kernel without IPv6
  EXPECT_EQ(write(file, text, std::strlen(text)), static_cast<ssize_t>(std::strlen(text))) << path;
  close(file);
}

// Threads that `body` starts are in the namespace too. Where there is none, the test is skipped with the reason; so
// what needs no device stands in no such body. The kernel says nothing of its own accord there: no IPv6.
template <class Body>
void in_own_network(const Body& body) {
  std::thread([&] {
    if (const std::string reason = enter_own_network(); !reason.empty()) GTEST_SKIP() << reason;
    write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    body();
  }).join();
}

inline bool is_readable(HANDLE event, int milliseconds = 0) {
  pollfd watched{static_cast<int>(reinterpret_cast<std::intptr_t>(event)), POLLIN, 0};
  return poll(&watched, 1, milliseconds) == 1;
}

inline sockaddr_in ipv4(const char* address, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  inet_pton(AF_INET, address, &out.sin_addr);
  return out;
}

// The kernel's socket at 10.9.0.1, which sends to 10.9.0.2 through the tunnel and hears what comes back.
class KernelSocket {
 public:
  static constexpr std::uint16_t kPort = 4242;

  explicit KernelSocket(std::uint32_t interface) {
    Interface(interface).add_address({{10, 9, 0, 1}, 4, 24});
    const sockaddr_in own = ipv4("10.9.0.1", kPort);
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)), 0) << std::strerror(errno);
  }
  ~KernelSocket() { close(socket_); }
  KernelSocket(const KernelSocket&) = delete;
  KernelSocket& operator=(const KernelSocket&) = delete;

  // One IPv4 packet of 28 + size bytes in the tunnel.
  void send(std::size_t size, std::uint8_t fill = 0) {
    const sockaddr_in peer = ipv4("10.9.0.2", kPort);
    const Bytes data(size, fill);
    EXPECT_EQ(sendto(socket_, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)),
              static_cast<ssize_t>(size))
        << std::strerror(errno);
  }

  // What came from the tunnel; empty after ten seconds.
  Bytes receive() {
    pollfd watched{socket_, POLLIN, 0};
    if (poll(&watched, 1, 10000) != 1) return {};
    Bytes data(0x10000);
    const ssize_t size = recv(socket_, data.data(), data.size(), 0);
    data.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return data;
  }

 private:
  const int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

// An IPv4 UDP packet from 10.9.0.2 to the kernel's socket, as a program would write it.
inline Bytes packet_to_kernel(std::size_t size, std::uint8_t fill) {
  Bytes packet(28 + size, fill);
  const std::uint8_t header[28] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1};
  std::memcpy(packet.data(), header, sizeof(header));
  const auto put = [&](std::size_t at, std::size_t value) {
    packet[at] = static_cast<std::uint8_t>(value >> 8);
    packet[at + 1] = static_cast<std::uint8_t>(value);
  };
  put(2, packet.size());
  put(20, KernelSocket::kPort);
  put(22, KernelSocket::kPort);
  put(24, 8 + size);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 20; i += 2) sum += static_cast<std::uint32_t>(packet[i] << 8 | packet[i + 1]);
  sum = (sum & 0xFFFF) + (sum >> 16);
  put(10, ~(sum + (sum >> 16)) & 0xFFFF);
  return packet;
}

}  // namespace wintun
