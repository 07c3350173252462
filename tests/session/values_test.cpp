// Texts, GUIDs and error codes: pure functions against plain references.
#include <gmock/gmock.h>

#include <cerrno>
#include <set>
#include <stdexcept>

#include "session/errors.hpp"
#include "session/guid.hpp"
#include "session/text.hpp"

namespace wintun {
namespace {

TEST(Text, every_character_survives_the_way_to_wide_and_back) {
  for (std::uint32_t point = 1; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    const std::wstring wide(1, static_cast<wchar_t>(point));
    const std::string utf8 = narrow(wide);
    ASSERT_EQ(utf8.size(), point < 0x80 ? 1u : point < 0x800 ? 2u : point < 0x10000 ? 3u : 4u) << point;
    ASSERT_EQ(widen(utf8), wide) << point;
  }
}

TEST(Text, what_is_no_utf_8_is_refused) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x20", "\xE0\x80\x80", "\xE0\x9F\xBF",
                           "\xED\xA0\x80", "\xED\xBF\xBF", "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                           "\xF5\x80\x80\x80", "\xFF", "\xF0\x9F\x90", "a\xF8\x88\x80\x80\x80"}) {
    EXPECT_THROW((void)widen(text), std::invalid_argument) << testing::PrintToString(text);
  }
  EXPECT_EQ(widen(""), L"");
}

TEST(Text, what_is_no_character_becomes_the_replacement) {
  const wchar_t surrogate[] = {L'a', static_cast<wchar_t>(0xD800), L'b'};
  EXPECT_EQ(narrow(std::wstring(surrogate, 3)),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(narrow(std::wstring(1, static_cast<wchar_t>(0x110000))), "\xEF\xBF\xBD");
}

TEST(GuidOfName, is_version_8_and_differs_with_the_name) {
  std::set<Guid> seen;
  for (int i = 0; i < 10000; ++i) {
    const Guid guid = guid_of_name("wintun" + std::to_string(i));
    EXPECT_EQ(guid[6] >> 4, 8);
    EXPECT_EQ(guid[8] >> 6, 2);
    EXPECT_TRUE(seen.insert(guid).second) << i;
  }
}

TEST(GuidOfName, never_changes) {
  // Systems keep settings under it: another value in a later version would lose them.
  const Guid demo = guid_of_name("Demo");
  EXPECT_THAT(demo, testing::ElementsAre(0xD0, 0x72, 0x1C, 0x73, 0x43, 0xE7, 0x87, 0x76, 0xB8, 0x0F, 0x1D, 0x81, 0xF1,
                                         0x7F, 0xE1, 0x59));
}

TEST(Errors, each_documented_code_has_its_status_on_a_packets_path) {
  EXPECT_EQ(status_of(259), IoStatus::empty);
  EXPECT_EQ(status_of(111), IoStatus::full);
  EXPECT_EQ(status_of(38), IoStatus::ended);
  EXPECT_EQ(status_of(13), IoStatus::corrupt);
  EXPECT_EQ(status_of(87), IoStatus::invalid);
  errno = 0;
  EXPECT_EQ(status_of(6), IoStatus::failed);
  EXPECT_EQ(errno, EBADF);
}

TEST(Errors, each_documented_code_has_an_errno_and_the_others_are_eio) {
  EXPECT_EQ(errno_of(5), EPERM);
  EXPECT_EQ(errno_of(2), ENOENT);
  EXPECT_EQ(errno_of(183), EEXIST);
  EXPECT_EQ(errno_of(1247), EBUSY);
  EXPECT_EQ(errno_of(8), ENOMEM);
  EXPECT_EQ(errno_of(4), EMFILE);
  EXPECT_EQ(errno_of(31), EIO);
  EXPECT_EQ(errno_of(99999), EIO);
}

}  // namespace
}  // namespace wintun
