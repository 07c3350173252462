// A TUN device for a program: an adapter, and a session while it is up. The C++ API, and what Python binds.
// Every member function may be called from any thread. close() and down() wake and wait for everybody inside.
// Paths of a packet answer IoStatus; all else throws std::system_error (the platform's code, the operation and the
// device in its text) or std::invalid_argument before anything has changed.
//
//   auto device = wintun::Device({.name = "Demo"});
//   device.interface().add_address(...);
//   device.up();
//   wintun::Packet packet;
//   while (device.wait(std::nullopt) == wintun::IoStatus::ok)
//     while (device.receive(packet) == wintun::IoStatus::ok) { use(packet.bytes()); device.release(packet); }
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "platform/event.hpp"
#include "platform/gate.hpp"
#include "platform/interface.hpp"
#include "session/guid.hpp"
#include "session/library.hpp"
#include "session/name_claim.hpp"
#include "session/session.hpp"
#include "session/status.hpp"

namespace wintun {

struct DeviceOptions {
  std::string name;                             // UTF-8, 1 to 127 characters
  std::string tunnel_type = "wintun";           // UTF-8
  std::uint32_t ring_capacity = 0x400000;       // bytes, a power of two from kMinCapacity to kMaxCapacity
  std::optional<Guid> guid = {};                // none: derived from the name
  std::shared_ptr<const Library> library = {};  // none: the linked one
};

class Device {
 public:
  explicit Device(
      DeviceOptions options);  // makes the adapter, or opens a persistent one of ours; the interface exists
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const;
  const std::string& tunnel_type() const;
  const Guid& guid() const;
  std::uint64_t luid() const;   // NET_LUID's value
  std::uint32_t index() const;  // the platform's interface index
  // Acts in the network namespace in which the device was made, from any thread. It keeps a descriptor open that the
  // device has too, until both are gone. std::system_error(EBADF) after close().
  Interface interface() const;

  std::uint32_t ring_capacity() const;
  void set_ring_capacity(std::uint32_t bytes);  // for the next up()

  void up();     // idempotent
  void down();   // idempotent; packets that were not read are dropped and counted
  void close();  // idempotent; the interface is gone when it returns
  bool is_up() const;
  bool is_closed() const;

  // See Session: not_up or closed where there is none.
  [[nodiscard]] IoStatus receive(Packet& packet);
  void release(const Packet& packet);
  [[nodiscard]] IoStatus receive_many(std::span<Packet> packets, std::size_t& count);
  void release_many(std::span<const Packet> packets);
  [[nodiscard]] IoStatus allocate(std::uint32_t size, Packet& packet);
  [[nodiscard]] IoStatus send(const Packet& packet);
  [[nodiscard]] IoStatus write(std::span<const std::uint8_t> bytes);
  [[nodiscard]] IoStatus write_many(std::span<const std::span<const std::uint8_t>> packets, std::size_t& written);
  [[nodiscard]] IoStatus wait(const Deadline& deadline);
  void cancel_read();
  // The driver's own object (the descriptor of the TUN), for a program that waits in its own way. The caller closes
  // it, and until then the interface stays. ENOTSUP where the library or the driver has none, EBADF after close().
  WaitHandle open_device_object() const;
  WaitHandle wait_handle() const;  // readable while a packet can be read; kNoWaitHandle when not up
  Statistics statistics() const;   // goes on counting over down() and up()

 private:
  [[nodiscard]] IoStatus known(IoStatus status) const;  // `not_up` for good is `closed`
  WINTUN_ADAPTER_HANDLE make_adapter() const;
  void open_interface();
  Statistics driver_statistics() const;

  const DeviceOptions options_;
  const std::shared_ptr<const Library> library_;
  const Guid guid_;
  NameClaim claim_;
  std::atomic<std::uint32_t> ring_capacity_;
  std::atomic<bool> closed_{false};
  std::mutex control_;  // up, down and close, one at a time; no foreign code runs under it (LogScope)

  mutable Gate adapter_gate_;  // around the handle: whoever asks the library about the adapter is inside
  WINTUN_ADAPTER_HANDLE adapter_ = nullptr;
  std::uint64_t luid_ = 0;
  std::optional<Interface> interface_;  // none where the library has none; until close(), behind the gate too
  mutable std::mutex last_mutex_;
  Statistics last_statistics_;  // the driver's, as they were when the adapter was closed
  Session session_;
};

}  // namespace wintun
