// A TCP/IP stack inside this process at the other end of a session's rings: lwIP around driver/core. The program
// plays the network, the stack is the host on it. No privilege, no kernel interface, no thread on a packet's path:
// what the program writes is carried into the stack in the writer's thread (pump_to_network), what the stack answers
// goes into the ring in whatever thread made it speak, and sets Rings::to_user_moved.
// The order of locks: the session's receive or send lock, the stack's (stack.hpp), core's.
// Neighbours: dll/driver.hpp (the contract), driver/core (states and rings), endpoint.hpp (addresses and sockets).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "driver.hpp"
#include "driver/core/to_network.hpp"
#include "driver/core/to_user.hpp"
#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/stack.hpp"

namespace wintun {

class EmbeddedHost {
 public:
  explicit EmbeddedHost(Endpoint& endpoint) : endpoint_(endpoint) {}

  struct Packet {
    InFlight<Packet> flight;
    const pbuf* bytes = nullptr;
  };

  using TransitionLock = std::shared_mutex;
  using SharedHold = std::shared_lock<std::shared_mutex>;
  using ExclusiveHold = std::unique_lock<std::shared_mutex>;
  using SpinLock = std::mutex;  // rarely wanted twice: whoever gives holds the stack's lock
  using SpinHold = std::unique_lock<std::mutex>;

  InFlight<Packet>& in_flight(Packet& packet) { return packet.flight; }
  std::uint32_t size(const Packet& packet) const;
  void copy(const Packet& packet, std::uint8_t* into) const;
  void complete(Packet&, Outcome) {}
  void wake_program() { moved_.request(); }  // under the stack's lock, as all of to_user
  void let_others_run();

  // Into the stack, as a copy: it may keep a packet for as long as nobody receives it.
  WriteStatus write(const std::uint8_t* data, std::uint32_t size, std::uint32_t version);

  void announce_on(Event* moved) { event_ = moved; }  // under the stack's lock

 private:
  Endpoint& endpoint_;
  Event* event_ = nullptr;
  Deferred moved_{[](void* self) { static_cast<EmbeddedHost*>(self)->announce(); }, this};  // once a hold
  void announce() {
    if (event_ != nullptr) event_->set();
  }
};
static_assert(GivingHost<EmbeddedHost> && WritingHost<EmbeddedHost>);

class EmbeddedDevice {
 public:
  // ENODEV unless `exclusive`: there is nothing persistent to open. ENOSPC: too many devices.
  EmbeddedDevice(const std::string& name, bool exclusive);
  ~EmbeddedDevice();  // every socket of it ends
  EmbeddedDevice(const EmbeddedDevice&) = delete;
  EmbeddedDevice& operator=(const EmbeddedDevice&) = delete;

  std::uint32_t interface_index() const { return endpoint_->index(); }
  std::string interface_name() const { return endpoint_->name(); }
  const std::shared_ptr<Endpoint>& endpoint() const { return endpoint_; }

  // The contract of dll/driver.hpp. Connections stay over a disconnect(): to them it is a cable that was pulled.
  void connect(const Rings& rings);
  void disconnect();
  [[nodiscard]] PumpStatus pump_to_user(std::uint32_t limit);
  [[nodiscard]] PumpStatus pump_to_network();
  void rewind_to_network() { to_network_.rewind(); }  // under the session's send lock, as the pump
  WaitHandle wait_handle() const { return kNoWaitHandle; }
  DriverCounters counters() const;

  // For endpoint.cpp, under the stack's lock: one packet of the stack's; what lwIP shall be told, as its err_t.
  int send_from_stack(pbuf& packet);

 private:
  void hold_acknowledgement(pbuf& packet);
  void send_held();
  bool has_room_for_data() const;
  void resume_senders();

  StackUser user_;
  const std::shared_ptr<Endpoint> endpoint_;
  EmbeddedHost host_;
  State<EmbeddedHost> state_;
  ToUser<EmbeddedHost> to_user_;
  ToNetworkWriter<EmbeddedHost> to_network_;
  Rings rings_;                            // under the stack's lock; empty while disconnected
  std::atomic<bool> holding_back_{false};  // connections wait for room in the ring
  std::uint32_t turn_ = 0;                 // which of them goes first
  pbuf* held_ = nullptr;                   // an acknowledgement, until the end of this hold or another packet
  std::uint32_t left_out_ = 0;             // how many the held one stands for besides itself
  Deferred send_held_{[](void* self) { static_cast<EmbeddedDevice*>(self)->send_held(); }, this};
  Event* to_user_moved_ = nullptr;  // of the session, while connected
};
static_assert(Driver<EmbeddedDevice>);

}  // namespace wintun
