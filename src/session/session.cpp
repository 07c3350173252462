// See session.hpp. A packet's path is one gate, one call through the library's table, and relaxed counters; nothing
// here allocates or logs. What is lent is counted in the gate and given back without it, since a release must work
// after the end. Neighbours: waiters.hpp for who sleeps, errors.hpp for what the library's refusals mean.
#include "session/session.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "ring/layout.hpp"
#include "session/errors.hpp"

namespace wintun {
namespace {

// What one call of a batch function moves: enough to make the call cheap, little enough for the stack.
constexpr std::size_t kBatch = 64;

bool is_packet_size(std::size_t size) { return size - 1 < kMaxPacketSize; }

}  // namespace

Session::Session(std::shared_ptr<const Library> library)
    : library_(std::move(library)), functions_(library_->functions()) {}

Session::~Session() {
  end();
  if (has_lent()) functions_.end_session(handle_);
}

std::uint32_t Session::start(WINTUN_ADAPTER_HANDLE adapter, std::uint32_t capacity) {
  try {
    waiters_.open();
  } catch (const std::system_error&) {
    return ERROR_TOO_MANY_OPEN_FILES;  // an event needs nothing else
  }
  const std::uint32_t error = start_library(adapter, capacity);
  if (error == 0) {
    gate_.open();
  } else {
    waiters_.close();
  }
  return error;
}

std::uint32_t Session::start_library(WINTUN_ADAPTER_HANDLE adapter, std::uint32_t capacity) {
  handle_ = functions_.start_session(adapter, capacity);
  if (handle_ == nullptr) return std::max<std::uint32_t>(last_error(functions_), 1);
  const HANDLE event = functions_.get_read_wait_event(handle_);
  if (event == nullptr) {
    const std::uint32_t error = last_error(functions_);
    functions_.end_session(handle_);
    return std::max<std::uint32_t>(error, 1);
  }
  read_event_ = reinterpret_cast<WaitHandle>(event);
  return 0;
}

void Session::end() {
  if (!gate_.close()) return;
  waiters_.wake_all();
  gate_.wait_until_empty();
  waiters_.close();
  // Nobody is inside, so nothing is lent any more; it can only come back.
  if (lent_.fetch_or(kOver, std::memory_order_acq_rel) == 0) finish();
}

bool Session::has_lent() const {
  auto word = lent_.load(std::memory_order_acquire);
  for (; word == kOver; word = lent_.load(std::memory_order_acquire)) lent_.wait(word, std::memory_order_acquire);
  return word != 0;
}

void Session::give_back(std::uint32_t count) {
  // Whoever takes the last one back is alone with the library's session.
  if (lent_.fetch_sub(count, std::memory_order_acq_rel) == (kOver | count)) finish();
}

void Session::finish() {
  functions_.end_session(handle_);
  lent_.store(0, std::memory_order_release);
  lent_.notify_all();
}

IoStatus Session::refused() { return status_of(last_error(functions_)); }

IoStatus Session::allocation_refused() {
  const IoStatus status = refused();
  if (status == IoStatus::full) counters_.sent.drops.add(1);
  return status;
}

IoStatus Session::receive(Packet& packet) {
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  DWORD size = 0;
  BYTE* const data = functions_.receive_packet(handle_, &size);
  if (data == nullptr) return refused();
  lent_.fetch_add(1, std::memory_order_relaxed);
  packet = {data, size};
  counters_.received.packets.add(1);
  counters_.received.bytes.add(size);
  return IoStatus::ok;
}

void Session::release(const Packet& packet) {
  // No gate: that it is lent keeps the library's session.
  if ((lent_.load(std::memory_order_acquire) & ~kOver) == 0) return;
  functions_.release_receive_packet(handle_, packet.data);
  give_back(1);
}

IoStatus Session::receive_many(std::span<Packet> packets, std::size_t& count) {
  count = 0;
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  std::array<BYTE*, kBatch> data;
  std::array<DWORD, kBatch> sizes;
  std::uint64_t bytes = 0;
  IoStatus status = IoStatus::empty;
  while (count < packets.size()) {
    const auto wanted = static_cast<DWORD>(std::min(packets.size() - count, kBatch));
    DWORD got = 0;
    if (functions_.receive_packets != nullptr) {
      got = functions_.receive_packets(handle_, data.data(), sizes.data(), wanted);
    } else {
      while (got < wanted && (data[got] = functions_.receive_packet(handle_, &sizes[got])) != nullptr) ++got;
    }
    // The reason of a short batch is asked for only if nothing came at all: the next call meets it again.
    if (got == 0 && count == 0) status = refused();
    for (DWORD i = 0; i < got; ++i) {
      packets[count++] = {data[i], sizes[i]};
      bytes += sizes[i];
    }
    if (got < wanted) break;
  }
  if (count == 0) return status;
  lent_.fetch_add(static_cast<std::uint32_t>(count), std::memory_order_relaxed);
  counters_.received.packets.add(count);
  counters_.received.bytes.add(bytes);
  return IoStatus::ok;
}

void Session::release_many(std::span<const Packet> packets) {
  std::array<BYTE*, kBatch> data;
  while (!packets.empty()) {
    if ((lent_.load(std::memory_order_acquire) & ~kOver) == 0) return;
    const auto count = static_cast<DWORD>(std::min(packets.size(), kBatch));
    if (functions_.release_receive_packets != nullptr) {
      for (DWORD i = 0; i < count; ++i) data[i] = packets[i].data;
      functions_.release_receive_packets(handle_, data.data(), count);
    } else {
      for (DWORD i = 0; i < count; ++i) functions_.release_receive_packet(handle_, packets[i].data);
    }
    packets = packets.subspan(count);
    give_back(count);
  }
}

IoStatus Session::allocate(std::uint32_t size, Packet& packet) {
  if (!is_packet_size(size)) return IoStatus::invalid;
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  BYTE* const data = functions_.allocate_send_packet(handle_, size);
  if (data == nullptr) return allocation_refused();
  lent_.fetch_add(1, std::memory_order_relaxed);
  packet = {data, size};
  return IoStatus::ok;
}

IoStatus Session::send(const Packet& packet) {
  if ((lent_.load(std::memory_order_acquire) & ~kOver) == 0) return IoStatus::invalid;
  IoStatus status = IoStatus::not_up;
  if (const GateUser inside(gate_); inside) {
    functions_.send_packet(handle_, packet.data);
    counters_.sent.packets.add(1);
    counters_.sent.bytes.add(packet.size);
    status = IoStatus::ok;
  }
  // Outside the gate: the last packet of a session that is over ends it.
  give_back(1);
  return status;
}

IoStatus Session::write(std::span<const std::uint8_t> bytes) {
  if (!is_packet_size(bytes.size())) return IoStatus::invalid;
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  BYTE* const data = functions_.allocate_send_packet(handle_, static_cast<DWORD>(bytes.size()));
  if (data == nullptr) return allocation_refused();
  std::memcpy(data, bytes.data(), bytes.size());
  functions_.send_packet(handle_, data);
  counters_.sent.packets.add(1);
  counters_.sent.bytes.add(bytes.size());
  return IoStatus::ok;
}

IoStatus Session::write_many(std::span<const std::span<const std::uint8_t>> packets, std::size_t& written) {
  written = 0;
  for (const auto& packet : packets) {
    if (!is_packet_size(packet.size())) return IoStatus::invalid;
  }
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  std::array<BYTE*, kBatch> data;
  std::array<DWORD, kBatch> sizes;
  std::uint64_t bytes = 0;
  IoStatus status = IoStatus::ok;
  while (written < packets.size()) {
    const auto wanted = static_cast<DWORD>(std::min(packets.size() - written, kBatch));
    for (DWORD i = 0; i < wanted; ++i) sizes[i] = static_cast<DWORD>(packets[written + i].size());
    DWORD got = 0;
    if (functions_.allocate_send_packets != nullptr) {
      got = functions_.allocate_send_packets(handle_, sizes.data(), data.data(), wanted);
    } else {
      // One at a time: a library without batches sends each before the next has to find room.
      data[0] = functions_.allocate_send_packet(handle_, sizes[0]);
      got = data[0] != nullptr ? 1 : 0;
    }
    // A part of a batch is sent first and the rest asked for again: sending may have made room.
    if (got == 0) {
      status = allocation_refused();
      break;
    }
    for (DWORD i = 0; i < got; ++i) {
      std::memcpy(data[i], packets[written + i].data(), sizes[i]);
      bytes += sizes[i];
    }
    if (functions_.send_packets != nullptr) {
      functions_.send_packets(handle_, data.data(), got);
    } else {
      functions_.send_packet(handle_, data[0]);
    }
    written += got;
  }
  counters_.sent.packets.add(written);
  counters_.sent.bytes.add(bytes);
  return status;
}

IoStatus Session::wait(const Deadline& deadline) {
  const GateUser inside(gate_);
  if (!inside) return IoStatus::not_up;
  Waiters::Epoch& epoch = waiters_.join();
  counters_.waits.add(1);
  const std::array<WaitHandle, 2> handles{read_event_, epoch.event.handle()};
  const WaitStatus status = wait_any(handles, deadline);
  const int error_number = errno;
  // First what was asked of this waiter, then what the wait itself found.
  const bool cancelled = waiters_.leave(epoch);
  if (!gate_.is_open()) return IoStatus::not_up;
  if (cancelled) return IoStatus::cancelled;
  switch (status) {
    case WaitStatus::signalled:
      counters_.wakes.add(1);
      return IoStatus::ok;
    case WaitStatus::timed_out:
      return IoStatus::timed_out;
    case WaitStatus::interrupted:
      return IoStatus::interrupted;
    case WaitStatus::failed:
      break;
  }
  errno = error_number;
  return IoStatus::failed;
}

void Session::cancel_read() { waiters_.cancel(); }

WaitHandle Session::wait_handle() const {
  const GateUser inside(gate_);
  return inside ? read_event_ : kNoWaitHandle;
}

}  // namespace wintun
