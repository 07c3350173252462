// An adapter's GUID: its bytes, the ABI's form of it, and the one that a name gives. Pure functions, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "wintun.h"

namespace wintun {

using Guid = std::array<std::uint8_t, 16>;  // in the order of RFC 9562's text

// The same name gives the same GUID on every machine, so that a system which keeps settings by GUID finds them again.
// Version 8 of RFC 9562 (the maker's own scheme): two FNV-1a hashes of the UTF-8 name, 64 bits each.
Guid guid_of_name(std::string_view name);

GUID abi_guid(const Guid& guid);

}  // namespace wintun
