// A fuzzing target: the input's bytes are a network and a program around an embedded device, both careless. Packets
// are malformed in every way into open connections, listeners, datagrams and pings; lwIP's assertions are on, and
// what was received must be free again at the end. Checksums are looked at in a quarter of the inputs only, since
// few packets would come further.
// Built as a libFuzzer program with WINTUN_FUZZ (clang), and always with seeded_driver.cpp as an ordinary test.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "cable.hpp"
#include "driver/embedded/datagram.hpp"
#include "driver/embedded/ping.hpp"
#include "network_peer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace wintun::fuzz {
namespace {

const char* host_of(bool v6) { return v6 ? "fd09::2" : "10.9.0.2"; }

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

class Machine {
 public:
  explicit Machine(Input& input) : input_(input), node_(std::in_place, "fuzzed", kAddresses) {
    const std::uint8_t way = input_.byte();
    endpoint_ = node_->endpoint;
    endpoint_->set_checksum_checking(way % 4 == 0);
    endpoint_->set_mtu(way & 8 ? 1500 : way & 16 ? 576 : 16000);
    for (const char* host : {"10.9.0.1", "fd09::1"}) {
      listeners_.push_back(Listener::listen(endpoint_, at(host, 80), 8));
      datagrams_.push_back(Datagram::open(endpoint_, at(host, 99), std::nullopt));
    }
    for (const bool v6 : {false, true}) meet(v6);
  }

