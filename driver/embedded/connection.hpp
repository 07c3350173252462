// A TCP connection of the host's side. Any thread may call anything; nothing here waits but wait(). Data flows with
// back-pressure both ways: what nobody receives closes the window towards the peer, what the peer does not take fills
// the room to send. Errors on the path of data are errno values, not exceptions.
// Neighbours: endpoint.hpp (the device's host side), listener.hpp (makes accepted ones), signals.hpp (waiting).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/signals.hpp"

struct tcp_pcb;

namespace wintun {

// How many bytes went through. 0 with error 0 from receive(): the peer will send no more. EAGAIN: nothing now.
struct Progress {
  std::size_t bytes = 0;
  int error = 0;
};

class Connection final : public Attached, public std::enable_shared_from_this<Connection> {
 public:
  // Begins to connect: writable when it is connected or has failed, and error() says which. Throws std::system_error
  // at once when that cannot be: ENODEV, ENETDOWN, ENETUNREACH, EADDRNOTAVAIL or EADDRINUSE (`from`), ENOBUFS.
  static std::shared_ptr<Connection> connect(const std::shared_ptr<Endpoint>& endpoint, const SocketAddress& to,
                                             const std::optional<SocketAddress>& from = std::nullopt);
  ~Connection();  // closes

  bool is_connected() const;  // has been, at least
  // 0, or why the connection is over: ECONNREFUSED, ECONNRESET, ETIMEDOUT, EADDRNOTAVAIL, ENODEV, EBADF (closed).
  int error() const;

  // EAGAIN, or the error. What came before an error is received before it.
  [[nodiscard]] Progress receive(std::span<std::uint8_t> into);
  // Bytes that receive() would give now.
  std::size_t available() const;
  // A part may go. EAGAIN: no room, writable tells when; EPIPE: after finish(), or the peer is gone.
  [[nodiscard]] Progress send(std::span<const std::uint8_t> bytes);
  // Bytes that the peer has not acknowledged.
  std::size_t unsent() const;
  // The peer will receive the end behind what was sent. 0 or an errno.
  int finish();
  // What was sent still goes, for a minute at most; unless something came that was not received: then a reset.
  void close();
  void abort();  // a reset, now

  void set_no_delay(bool on);  // on from the start: small writes go at once
  SocketAddress local() const { return local_; }
  SocketAddress remote() const { return remote_; }
  const std::shared_ptr<Endpoint>& endpoint() const { return endpoint_; }

  // Waits for kReadable or kWritable, which close() brings too.
  [[nodiscard]] WaitStatus wait(std::uint32_t which, const Deadline& deadline);
  WaitHandle wait_handle(std::uint32_t which);
  void watch(std::shared_ptr<Watcher> watcher, std::uint64_t token);

  // For listener.cpp, under the stack's lock.
  Connection(std::shared_ptr<Endpoint> endpoint, tcp_pcb* pcb);
  void adopt();  // an accepted one: it is connected
  void leave_backlog();

 private:
  struct Callbacks;
  struct Piece {
    pbuf* bytes;
    std::size_t room;  // left behind the bytes, for small ones to come; 0 for a packet as it came
  };
  void cut() override;
  void begin();
  void widen_window();
  std::size_t path_room() const;
  std::size_t room() const;
  void keep(pbuf* packet);
  void drop_received();
  void update();
  void fail(int error);
  void detach_pcb();

  const std::shared_ptr<Endpoint> endpoint_;
  SocketAddress local_, remote_;
  // Everything below under the stack's lock.
  tcp_pcb* pcb_;  // null: over
  Signals signals_;
  std::deque<Piece> received_;
  std::size_t received_bytes_ = 0;
  std::size_t unsent_ = 0;
  int error_ = 0;
  int cut_error_ = 0;  // what an abort means that we ask for
  bool connected_ = false;
  bool finished_ = false;  // we will send no more
  bool peer_finished_ = false;
  bool closed_ = false;
};

}  // namespace wintun
