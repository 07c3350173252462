// The program's logger: who it is, and lines for it. Any thread; never called with a lock held, so it may call us.
// Lines that come of a logger's own calls are dropped, or it would be called for ever.
#pragma once

#include <string>

#include "wintun.h"

namespace wintun {

// Returns when the last logger runs in no other thread. Inside a logger it does not wait: two loggers that replaced
// each other would wait for ever.
void set_logger(WINTUN_LOGGER_CALLBACK logger) noexcept;

// Whether a line would reach anybody: look before a text is made on a path that is not cold.
[[nodiscard]] bool is_logging() noexcept;

void log(WINTUN_LOGGER_LEVEL level, const std::string& utf8) noexcept;

}  // namespace wintun
