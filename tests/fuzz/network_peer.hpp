// The network of a fuzzed stack: what a peer would send, near enough to right that it gets past the first checks, and
// wrong in what the input chooses. It learns sequence numbers from what the stack answers. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace wintun::fuzz {

using Bytes = std::vector<std::uint8_t>;

// What is behind the end of an input is 0.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
  bool is_empty() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint16_t word() {
    const unsigned high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  bool chance(unsigned of_256) { return byte() < of_256; }
  Bytes bytes(std::size_t most) {
    const std::size_t size = std::min(most, rest_.size());
    Bytes taken(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(size));
    rest_ = rest_.subspan(size);
    return taken;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

inline void put16(Bytes& into, std::uint32_t value) {
  into.push_back(static_cast<std::uint8_t>(value >> 8));
  into.push_back(static_cast<std::uint8_t>(value));
}
inline void put32(Bytes& into, std::uint32_t value) { put16(into, value >> 16), put16(into, value); }
inline void put(Bytes& into, const Bytes& more) { into.insert(into.end(), more.begin(), more.end()); }
inline std::uint16_t get16(std::span<const std::uint8_t> from, std::size_t at) {
  return static_cast<std::uint16_t>(from[at] << 8 | from[at + 1]);
}
inline std::uint32_t get32(std::span<const std::uint8_t> from, std::size_t at) {
  return std::uint32_t{get16(from, at)} << 16 | get16(from, at + 2);
}

inline constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kAck = 16;

// From 10.9.0.2 or fd09::2 to 10.9.0.1 or fd09::1. `more`: what stands in the header's field of flags and offset.
inline Bytes ip_packet(bool v6, std::uint8_t protocol, const Bytes& payload, std::uint16_t more = 0) {
  Bytes made;
  const auto size = static_cast<std::uint16_t>(payload.size());
  if (v6) {
    made = {0x60, 0, 0, 0, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size), protocol, 64};
    for (const std::uint8_t last : {std::uint8_t{2}, std::uint8_t{1}})
      put(made, {0xFD, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last});
  } else {
    made = {0x45, 0};
    put16(made, size + 20U);
    put16(made, 7);
    put16(made, more);
    put(made, {64, protocol, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1});
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 20; i += 2) sum += get16(made, i);
    while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
    made[10] = static_cast<std::uint8_t>(~sum >> 8), made[11] = static_cast<std::uint8_t>(~sum);
  }
  put(made, payload);
  return made;
}

struct Flow {
  bool v6 = false;
  std::uint16_t stack_port = 0, peer_port = 0;
  std::uint32_t next = 0;        // the sequence number that the stack expects of us
  std::uint32_t stack_next = 0;  // and we of it
};

inline Bytes segment(const Flow& flow, std::uint32_t seq, std::uint32_t ack, std::uint8_t flags, std::uint16_t window,
                     Bytes options, const Bytes& payload) {
  options.resize(std::min<std::size_t>(options.size() + 3, 40) / 4 * 4);
  Bytes made;
  put16(made, flow.peer_port), put16(made, flow.stack_port);
  put32(made, seq), put32(made, ack);
  made.push_back(static_cast<std::uint8_t>((20 + options.size()) / 4 << 4));
  made.push_back(flags);
  put16(made, window);
  put32(made, 0);  // checksum, urgent pointer
  put(made, options), put(made, payload);
  return ip_packet(flow.v6, kTcp, made);
}

// The connections, by what the stack says of them.
class Flows {
 public:
  Flow* pick(Input& input) { return all_.empty() ? nullptr : &all_[input.byte() % all_.size()]; }
  Flow& open(bool v6) {
    all_.push_back({v6, 80, static_cast<std::uint16_t>(1024 + all_.size()), 1000, 0});
    return all_.back();
  }

  void learn(std::span<const std::uint8_t> packet) {
    if (packet.size() < 40) return;
    const bool v6 = packet[0] >> 4 == 6;
    const std::size_t at = v6 ? 40 : 20;
    if (packet.size() < at + 20 || packet[v6 ? 6 : 9] != kTcp) return;
    Flow* flow = find(v6, get16(packet, at), get16(packet, at + 2));
    const std::uint8_t flags = packet[at + 13];
    if (flow == nullptr) {
      if ((flags & kSyn) == 0 || all_.size() > 64) return;
      all_.push_back({v6, get16(packet, at), get16(packet, at + 2), 1000, 0});
      flow = &all_.back();
    }
    const std::size_t header = packet[at + 12] / 16U * 4;
    const std::size_t payload = packet.size() - std::min(packet.size(), at + header);
    flow->stack_next =
        get32(packet, at + 4) + static_cast<std::uint32_t>(payload) + ((flags & (kSyn | kFin)) != 0 ? 1 : 0);
  }

 private:
  Flow* find(bool v6, std::uint16_t stack_port, std::uint16_t peer_port) {
    for (Flow& flow : all_) {
      if (flow.v6 == v6 && flow.stack_port == stack_port && flow.peer_port == peer_port) return &flow;
    }
    return nullptr;
  }
  std::deque<Flow> all_;  // none moves when another comes
};

}  // namespace wintun::fuzz
