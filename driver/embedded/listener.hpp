// A TCP port that the host's side listens on: one device's, so that two devices may each have a server on one address
// and port. Any thread; nothing waits but wait(). Connections that nobody accepts are bounded: beyond the backlog a
// peer's SYN is dropped, and it tries again.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "driver/embedded/connection.hpp"
#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/signals.hpp"

namespace wintun {

class Listener final : public Attached, public std::enable_shared_from_this<Listener> {
 public:
  static constexpr std::uint32_t kMostBacklog = 255;

  // `at`: an address of the device, or zeros for all of that family; port 0: a free one. Throws std::system_error:
  // ENODEV, EADDRNOTAVAIL, EADDRINUSE (on this device), ENOBUFS.
  static std::shared_ptr<Listener> listen(const std::shared_ptr<Endpoint>& endpoint, const SocketAddress& at,
                                          std::uint32_t backlog = 128);
  ~Listener();

  // The next connection, or null with EAGAIN, EBADF (closed), ENODEV.
  std::shared_ptr<Connection> accept(int& error);
  void close();  // connections that were not accepted are reset
  int error() const;

  SocketAddress local() const { return local_; }
  const std::shared_ptr<Endpoint>& endpoint() const { return endpoint_; }
  [[nodiscard]] WaitStatus wait(const Deadline& deadline);
  WaitHandle wait_handle();
  void watch(std::shared_ptr<Watcher> watcher, std::uint64_t token);

 private:
  struct Callbacks;
  explicit Listener(std::shared_ptr<Endpoint> endpoint);
  void cut() override;
  void end(int error);
  void update();

  const std::shared_ptr<Endpoint> endpoint_;
  SocketAddress local_;
  // Under the stack's lock.
  tcp_pcb* pcb_ = nullptr;
  Signals signals_;
  std::deque<std::shared_ptr<Connection>> waiting_;
  int error_ = 0;
};

}  // namespace wintun
