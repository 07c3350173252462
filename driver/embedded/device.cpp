// See device.hpp. TCP's data is held back when the ring has no room, not dropped: lwIP keeps it, and goes on when the
// program has read what there was. Everything else that finds no room is a drop, as on any link.
#include "driver/embedded/device.hpp"

#include <lwip/ip.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <thread>
#include <utility>

#include "driver/embedded/acknowledgement.hpp"
#include "driver/embedded/blocks.hpp"
#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr std::uint32_t kDataInRing = 512 << 10;  // bytes: enough for a reader of batches, and still in its cache
constexpr std::uint32_t kSmall = 128;             // bytes: an answer that carries no data
constexpr std::uint32_t kMostLeftOut = 3;         // acknowledgements: senders that grow by each still find their pace
constexpr std::size_t kReserve = std::size_t{1} << 20;  // beyond the limit, for packets that free memory elsewhere

// lwIP looks at the first bytes of an extension header, and at the length of an option, before it knows that the
// packet goes on so far. It drops such packets; the bytes must be there.
constexpr std::size_t kBehind = 2;

// A received packet in a block of its own, as lwIP knows it.
struct Received {
  pbuf_custom custom;
  std::atomic<std::size_t>* counter;
  std::size_t bytes;
};

void free_received(pbuf* packet) {
  auto* const received = reinterpret_cast<Received*>(packet);  // its first member's first member
  received->counter->fetch_sub(received->bytes, std::memory_order_relaxed);
  give_block(received);
}
static_assert(offsetof(Received, custom) == 0 && offsetof(pbuf_custom, pbuf) == 0);

pbuf* receive_copy(const std::uint8_t* data, std::uint32_t size, std::atomic<std::size_t>& counter) {
  const std::size_t bytes = sizeof(Received) + size + kBehind;
  void* const memory = take_block(bytes);
  if (memory == nullptr) return nullptr;
  auto* const received = new (memory) Received{};
  auto* const payload = static_cast<std::uint8_t*>(memory) + sizeof(Received);
  std::copy_n(data, size, payload);
  std::fill_n(payload + size, kBehind, std::uint8_t{0});
  received->custom.custom_free_function = free_received;
  received->counter = &counter;
  received->bytes = bytes;
  counter.fetch_add(bytes, std::memory_order_relaxed);
  const auto length = static_cast<u16_t>(size);
  return pbuf_alloced_custom(PBUF_RAW, length, PBUF_REF, &received->custom, payload, length);
}

bool is_fragment(const std::uint8_t* data, std::uint32_t version) {
  if (version == 4) return (data[6] & 0x3F) != 0 || data[7] != 0;
  constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kDestination = 60;
  const std::uint8_t next = data[6];  // behind another header it may be one too
  return next == kFragment || next == kHopByHop || next == kRouting || next == kDestination;
}

bool is_tcp_data(const pbuf& packet) {
  constexpr std::uint8_t kTcp = 6;
  if (packet.tot_len <= kSmall) return false;
  const auto* const bytes = static_cast<const std::uint8_t*>(packet.payload);
  return (bytes[0] >> 4) == 4 ? bytes[9] == kTcp : bytes[6] == kTcp;
}

}  // namespace

std::uint32_t EmbeddedHost::size(const Packet& packet) const { return packet.bytes->tot_len; }

void EmbeddedHost::copy(const Packet& packet, std::uint8_t* into) const {
  (void)pbuf_copy_partial(packet.bytes, into, packet.bytes->tot_len, 0);
}

void EmbeddedHost::let_others_run() { std::this_thread::yield(); }

WriteStatus EmbeddedHost::write(const std::uint8_t* data, std::uint32_t size, std::uint32_t version) {
  netif* const link = endpoint_.interface();
  if (link == nullptr) return WriteStatus::gone;
  const std::size_t limit = Endpoint::kReceiveLimit + (size <= kSmall ? kReserve : 0);
  if (endpoint_.received().load(std::memory_order_relaxed) + size > limit) return WriteStatus::refused;
  pbuf* const packet = receive_copy(data, size, endpoint_.received());
  if (packet == nullptr) return WriteStatus::refused;
  if (is_fragment(data, version)) expect_fragments();
  if (ip_input(packet, link) != ERR_OK) (void)pbuf_free(packet);
  return WriteStatus::ok;
}

EmbeddedDevice::EmbeddedDevice(const std::string& name, bool exclusive)
    : endpoint_(std::make_shared<Endpoint>(name, *this)),
      host_(*endpoint_),
      to_user_(host_, state_),
      to_network_(host_, state_) {
  if (!exclusive) {
    throw std::system_error(ENODEV, std::generic_category(), "cannot open the embedded device '" + name + "'");
  }
  endpoint_->open();
  state_.start();
}

EmbeddedDevice::~EmbeddedDevice() {
  disconnect();
  endpoint_->close();
}

