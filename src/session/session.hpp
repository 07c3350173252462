// One session: packets in and out of an adapter, from any number of threads. Everything here may be called from any
// thread at any time; end() wakes whoever waits, waits until everybody is out, and frees, once.
// A session is a client of a Wintun library (library.hpp); its rings and its driver are behind the library.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "platform/event.hpp"
#include "platform/gate.hpp"
#include "session/library.hpp"
#include "session/statistics.hpp"
#include "session/status.hpp"
#include "session/waiters.hpp"

namespace wintun {

// A packet that is lent: valid until it is released or sent, also when the session ends meanwhile. Give each back
// once, to the device it came from, before the device is destroyed.
struct Packet {
  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;
  std::span<const std::uint8_t> bytes() const { return {data, size}; }
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Library> library);
  ~Session();  // frees the rings, also under packets that are still lent
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Start and end again and again; the owner calls one of them at a time.
  // 0, or the library's last error. Not while packets of the last session are lent.
  [[nodiscard]] std::uint32_t start(WINTUN_ADAPTER_HANDLE adapter, std::uint32_t capacity);
  // Over at once for everybody. While packets are lent, the library's session lives on until the last comes back.
  void end();
  bool is_up() const { return gate_.is_open(); }
  // After end(): whether packets are still lent. False means that the library has ended its session.
  [[nodiscard]] bool has_lent() const;

  [[nodiscard]] IoStatus receive(Packet& packet);
  void release(const Packet& packet);
  // As many as are there, in order: `ok` with at least one.
  [[nodiscard]] IoStatus receive_many(std::span<Packet> packets, std::size_t& count);
  void release_many(std::span<const Packet> packets);

  // The order of allocating is the order of sending, so one that is never sent holds up all after it.
  [[nodiscard]] IoStatus allocate(std::uint32_t size, Packet& packet);
  [[nodiscard]] IoStatus send(const Packet& packet);
  [[nodiscard]] IoStatus write(std::span<const std::uint8_t> bytes);
  // Stops at the first that is refused. One of a wrong size: `invalid`, and none is written.
  [[nodiscard]] IoStatus write_many(std::span<const std::span<const std::uint8_t>> packets, std::size_t& written);

  // `ok`: a read will not find it empty, unless another reader is faster. The driver's end is `ok` too: read says so.
  [[nodiscard]] IoStatus wait(const Deadline& deadline);
  void cancel_read();
  WaitHandle wait_handle() const;

  const SessionCounters& counters() const { return counters_; }

 private:
  std::uint32_t start_library(WINTUN_ADAPTER_HANDLE adapter, std::uint32_t capacity);
  IoStatus refused();
  IoStatus allocation_refused();
  void give_back(std::uint32_t count);
  void finish();

  // The number of lent packets, and whether the session is over: then whoever brings the last one back ends it.
  static constexpr std::uint32_t kOver = 0x80000000;

  const std::shared_ptr<const Library> library_;
  const Functions functions_;  // the library's: one load less on a packet's path
  WINTUN_SESSION_HANDLE handle_ = nullptr;
  WaitHandle read_event_ = kNoWaitHandle;
  mutable Gate gate_;
  mutable std::atomic<std::uint32_t> lent_{0};
  Waiters waiters_;
  SessionCounters counters_;
};

}  // namespace wintun
