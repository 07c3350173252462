// The ABI's last errors as the rest of the program sees them: a status on a packet's path, an errno elsewhere.
// Both tables stand here. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>

#include "session/library.hpp"
#include "session/status.hpp"

namespace wintun {

// Of the library itself: one that was loaded from a file keeps its own outside Windows.
std::uint32_t last_error(const Functions& functions);

IoStatus status_of(std::uint32_t error);  // for `failed` errno is set
int errno_of(std::uint32_t error);

// "<what was done>: <cause> (the library's words); <remedy>: <the system's text>". Empty parts are left out.
struct Complaint {
  std::string doing;  // the operation and the device
  std::string cause = {};
  std::string library = {};  // its own last line
  std::string remedy = {};
};
[[noreturn]] void throw_error(int error_number, const Complaint& complaint);

}  // namespace wintun
