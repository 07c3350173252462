// One echo request of the host's side (RFC 792, RFC 4443), and its answer. Any thread; nothing waits but wait().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/signals.hpp"

struct raw_pcb;
struct ip_addr;

namespace wintun {

class Ping final : public Attached, public std::enable_shared_from_this<Ping> {
 public:
  // Sends it. Throws std::system_error: ENODEV, ENETDOWN, ENETUNREACH, ENOBUFS.
  static std::shared_ptr<Ping> send(const std::shared_ptr<Endpoint>& endpoint, const IpAddress& to,
                                    std::size_t payload = 56);
  ~Ping();

  std::optional<std::chrono::nanoseconds> round_trip() const;  // none: no answer yet
  int error() const;                                           // ENODEV: the device was closed
  [[nodiscard]] WaitStatus wait(const Deadline& deadline);
  WaitHandle wait_handle();
  void watch(std::shared_ptr<Watcher> watcher, std::uint64_t token);

 private:
  struct Callbacks;
  explicit Ping(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}
  void cut() override;
  void end();

  const std::shared_ptr<Endpoint> endpoint_;
  // Under the stack's lock.
  raw_pcb* pcb_ = nullptr;
  Signals signals_;
  std::chrono::steady_clock::time_point sent_;
  std::uint16_t id_ = 0, sequence_ = 0;
  IpAddress to_;
  std::optional<std::chrono::nanoseconds> round_trip_;
  int error_ = 0;
};

}  // namespace wintun
