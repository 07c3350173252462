// See guid.hpp. Pure functions. What a name gives must never change: systems keep an interface's settings under it.
#include "session/guid.hpp"

#include <algorithm>

namespace wintun {
namespace {

std::uint64_t fnv1a(std::uint64_t hash, std::string_view text) {
  for (const char character : text) {
    hash ^= static_cast<std::uint8_t>(character);
    hash *= 0x100000001B3;
  }
  return hash;
}

}  // namespace

Guid guid_of_name(std::string_view name) {
  // The second half starts from the first, so that the two are different functions of the name.
  const std::uint64_t first = fnv1a(0xCBF29CE484222325, name);
  const std::uint64_t second = fnv1a(first, name);
  Guid guid{};
  for (unsigned i = 0; i < 8; ++i) {
    guid[i] = static_cast<std::uint8_t>(first >> (56 - 8 * i));
    guid[8 + i] = static_cast<std::uint8_t>(second >> (56 - 8 * i));
  }
  guid[6] = static_cast<std::uint8_t>((guid[6] & 0x0F) | 0x80);  // version 8
  guid[8] = static_cast<std::uint8_t>((guid[8] & 0x3F) | 0x80);  // the variant of RFC 9562
  return guid;
}

GUID abi_guid(const Guid& guid) {
  GUID result{};
  result.Data1 = static_cast<std::uint32_t>(guid[0]) << 24 | static_cast<std::uint32_t>(guid[1]) << 16 |
                 static_cast<std::uint32_t>(guid[2]) << 8 | guid[3];
  result.Data2 = static_cast<std::uint16_t>(guid[4] << 8 | guid[5]);
  result.Data3 = static_cast<std::uint16_t>(guid[6] << 8 | guid[7]);
  std::copy(guid.begin() + 8, guid.end(), result.Data4);
  return result;
}

}  // namespace wintun
