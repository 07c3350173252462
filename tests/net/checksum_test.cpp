// The Internet checksum against a reference that anybody can check by eye, at every length and alignment.
#include "net/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <vector>

namespace wintun {
namespace {

using Data = std::span<const std::uint8_t>;

// RFC 1071 to the letter: 16-bit big-endian words, the last byte padded with zero, carries added back one by one.
std::uint16_t naive(Data bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
    if (sum > 0xFFFF) sum = (sum & 0xFFFF) + 1;
  }
  return static_cast<std::uint16_t>(~sum);
}

std::vector<std::uint8_t> random_bytes(std::mt19937& random, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// In memory of exactly this size at this alignment, so that a read outside of it is caught.
std::uint16_t checksum_at(Data bytes, std::size_t alignment) {
  const auto memory = std::make_unique<std::uint8_t[]>(bytes.size() + alignment);
  std::copy(bytes.begin(), bytes.end(), memory.get() + alignment);
  return internet_checksum(memory.get() + alignment, bytes.size());
}

TEST(Checksum, equals_the_reference_at_every_length_to_2048_and_every_alignment) {
  std::mt19937 random(1071);
  for (std::size_t size = 0; size <= 2048; ++size) {
    const auto bytes = random_bytes(random, size);
    for (std::size_t alignment = 0; alignment < 8; ++alignment) {
      ASSERT_EQ(checksum_at(bytes, alignment), naive(bytes)) << size << " bytes at alignment " << alignment;
    }
  }
}

TEST(Checksum, equals_the_reference_at_random_lengths_to_65535) {
  std::mt19937 random(791);
  for (int round = 0; round < 100; ++round) {
    const auto bytes = random_bytes(random, round == 0 ? 0xFFFF : random() % 0x10000);
    ASSERT_EQ(checksum_at(bytes, random() % 8), naive(bytes)) << bytes.size() << " bytes";
  }
}

TEST(Checksum, carries_everywhere_are_added_back) {
  for (const std::size_t size : {1U, 2U, 7U, 8U, 31U, 32U, 33U, 0xFFFEU, 0xFFFFU}) {
    const std::vector<std::uint8_t> ones(size, 0xFF);
    ASSERT_EQ(checksum_at(ones, 0), naive(ones)) << size;
  }
  for (std::size_t at = 0; at < 64; ++at) {
    std::vector<std::uint8_t> bytes(64, 0xFF);
    bytes[at] = 0;
    ASSERT_EQ(checksum_at(bytes, 1), naive(bytes)) << at;
  }
}

TEST(Checksum, pieces_of_any_length_give_the_checksum_of_the_whole) {
  std::mt19937 random(768);
  for (int round = 0; round < 2000; ++round) {
    const auto bytes = random_bytes(random, random() % 300);
    InternetChecksum checksum;
    for (std::size_t done = 0; done < bytes.size();) {
      const std::size_t piece = std::min<std::size_t>(random() % 9, bytes.size() - done);
      checksum.add(bytes.data() + done, piece);
      done += piece;
    }
    ASSERT_EQ(checksum.value(), naive(bytes)) << "round " << round;
  }
}

TEST(Checksum, a_packet_that_carries_its_checksum_sums_to_zero) {
  std::mt19937 random(2460);
  for (int round = 0; round < 200; ++round) {
    auto bytes = random_bytes(random, 4 + random() % 100);
    bytes[2] = bytes[3] = 0;
    const std::uint16_t value = internet_checksum(bytes.data(), bytes.size());
    bytes[2] = static_cast<std::uint8_t>(value >> 8);
    bytes[3] = static_cast<std::uint8_t>(value);
    ASSERT_EQ(internet_checksum(bytes.data(), bytes.size()), 0);
  }
}

TEST(Checksum, known_header_gives_its_known_checksum) {
  // 20 bytes of an IPv4 header from 192.168.0.1 to 192.168.0.199, UDP, 115 bytes.
  const std::uint8_t header[] = {0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 192, 168, 0, 1, 192, 168, 0, 199};
  EXPECT_EQ(internet_checksum(header, sizeof header), 0xB861);
}

TEST(Checksum, pseudo_headers_are_summed_as_their_rfcs_lay_them_out) {
  std::mt19937 random(8200);
  for (int round = 0; round < 200; ++round) {
    const auto addresses = random_bytes(random, 32);
    const auto segment = random_bytes(random, 1 + random() % 200);
    const auto size = static_cast<std::uint32_t>(segment.size());

    std::vector<std::uint8_t> four(addresses.begin(), addresses.begin() + 8);
    four.insert(four.end(), {0, 6, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
    four.insert(four.end(), segment.begin(), segment.end());
    InternetChecksum ipv4;
    ipv4.add_ipv4_pseudo_header(addresses.data(), addresses.data() + 4, 6, static_cast<std::uint16_t>(size));
    ipv4.add(segment.data(), segment.size());
    ASSERT_EQ(ipv4.value(), naive(four));

    const std::uint32_t long_size = size + (round % 2 == 0 ? 0x12340000 : 0);  // a jumbogram's length has 32 bits
    std::vector<std::uint8_t> six(addresses.begin(), addresses.end());
    six.insert(six.end(),
               {static_cast<std::uint8_t>(long_size >> 24), static_cast<std::uint8_t>(long_size >> 16),
                static_cast<std::uint8_t>(long_size >> 8), static_cast<std::uint8_t>(long_size), 0, 0, 0, 58});
    six.insert(six.end(), segment.begin(), segment.end());
    InternetChecksum ipv6;
    ipv6.add_ipv6_pseudo_header(addresses.data(), addresses.data() + 16, 58, long_size);
    ipv6.add(segment.data(), segment.size());
    ASSERT_EQ(ipv6.value(), naive(six));
  }
}

}  // namespace
}  // namespace wintun
