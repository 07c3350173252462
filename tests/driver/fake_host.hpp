// A host for driver/core that behaves as badly as NDIS may: its hooks stop, reorder and re-enter where a test says.
// Real locks, any number of threads; what was completed and lent is recorded under a mutex of its own.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "driver/core/to_network.hpp"
#include "driver/core/to_user.hpp"

namespace wintun {

struct FakePacket {
  InFlight<FakePacket> flight;
  std::uint32_t id = 0;
  std::vector<std::uint8_t> bytes;     // to_user: the content
  std::atomic<int> completions{0};     // to_user: how often it came back
  Outcome outcome = Outcome::no_room;  // to_user: the last one
  std::uint8_t* data = nullptr;        // to_network: in the ring
  std::uint32_t size = 0, version = 0;
};

// An IPv4 packet by its first byte, with the id and a pattern behind it.
inline std::vector<std::uint8_t> content(std::uint32_t id, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(id * 7 + i);
  if (size > 0) bytes[0] = 0x45;
  if (size >= 8) std::memcpy(&bytes[4], &id, sizeof(id));
  return bytes;
}

inline std::uint32_t id_of(const std::uint8_t* data) {
  std::uint32_t id = 0;
  std::memcpy(&id, data + 4, sizeof(id));
  return id;
}

inline std::unique_ptr<FakePacket> make_packet(std::uint32_t id, std::size_t size) {
  auto packet = std::make_unique<FakePacket>();
  packet->id = id;
  packet->bytes = content(id, size);
  return packet;
}

class FakeHost {
 public:
  using Packet = FakePacket;
  static constexpr std::uint32_t kSpins = 4;

  using TransitionLock = std::shared_mutex;
  using SharedHold = std::shared_lock<TransitionLock>;
  using ExclusiveHold = std::lock_guard<TransitionLock>;
  using SpinLock = std::mutex;
  using SpinHold = std::lock_guard<SpinLock>;

  InFlight<Packet>& in_flight(Packet& packet) { return packet.flight; }
  std::uint32_t size(Packet& packet) { return static_cast<std::uint32_t>(packet.bytes.size()); }
  void copy(Packet& packet, std::uint8_t* into) {
    if (on_copy) on_copy(packet);
    if (!packet.bytes.empty()) std::memcpy(into, packet.bytes.data(), packet.bytes.size());
  }
  void complete(Packet& packet, Outcome outcome) {
    packet.outcome = outcome;
    packet.completions.fetch_add(1);
    {
      const std::lock_guard locked(mutex_);
      completed_.push_back(packet.id);
    }
    if (on_complete) on_complete(packet);
  }
  void wake_program() { wakes.fetch_add(1); }
  void let_others_run() { std::this_thread::yield(); }

  ReadResult read(std::uint8_t* into, std::uint32_t room) { return on_read(into, room); }
  WriteStatus write(const std::uint8_t* data, std::uint32_t size, std::uint32_t version) {
    return on_write(data, size, version);
  }

  Packet* wrap(std::uint8_t* data, std::uint32_t size, std::uint32_t version) {
    if (no_memory) return nullptr;
    auto* packet = new FakePacket;
    packet->id = next_id_++;
    packet->data = data;
    packet->size = size;
    packet->version = version;
    wrapped_.push_back(packet);
    alive.fetch_add(1);
    return packet;
  }
  void indicate() {
    std::vector<Packet*> packets;
    packets.swap(wrapped_);
    if (on_indicate) return on_indicate(packets);
    const std::lock_guard locked(mutex_);
    lent.insert(lent.end(), packets.begin(), packets.end());
  }
  void unwrap(Packet& packet) {
    alive.fetch_sub(1);
    delete &packet;
  }

  void relax() {
    if (on_relax) on_relax();
  }
  bool wait_for_program() { return on_wait(); }

  std::vector<std::uint32_t> completed() {
    const std::lock_guard locked(mutex_);
    return completed_;
  }

  std::function<void(Packet&)> on_copy, on_complete;
  std::function<ReadResult(std::uint8_t*, std::uint32_t)> on_read;
  std::function<WriteStatus(const std::uint8_t*, std::uint32_t, std::uint32_t)> on_write;
  std::function<void(const std::vector<Packet*>&)> on_indicate;
  std::function<void()> on_relax;
  std::function<bool()> on_wait;
  std::atomic<int> wakes{0}, alive{0};
  std::atomic<bool> no_memory{false};
  std::vector<Packet*> lent;  // when there is no on_indicate

 private:
  std::mutex mutex_;
  std::vector<std::uint32_t> completed_;
  std::vector<Packet*> wrapped_;  // of the one thread that drains
  std::uint32_t next_id_ = 0;
};
static_assert(GivingHost<FakeHost> && ReadingHost<FakeHost> && LendingHost<FakeHost> && WritingHost<FakeHost> &&
              ThreadHost<FakeHost>);

// Links packets as a host does before give().
inline FakePacket* chain_of(const std::vector<FakePacket*>& packets) {
  for (std::size_t i = 0; i < packets.size(); ++i) {
    packets[i]->flight.next = i + 1 < packets.size() ? packets[i + 1] : nullptr;
  }
  return packets.empty() ? nullptr : packets[0];
}

// A ring in memory of exactly its size, so that a sanitizer sees every step outside of it.
class RingMemory {
 public:
  explicit RingMemory(std::uint32_t capacity = kMinCapacity)
      : capacity_(capacity),
        words_(std::make_unique<std::uint32_t[]>(ring_bytes(capacity) / sizeof(std::uint32_t))) {}
  Ring* ring() { return reinterpret_cast<Ring*>(words_.get()); }
  std::uint32_t capacity() const { return capacity_; }
  Consumer consumer() { return {ring(), capacity_}; }
  Producer producer() { return {ring(), capacity_}; }
  std::uint32_t head() { return observe_head(&ring()->head); }
  std::uint32_t tail() { return observe_tail(&ring()->tail); }

 private:
  std::uint32_t capacity_;
  std::unique_ptr<std::uint32_t[]> words_;
};

// What the program writes into its ring.
inline bool put(Producer& producer, const std::vector<std::uint8_t>& bytes) {
  Slot slot;
  if (producer.reserve(static_cast<std::uint32_t>(bytes.size()), slot) != RingStatus::ok) return false;
  if (!bytes.empty()) std::memcpy(slot.data, bytes.data(), bytes.size());
  (void)producer.publish(slot.end);
  return true;
}

}  // namespace wintun
