// Sums in the processor's own byte order, wide, and folds at the end: RFC 1071 section 2 says why that is the same.
// Freestanding. A vectorised sum belongs here too, when segmentation needs it.
#include "net/checksum.hpp"

namespace wintun {
namespace {

template <class Word>
Word load(const uint8_t* from) {
  Word word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

uint64_t add_carry(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum + (sum < b ? 1 : 0);
}

// The ones' complement sum of `size` bytes, an odd last one padded with a zero behind it.
uint64_t sum_of(const uint8_t* data, size_t size) {
  // Two chains, so that one's carry does not wait for the other's.
  uint64_t even = 0;
  uint64_t odd = 0;
  for (; size >= 32; data += 32, size -= 32) {
    even = add_carry(even, load<uint64_t>(data));
    odd = add_carry(odd, load<uint64_t>(data + 8));
    even = add_carry(even, load<uint64_t>(data + 16));
    odd = add_carry(odd, load<uint64_t>(data + 24));
  }
  for (; size >= 8; data += 8, size -= 8) even = add_carry(even, load<uint64_t>(data));
  if (size != 0) {
    uint64_t rest = 0;
    __builtin_memcpy(&rest, data, size);
    odd = add_carry(odd, rest);
  }
  return add_carry(even, odd);
}

uint16_t fold(uint64_t sum) {
  sum = (sum & 0xFFFFFFFF) + (sum >> 32);
  sum = (sum & 0xFFFFFFFF) + (sum >> 32);
  sum = (sum & 0xFFFF) + (sum >> 16);
  sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<uint16_t>((sum & 0xFFFF) + (sum >> 16));
}

uint16_t swap(uint16_t word) { return static_cast<uint16_t>(word << 8 | word >> 8); }

}  // namespace

void InternetChecksum::add(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const uint64_t sum = sum_of(data, size);
  // Behind an odd number of bytes, each of these stands in the other half of its word.
  sum_ = add_carry(sum_, odd_ ? swap(fold(sum)) : sum);
  odd_ = odd_ != (size % 2 != 0);
}

void InternetChecksum::add_ipv4_pseudo_header(const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                                              uint16_t length) {
  const uint8_t rest[4] = {0, protocol, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  add(source, 4);
  add(destination, 4);
  add(rest, sizeof rest);
}

void InternetChecksum::add_ipv6_pseudo_header(const uint8_t source[16], const uint8_t destination[16],
                                              uint8_t next_header, uint32_t length) {
  const uint8_t rest[8] = {static_cast<uint8_t>(length >> 24),
                           static_cast<uint8_t>(length >> 16),
                           static_cast<uint8_t>(length >> 8),
                           static_cast<uint8_t>(length),
                           0,
                           0,
                           0,
                           next_header};
  add(source, 16);
  add(destination, 16);
  add(rest, sizeof rest);
}

uint16_t InternetChecksum::value() const {
  const uint16_t sum = fold(sum_);
  uint8_t bytes[2];
  __builtin_memcpy(bytes, &sum, sizeof sum);
  return static_cast<uint16_t>(~(bytes[0] << 8 | bytes[1]));
}

}  // namespace wintun
