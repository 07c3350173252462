// Names as the ABI writes them (wchar_t) and as we keep them (UTF-8).
// Pure functions; any thread. A wchar_t is a character on Linux and a UTF-16 unit on Windows; both work.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wintun {

// None: more than `limit` units before the final zero, or no Unicode text.
[[nodiscard]] std::optional<std::string> utf8_from_wide(const wchar_t* text, std::size_t limit);

// Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::wstring wide_from_utf8(std::string_view text);

}  // namespace wintun
