// What an IP header says about its packet: each status has the packets that earn it, at the edges.
#include "net/ip.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace wintun {
namespace {

std::vector<std::uint8_t> ipv4(std::size_t size, std::size_t total, std::uint8_t header_words = 5) {
  std::vector<std::uint8_t> packet(size);
  if (size > 0) packet[0] = static_cast<std::uint8_t>(0x40 | header_words);
  if (size > 3) {
    packet[2] = static_cast<std::uint8_t>(total >> 8);
    packet[3] = static_cast<std::uint8_t>(total);
  }
  return packet;
}

std::vector<std::uint8_t> ipv6(std::size_t size, std::size_t payload) {
  std::vector<std::uint8_t> packet(size);
  if (size > 0) packet[0] = 0x60;
  if (size > 5) {
    packet[4] = static_cast<std::uint8_t>(payload >> 8);
    packet[5] = static_cast<std::uint8_t>(payload);
  }
  return packet;
}

// In memory of exactly its size, so that a look behind it is caught.
IpStatus check(const std::vector<std::uint8_t>& packet) {
  const auto memory = std::make_unique<std::uint8_t[]>(packet.size());
  std::copy(packet.begin(), packet.end(), memory.get());
  return check_ip(memory.get(), packet.size());
}

TEST(Ip, nothing_is_empty_and_is_not_looked_at) { EXPECT_EQ(check_ip(nullptr, 0), IpStatus::empty); }

TEST(Ip, whole_packets_of_both_versions_pass) {
  EXPECT_EQ(check(ipv4(20, 20)), IpStatus::ok);
  EXPECT_EQ(check(ipv4(60, 60, 15)), IpStatus::ok);
  EXPECT_EQ(check(ipv4(0xFFFF, 0xFFFF)), IpStatus::ok);
  EXPECT_EQ(check(ipv6(40, 0)), IpStatus::ok);
  EXPECT_EQ(check(ipv6(0xFFFF, 0xFFFF - 40)), IpStatus::ok);
}

TEST(Ip, bytes_behind_the_length_in_the_header_pass) {
  EXPECT_EQ(check(ipv4(46, 28)), IpStatus::ok);
  EXPECT_EQ(check(ipv6(60, 8)), IpStatus::ok);
}

TEST(Ip, more_than_65535_bytes_are_oversized_whatever_the_header_says) {
  EXPECT_EQ(check(ipv4(0x10000, 20)), IpStatus::oversized);
  EXPECT_EQ(check(ipv6(0x10000, 8)), IpStatus::oversized);
  EXPECT_EQ(check(std::vector<std::uint8_t>(0x10000)), IpStatus::oversized);
}

TEST(Ip, every_shorter_size_than_the_fixed_header_is_truncated) {
  for (std::size_t size = 1; size < 20; ++size) EXPECT_EQ(check(ipv4(size, size)), IpStatus::truncated) << size;
  for (std::size_t size = 1; size < 40; ++size) EXPECT_EQ(check(ipv6(size, 0)), IpStatus::truncated) << size;
}

TEST(Ip, a_length_past_the_packet_is_truncated) {
  EXPECT_EQ(check(ipv4(20, 21)), IpStatus::truncated);
  EXPECT_EQ(check(ipv4(1400, 0xFFFF)), IpStatus::truncated);
  EXPECT_EQ(check(ipv6(47, 8)), IpStatus::truncated);
  EXPECT_EQ(check(ipv6(0xFFFF, 0xFFFF)), IpStatus::truncated);
}

TEST(Ip, an_ipv4_length_that_its_own_header_does_not_fit_in_is_truncated) {
  EXPECT_EQ(check(ipv4(60, 60, 4)), IpStatus::truncated);
  EXPECT_EQ(check(ipv4(60, 60, 0)), IpStatus::truncated);
  EXPECT_EQ(check(ipv4(60, 59, 15)), IpStatus::truncated);
  EXPECT_EQ(check(ipv4(59, 59, 15)), IpStatus::truncated);
  EXPECT_EQ(check(ipv4(60, 0)), IpStatus::truncated);
}

TEST(Ip, every_other_version_is_none) {
  for (unsigned version = 0; version < 16; ++version) {
    std::vector<std::uint8_t> packet(64);
    packet[0] = static_cast<std::uint8_t>(version << 4 | 5);
    packet[3] = 20;
    const bool known = version == 4 || version == 6;
    EXPECT_EQ(check(packet), known ? IpStatus::ok : IpStatus::no_version) << version;
    packet.resize(1);
    EXPECT_EQ(check(packet), known ? IpStatus::truncated : IpStatus::no_version) << version;
  }
}

TEST(Ip, packet_information_is_four_bytes_of_either_protocol_and_nothing_else) {
  const auto size_of = [](std::vector<std::uint8_t> packet) {
    return packet_information_size(packet.data(), packet.size());
  };
  EXPECT_EQ(size_of({0, 0, 0x86, 0xDD}), 4U);
  EXPECT_EQ(size_of({0, 0, 0x08, 0x00, 0x45}), 4U);
  EXPECT_EQ(size_of({0, 0, 0x86}), 0U);
  EXPECT_EQ(size_of({}), 0U);
  EXPECT_EQ(size_of({0, 0, 0x08, 0x06}), 0U);
  EXPECT_EQ(size_of({0, 0, 0xDD, 0x86}), 0U);
  EXPECT_EQ(size_of({0, 1, 0x86, 0xDD}), 0U);
  EXPECT_EQ(size_of({1, 0, 0x08, 0x00}), 0U);
  EXPECT_EQ(size_of({0x60, 0, 0x86, 0xDD}), 0U);
}

}  // namespace
}  // namespace wintun
