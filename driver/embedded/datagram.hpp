// UDP of the host's side. Any thread; nothing waits but wait(). What nobody receives is kept up to a limit and
// dropped beyond it, as UDP is.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "driver/embedded/connection.hpp"
#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/signals.hpp"

struct udp_pcb;

namespace wintun {

class Datagram final : public Attached, public std::enable_shared_from_this<Datagram> {
 public:
  static constexpr std::size_t kKept = 4 << 20;   // bytes that wait to be received
  static constexpr std::size_t kLongest = 65507;  // bytes of one over IPv4; 65527 over IPv6

  // `local`: none: the family of `remote` or IPv4, any address, a free port. `remote`: the only peer to talk to.
  // Throws std::system_error: ENODEV, EADDRNOTAVAIL, EADDRINUSE, ENETDOWN, ENETUNREACH, EINVAL (mixed families).
  static std::shared_ptr<Datagram> open(const std::shared_ptr<Endpoint>& endpoint,
                                        const std::optional<SocketAddress>& local,
                                        const std::optional<SocketAddress>& remote);
  ~Datagram();

  // The next one, cut to `into`. EAGAIN, EBADF, ENODEV.
  [[nodiscard]] Progress receive(std::span<std::uint8_t> into, SocketAddress& from);
  std::size_t next_size() const;  // bytes of the next one; 0: none, or an empty one
  // All of it or an errno: EMSGSIZE, EDESTADDRREQ, ENETDOWN, ENETUNREACH, ENOBUFS, EBADF, ENODEV.
  [[nodiscard]] Progress send(std::span<const std::uint8_t> bytes, const std::optional<SocketAddress>& to);
  void close();
  int error() const;
  std::uint64_t drops() const { return drops_.load(std::memory_order_relaxed); }

  SocketAddress local() const { return local_; }
  const std::shared_ptr<Endpoint>& endpoint() const { return endpoint_; }
  std::optional<SocketAddress> remote() const { return remote_; }
  [[nodiscard]] WaitStatus wait(const Deadline& deadline);
  WaitHandle wait_handle();
  void watch(std::shared_ptr<Watcher> watcher, std::uint64_t token);

 private:
  struct Callbacks;
  struct Kept {
    pbuf* bytes;
    SocketAddress from;
  };
  explicit Datagram(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}
  void cut() override;
  void end(int error);
  void update();

  const std::shared_ptr<Endpoint> endpoint_;
  SocketAddress local_;
  std::optional<SocketAddress> remote_;
  std::atomic<std::uint64_t> drops_{0};
  // Under the stack's lock.
  udp_pcb* pcb_ = nullptr;
  Signals signals_;
  std::deque<Kept> kept_;
  std::size_t kept_bytes_ = 0;
  int error_ = 0;
};

}  // namespace wintun
