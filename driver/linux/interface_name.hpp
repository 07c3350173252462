// What an adapter's name becomes as an interface's name on Linux: 15 bytes, no '/', ':', '%' or white space.
// Pure functions, any thread. LinuxDevice uses them; dll/ keeps the name that was asked for.
#pragma once

#include <string>
#include <string_view>

namespace wintun {

// True for what the kernel takes as it is.
bool is_interface_name(std::string_view name);

// The name itself when the kernel takes it; otherwise a readable part of it, '-', and a hash of the whole.
// Always the same for the same name, so that a second program finds what the first one made.
std::string interface_name_for(std::string_view name);

}  // namespace wintun
