// See interface_name.hpp. The rules of the kernel's names are those that it checks when an interface is made.
#include "driver/linux/interface_name.hpp"

#include <net/if.h>

#include <array>
#include <cstdint>
#include <cstdio>

namespace wintun {
namespace {

constexpr std::size_t kMaxName = IF_NAMESIZE - 1;
constexpr std::size_t kHashDigits = 8;
constexpr std::string_view kDefaultPrefix = "tun";

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// '%' would be a pattern, and the kernel takes 0xA0 for white space, as Latin-1 has it.
bool is_refused(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '/' || c == ':' || c == '%' || byte <= ' ' || byte == 0x7F || byte == 0xA0;
}

// FNV-1a of 32 bits.
std::uint32_t hash(std::string_view text) {
  std::uint32_t value = 0x811C9DC5;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x01000193;
  return value;
}

}  // namespace

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return false;
  // "all" and "default" are directories beside the interfaces' own in /proc/sys/net.
  if (name == "." || name == ".." || name == "all" || name == "default") return false;
  for (const char c : name) {
    if (is_refused(c)) return false;
  }
  return true;
}

std::string interface_name_for(std::string_view name) {
  if (is_interface_name(name)) return std::string(name);
  std::string mapped;
  for (const char c : name) {
    if (mapped.size() < kMaxName - kHashDigits - 1 && is_plain(c)) mapped += c;
  }
  if (mapped.empty()) mapped = kDefaultPrefix;
  std::array<char, kHashDigits + 2> suffix{};
  (void)std::snprintf(suffix.data(), suffix.size(), "-%08x", static_cast<unsigned>(hash(name)));
  return mapped + suffix.data();
}

}  // namespace wintun
