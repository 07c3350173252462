// The version of ringtun, which is its drivers' too. It stands in the top CMakeLists.txt, once.
#pragma once

#include <cstdint>

namespace wintun {

inline constexpr std::uint32_t kVersion = RINGTUN_VERSION_MAJOR << 16 | RINGTUN_VERSION_MINOR;

}  // namespace wintun
