// See text.hpp. Pure functions. Strict on the way in, where a program gives a name; lenient on the way out, where a
// library says a line.
#include "session/text.hpp"

#include <cstdint>
#include <stdexcept>
#include <type_traits>

namespace wintun {
namespace {

constexpr bool kWideIsUtf16 = sizeof(wchar_t) == 2;
constexpr std::uint32_t kReplacement = 0xFFFD;

// Widened without a sign, which wchar_t has on some platforms.
constexpr std::uint32_t point_of(wchar_t character) { return static_cast<std::make_unsigned_t<wchar_t>>(character); }

constexpr bool is_surrogate(std::uint32_t point) { return point >= 0xD800 && point <= 0xDFFF; }

void append_wide(std::wstring& wide, std::uint32_t point) {
  if (kWideIsUtf16 && point > 0xFFFF) {
    wide.push_back(static_cast<wchar_t>(0xD800 + ((point - 0x10000) >> 10)));
    wide.push_back(static_cast<wchar_t>(0xDC00 + ((point - 0x10000) & 0x3FF)));
  } else {
    wide.push_back(static_cast<wchar_t>(point));
  }
}

void append_utf8(std::string& utf8, std::uint32_t point) {
  const auto push = [&utf8](std::uint32_t byte) { utf8.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    push(point);
  } else if (point < 0x800) {
    push(0xC0 | point >> 6);
    push(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    push(0xE0 | point >> 12);
    push(0x80 | (point >> 6 & 0x3F));
    push(0x80 | (point & 0x3F));
  } else {
    push(0xF0 | point >> 18);
    push(0x80 | (point >> 12 & 0x3F));
    push(0x80 | (point >> 6 & 0x3F));
    push(0x80 | (point & 0x3F));
  }
}

}  // namespace

std::wstring widen(std::string_view utf8) {
  std::wstring wide;
  wide.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const auto lead = static_cast<std::uint8_t>(utf8[at]);
    const unsigned more = lead < 0x80 ? 0 : lead < 0xC2 ? 9 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : lead < 0xF5 ? 3 : 9;
    if (more == 9 || utf8.size() - at <= more) throw std::invalid_argument("the text is not UTF-8");
    std::uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
    for (unsigned i = 1; i <= more; ++i) {
      const auto byte = static_cast<std::uint8_t>(utf8[at + i]);
      if ((byte & 0xC0) != 0x80) throw std::invalid_argument("the text is not UTF-8");
      point = point << 6 | (byte & 0x3F);
    }
    constexpr std::uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[more] || point > 0x10FFFF || is_surrogate(point)) {
      throw std::invalid_argument("the text is not UTF-8");
    }
    append_wide(wide, point);
    at += more + 1;
  }
  return wide;
}

std::string narrow(std::wstring_view wide) {
  std::string utf8;
  utf8.reserve(wide.size());
  for (std::size_t at = 0; at < wide.size(); ++at) {
    std::uint32_t point = point_of(wide[at]);
    if (kWideIsUtf16 && point >= 0xD800 && point < 0xDC00 && at + 1 < wide.size()) {
      const std::uint32_t low = point_of(wide[at + 1]);
      if (low >= 0xDC00 && low <= 0xDFFF) {
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        ++at;
      }
    }
    append_utf8(utf8, is_surrogate(point) || point > 0x10FFFF ? kReplacement : point);
  }
  return utf8;
}

}  // namespace wintun
