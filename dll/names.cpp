// Conversions by RFC 3629 and RFC 2781, written out since the C library's depend on the process's locale.
#include "names.hpp"

#include <cstdint>
#include <type_traits>

namespace wintun {
namespace {

constexpr bool kWideIsUtf16 = sizeof(wchar_t) == 2;

constexpr bool is_character(std::uint32_t c) { return c < 0xD800 || (c >= 0xE000 && c < 0x110000); }

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

void append_wide(std::wstring& out, std::uint32_t c) {
  if (kWideIsUtf16 && c >= 0x10000) {
    out.push_back(static_cast<wchar_t>(0xD800 + ((c - 0x10000) >> 10)));
    out.push_back(static_cast<wchar_t>(0xDC00 + ((c - 0x10000) & 0x3FF)));
  } else {
    out.push_back(static_cast<wchar_t>(c));
  }
}

// The character at `at`, which moves behind it; U+FFFD for one byte that begins none.
std::uint32_t next_utf8(std::string_view text, std::size_t& at) {
  constexpr std::uint32_t kReplacement = 0xFFFD;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(at++);
  if (first < 0x80) return first;
  const std::size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  if (first < 0xC2 || first > 0xF4 || text.size() - at < more) return kReplacement;
  std::uint32_t c = first & (0x3Fu >> more);
  for (std::size_t i = 0; i < more; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return kReplacement;
    c = c << 6 | (byte(at + i) & 0x3F);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (c < kSmallest[more] || !is_character(c)) return kReplacement;
  at += more;
  return c;
}

std::uint32_t unit_at(const wchar_t* text, std::size_t i) {
  return static_cast<std::make_unsigned_t<wchar_t>>(text[i]);
}

}  // namespace

std::optional<std::string> utf8_from_wide(const wchar_t* text, std::size_t limit) {
  std::string out;
  for (std::size_t i = 0; text[i] != 0; ++i) {
    if (i == limit) return std::nullopt;
    auto c = unit_at(text, i);
    if (kWideIsUtf16 && c >= 0xD800 && c < 0xDC00 && i + 1 < limit) {
      const auto low = unit_at(text, i + 1);
      if (low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        ++i;
      }
    }
    if (!is_character(c)) return std::nullopt;
    append_utf8(out, c);
  }
  return out;
}

std::wstring wide_from_utf8(std::string_view text) {
  std::wstring out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) append_wide(out, next_utf8(text, at));
  return out;
}

}  // namespace wintun