  ~Machine() {
    node_.reset();
    promise(endpoint_->sending == 0, "nothing waits to be sent on a device that is gone");
    connections_.clear(), datagrams_.clear(), pings_.clear(), listeners_.clear();
    promise(endpoint_->received() == 0, "every received packet is free again");
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void step() {
    const std::uint8_t choice = input_.byte();
    if (choice % 16 < 11) {
      last_ = next_packet(choice % 16);
      (void)node_->device->write(last_);
    } else {
      try {
        act(choice % 16);
      } catch (const std::system_error&) {  // refused, as it should be
      }
    }
    if (choice < 224) drain();  // else more comes before anything is answered
  }

 private:
  static constexpr std::initializer_list<const char*> kAddresses = {"10.9.0.1/24", "fd09::1/64"};

  // ---- the network ----

  Bytes next_packet(std::uint8_t choice) {
    switch (choice) {
      case 0:
        return input_.bytes(input_.byte());
      case 1:
      case 2:
        return mangled();
      case 3:
        return fragment();
      case 4:
        return behind_extension_headers();
      case 5:
        return icmp();
      case 6: {
        const bool v6 = input_.chance(128);
        Bytes datagram;
        put16(datagram, 5353), put16(datagram, 99);
        put16(datagram, input_.chance(128) ? 8 : input_.word());
        put16(datagram, 0);
        put(datagram, input_.bytes(input_.byte()));
        return ip_packet(v6, kUdp, datagram);
      }
      case 7:
        meet(input_.chance(128));
        return last_;
      default:
        return tcp();
    }
  }

  // A connection of ours to the stack's server; half open if the input says so.
  void meet(bool v6) {
    Flow& flow = flows_.open(v6);
    const std::uint8_t options = input_.byte();
    static const Bytes kWanted = {2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2};  // segment size, scale, SACK
    const Bytes chosen = options < 128 ? kWanted : options < 192 ? Bytes{} : input_.bytes(options % 40U);
    (void)node_->device->write(segment(flow, flow.next++, 0, kSyn, 0xFFFF, chosen, {}));
    drain();
    if (options % 8 != 7) (void)node_->device->write(segment(flow, flow.next, flow.stack_next, kAck, 0xFFFF, {}, {}));
    accept();
  }

  Bytes tcp() {
    Flow* const flow = flows_.pick(input_);
    if (flow == nullptr) return {};
    const std::uint8_t kind = input_.byte();
    const auto near = [&](std::uint32_t value) {
      return value + static_cast<std::uint32_t>(static_cast<std::int16_t>(input_.word()));
    };
    const std::uint32_t seq = kind & 1 ? near(flow->next) : kind & 2 ? flow->next + 1460 : flow->next;
    const std::uint32_t ack = kind & 4 ? near(flow->stack_next) : flow->stack_next;
    const std::uint8_t flags = kind & 8 ? input_.byte() : kAck;
    const std::uint16_t window = kind & 16 ? input_.word() : std::uint16_t{0xFFFF};
    const Bytes options = kind & 32 ? input_.bytes(input_.byte() % 41U) : Bytes{};
    Bytes payload(kind & 64 ? input_.byte() * 6U : 0U, kind);
    if (seq == flow->next && (flags & kSyn) == 0) {
      flow->next += static_cast<std::uint32_t>(payload.size()) + ((flags & kFin) != 0 ? 1 : 0);
    }
    return segment(*flow, seq, ack, flags, window, options, payload);
  }

  Bytes mangled() {
    Bytes made = last_;
    for (unsigned changes = input_.byte() % 8U; changes > 0 && !made.empty(); --changes) {
      const std::uint8_t at = input_.byte();
      made[at % made.size()] = input_.byte();
    }
    const std::uint8_t cut = input_.byte();
    if (cut < 64) made.resize(std::min<std::size_t>(made.size(), cut));
    if (cut >= 192) made.resize(made.size() + cut - 192U);
    return made;
  }

  Bytes fragment() {
    const bool v6 = input_.chance(128);
    const auto offset = static_cast<std::uint16_t>(input_.byte() % 32U);  // in eights
    const bool more = input_.chance(160);
    const std::uint8_t protocol = input_.chance(200) ? kUdp : input_.byte();
    Bytes payload(input_.byte() / 8U * 8U + (more ? 0U : input_.byte() % 8U), static_cast<std::uint8_t>(offset));
    if (input_.chance(32)) payload.resize(60000);
    if (!v6) return ip_packet(false, protocol, payload, static_cast<std::uint16_t>((more ? 0x2000 : 0) | offset));
    Bytes with_header = {protocol, 0};
    put16(with_header, static_cast<std::uint32_t>(offset) << 3 | (more ? 1U : 0U));
    put32(with_header, input_.byte() % 4U);
    put(with_header, payload);
    return ip_packet(true, 44, with_header);
  }

  Bytes behind_extension_headers() {
    static constexpr std::uint8_t kHeaders[] = {0, 43, 44, 60, 59, 6, 17, 58};
    const unsigned count = 1 + input_.byte() % 4U;
    const std::uint8_t first = kHeaders[input_.byte() % 8U];
    Bytes payload;
    for (unsigned i = 0; i < count; ++i) {
      const auto units = static_cast<std::uint8_t>(input_.chance(200) ? input_.byte() % 3U : input_.byte());
      payload.push_back(kHeaders[input_.byte() % 8U]);
      payload.push_back(units);
      Bytes inside = input_.bytes(units * 8U + 6U);
      if (input_.chance(200)) inside.resize(units * 8U + 6U);
      put(payload, inside);
    }
    put(payload, input_.bytes(input_.byte()));
    return ip_packet(true, first, payload);
  }

  Bytes icmp() {
    const bool v6 = input_.chance(128);
    Bytes message = {input_.byte(), input_.byte(), 0, 0};
    if (input_.chance(64)) message[0] = v6 ? 128 : 8;  // an echo is wanted
    put32(message, input_.chance(128) ? 1280 : input_.word());
    put(message, input_.chance(128) ? answer_ : input_.bytes(input_.byte()));  // errors quote what we sent
    return ip_packet(v6, v6 ? kIcmp6 : kIcmp, message);
  }

  void drain() {
    Packet packet;
    while (node_->device->receive(packet) == IoStatus::ok) {
      flows_.learn(packet.bytes());
      answer_.assign(packet.bytes().begin(), packet.bytes().end());
      node_->device->release(packet);
    }
    accept();
  }

  // ---- the program ----

  void accept() {
    for (const auto& listener : listeners_) {
      int error = 0;
      while (auto connection = listener->accept(error)) connections_.push_back(std::move(connection));
    }
  }

  void act(std::uint8_t choice) {
    const std::uint8_t what = input_.byte();
    const bool v6 = (what & 1) != 0;
    std::vector<std::uint8_t> buffer(std::size_t{1} << (what % 17));
    switch (choice) {
      case 11:
        if (!connections_.empty()) use(*connections_[input_.byte() % connections_.size()], what, buffer);
        break;
      case 12:
        connections_.push_back(Connection::connect(endpoint_, at(host_of(v6), 81)));
        break;
      case 13:
        pings_.push_back(Ping::send(endpoint_, address(host_of(v6)), what * 20U));
        (void)datagrams_[v6]->send(buffer, at(host_of(v6), 5353));
        break;
      case 14: {
        SocketAddress from;
        for (const auto& datagram : datagrams_) (void)datagram->receive(buffer, from);
        if (what % 4 == 0 && !connections_.empty()) connections_.erase(connections_.begin());
        break;
      }
      default:
        change_device(what);
    }
  }

  static void use(Connection& connection, std::uint8_t what, std::span<std::uint8_t> buffer) {
    switch (what / 32) {
      case 0:
      case 1:
      case 2:
        (void)connection.send(buffer);
        break;
      case 3:
      case 4:
        (void)connection.receive(buffer);
        break;
      case 5:
        (void)connection.finish();
        break;
      case 6:
        connection.close();
        break;
      default:
        connection.abort();
    }
  }

  void change_device(std::uint8_t what) {
    switch (what % 6) {
      case 0:
        node_->device->down();
        node_->device->up();
        break;
      case 1:
        endpoint_->set_mtu(576 + what * 64U);
        break;
      case 2:
        endpoint_->remove_address(address(what & 8 ? "fd09::1/64" : "10.9.0.1/24"));
        break;
      case 3:
        endpoint_->add_address(address(what & 8 ? "fd09::1/64" : "10.9.0.1/24"));
        break;
      case 4:
        endpoint_->set_packet_limit(576 + what * 16U);
        break;
      default:
        connections_.clear();
    }
  }

  Input& input_;
  std::optional<Node> node_;
  std::shared_ptr<Endpoint> endpoint_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::vector<std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Datagram>> datagrams_;
  std::vector<std::shared_ptr<Ping>> pings_;
  Flows flows_;
  Bytes last_, answer_;
};

}  // namespace
}  // namespace wintun::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  wintun::fuzz::Input input(data, size);
  wintun::fuzz::Machine machine(input);
  while (!input.is_empty()) machine.step();
  return 0;
}
