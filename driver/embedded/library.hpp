// The embedded devices as a Wintun library for src/session: DeviceOptions::library takes it, and Endpoint::find finds
// the host's side of such a Device by its index(). Any thread.
#pragma once

#include <memory>

#include "session/library.hpp"

namespace wintun {

std::shared_ptr<const Library> embedded_library();

}  // namespace wintun