void EmbeddedDevice::connect(const Rings& rings) {
  to_user_.attach(rings.to_user, rings.capacity);
  to_network_.attach(rings.to_network, rings.capacity);
  to_user_moved_ = rings.to_user_moved;
  state_.connect();
  {
    const StackLock lock;
    rings_ = rings;
    host_.announce_on(rings.to_user_moved);
  }
  endpoint_->set_link(true);
}

void EmbeddedDevice::disconnect() {
  if (!state_.is_connected()) return;
  endpoint_->set_link(false);
  {
    const StackLock lock;
    rings_ = {};
    host_.announce_on(nullptr);
  }
  state_.disconnect(to_user_, to_network_);
  to_network_.end();
  {
    const StackLock lock;  // for wake_program()
    to_user_.end();
  }
  if (to_user_moved_ != nullptr) to_user_moved_->set();
  to_user_moved_ = nullptr;
}

PumpStatus EmbeddedDevice::pump_to_user(std::uint32_t) {
  if (!state_.is_connected()) return PumpStatus::ended;
  if (!holding_back_.load(std::memory_order_acquire)) return PumpStatus::idle;
  const StackLock lock;
  resume_senders();
  return PumpStatus::ok;
}

PumpStatus EmbeddedDevice::pump_to_network() {
  for (bool moved = false;; moved = true) {
    const StackLock lock;  // of its own for each burst, so that others come in between
    switch (to_network_.drain()) {
      case DrainStatus::ok:
        break;
      case DrainStatus::nothing:
        return moved ? PumpStatus::ok : PumpStatus::idle;
      default:
        return PumpStatus::ended;
    }
  }
}

DriverCounters EmbeddedDevice::counters() const {
  const Traffic& in = to_user_.traffic();
  const Traffic& out = to_network_.traffic();
  return {in.packets.value(),  in.bytes.value(),  in.drops.value(),
          out.packets.value(), out.bytes.value(), out.drops.value()};
}

int EmbeddedDevice::send_from_stack(pbuf& packet) {
  if (stack_is_of_the_parent()) return ERR_IF;
  if (is_bare_acknowledgement(packet)) {
    hold_acknowledgement(packet);
    return ERR_OK;
  }
  if (rings_.to_user != nullptr && is_tcp_data(packet) && !has_room_for_data()) {
    holding_back_.store(true, std::memory_order_release);
    return ERR_MEM;
  }
  send_held();  // before this one, which was made later
  EmbeddedHost::Packet one;
  one.bytes = &packet;
  (void)to_user_.give(&one);
  return ERR_OK;
}

void EmbeddedDevice::hold_acknowledgement(pbuf& packet) {
  if (held_ != nullptr && left_out_ < kMostLeftOut && replaces(packet, *held_)) {
    (void)pbuf_free(held_);
    ++left_out_;
    endpoint_->acknowledgements_left_out.fetch_add(1, std::memory_order_relaxed);
  } else {
    send_held();
    send_held_.request();
  }
  pbuf_ref(&packet);  // nobody changes it any more: acknowledgements are not sent twice
  held_ = &packet;
}

void EmbeddedDevice::send_held() {
  if (held_ == nullptr) return;
  pbuf* const packet = std::exchange(held_, nullptr);
  left_out_ = 0;
  EmbeddedHost::Packet one;
  one.bytes = packet;
  (void)to_user_.give(&one);
  (void)pbuf_free(packet);
}

// Nobody but the stack moves the tail, and the stack is locked; the head may only give more room.
bool EmbeddedDevice::has_room_for_data() const {
  const std::uint32_t tail = load_once(&rings_.to_user->tail);
  const std::uint32_t head = observe_head(&rings_.to_user->head);
  if (head >= rings_.capacity || tail >= rings_.capacity) return true;  // ended: core says what becomes of it
  const std::uint32_t held = wrap(tail - head, rings_.capacity);
  return held + slot_bytes(kMaxPacketSize) <= std::min(kDataInRing, rings_.capacity / 2 + slot_bytes(kMaxPacketSize));
}

void EmbeddedDevice::resume_senders() {
  holding_back_.store(false, std::memory_order_relaxed);
  netif* const link = endpoint_->interface();
  if (link == nullptr) return;
  const std::uint8_t index = netif_get_index(link);
  // Another one goes first each time, or the first would take all the room for ever.
  std::uint32_t count = 0;
  for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) ++count;
  const std::uint32_t skip = count == 0 ? 0 : turn_++ % count;
  for (std::uint32_t round = 0; round < 2; ++round) {
    std::uint32_t place = 0;
    for (tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next, ++place) {
      const bool is_mine = round == 0 ? place >= skip : place < skip;
      if (!is_mine || pcb->netif_idx != index || pcb->unsent == nullptr) continue;
      (void)tcp_output(pcb);
      if (holding_back_.load(std::memory_order_relaxed)) return;
    }
  }
}

}  // namespace wintun
