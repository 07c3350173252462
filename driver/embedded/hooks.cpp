// What lwIP calls where its own way would be slow, or guessable: checksums, initial sequence numbers, random ports.
// Under the stack's lock, but for the checksums, which are pure.
#include <lwip/ip_addr.h>
#include <lwip/opt.h>
#include <sys/random.h>

#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>

#include "net/checksum.hpp"

namespace wintun {
namespace {

void fill_with_secrets(void* into, std::size_t size) {
  if (::getrandom(into, size, 0) == static_cast<ssize_t>(size)) return;
  std::random_device source;  // an old kernel or a filter of system calls
  auto* bytes = static_cast<std::uint8_t*>(into);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(source());
}

struct Key {
  std::uint64_t low = 0, high = 0;
};

const Key& key() {
  static const Key one = [] {
    Key made;
    fill_with_secrets(&made, sizeof made);
    return made;
  }();
  return one;
}

// SipHash-2-4 (Aumasson and Bernstein, 2012) over whole words, the last of which carries the length.
class SipHash {
 public:
  explicit SipHash(const Key& secret)
      : v_{secret.low ^ 0x736f6d6570736575, secret.high ^ 0x646f72616e646f6d, secret.low ^ 0x6c7967656e657261,
           secret.high ^ 0x7465646279746573} {}

  void add(std::uint64_t word) {
    v_[3] ^= word;
    round();
    round();
    v_[0] ^= word;
    bytes_ += 8;
  }

  std::uint64_t value() {
    add(bytes_ << 56);
    v_[2] ^= 0xFF;
    for (int i = 0; i < 4; ++i) round();
    return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
  }

 private:
  void round() {
    v_[0] += v_[1], v_[1] = std::rotl(v_[1], 13) ^ v_[0], v_[0] = std::rotl(v_[0], 32);
    v_[2] += v_[3], v_[3] = std::rotl(v_[3], 16) ^ v_[2];
    v_[0] += v_[3], v_[3] = std::rotl(v_[3], 21) ^ v_[0];
    v_[2] += v_[1], v_[1] = std::rotl(v_[1], 17) ^ v_[2], v_[2] = std::rotl(v_[2], 32);
  }

  std::uint64_t v_[4];
  std::uint64_t bytes_ = 0;
};

void add_address(SipHash& hash, const ip_addr_t& address) {
  std::uint32_t words[4] = {};
  if (IP_IS_V6_VAL(address)) {
    std::memcpy(words, ip_2_ip6(&address)->addr, sizeof words);
  } else {
    words[0] = ip_2_ip4(&address)->addr;
  }
  hash.add(std::uint64_t{words[0]} << 32 | words[1]);
  hash.add(std::uint64_t{words[2]} << 32 | words[3]);
}

}  // namespace
}  // namespace wintun

extern "C" {

// lwIP wants the sum as it lies in memory, not inverted.
unsigned short wintun_lwip_checksum(const void* data, int size) {
  const std::uint16_t value =
      wintun::internet_checksum(static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size));
  const auto inverted = static_cast<std::uint16_t>(~value);
  const std::uint8_t bytes[2] = {static_cast<std::uint8_t>(inverted >> 8), static_cast<std::uint8_t>(inverted)};
  std::uint16_t sum = 0;
  std::memcpy(&sum, bytes, sizeof sum);
  return sum;
}

unsigned short wintun_lwip_copy(void* to, const void* from, unsigned short size) {
  std::memcpy(to, from, size);
  return wintun_lwip_checksum(to, size);
}

// RFC 6528: a clock of 4 us plus a keyed hash of the connection.
unsigned int wintun_lwip_isn(const ip_addr_t* local, unsigned short local_port, const ip_addr_t* remote,
                             unsigned short remote_port) {
  wintun::SipHash hash(wintun::key());
  wintun::add_address(hash, *local);
  wintun::add_address(hash, *remote);
  hash.add(std::uint64_t{local_port} << 16 | remote_port);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto clock = std::chrono::duration_cast<std::chrono::microseconds>(now).count() / 4;
  return static_cast<unsigned int>(static_cast<std::uint64_t>(clock) + hash.value());
}

unsigned int wintun_lwip_random(void) {
  unsigned int value = 0;
  wintun::fill_with_secrets(&value, sizeof value);
  return value;
}
}
