// UTF-8 as we keep it, wide characters as the ABI takes them (UTF-32 or UTF-16 by the width of wchar_t). Any thread.
#pragma once

#include <string>
#include <string_view>

namespace wintun {

std::wstring widen(std::string_view utf8);   // std::invalid_argument when it is no UTF-8
std::string narrow(std::wstring_view wide);  // what cannot be becomes U+FFFD

}  // namespace wintun
