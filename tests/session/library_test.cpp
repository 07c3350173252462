// Libraries by path: ours, foreign ones, broken ones, and none at all.
#include "session/library.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "session/device.hpp"

namespace wintun {
namespace {

using testing::HasSubstr;
using testing::Not;

std::system_error error_of_loading(const std::string& path) {
  try {
    (void)Library::load(path);
  } catch (const std::system_error& error) {
    return error;
  }
  ADD_FAILURE() << "loaded " << path;
  return std::system_error({}, "");
}

// Where the machine has no TUN, the driver's version is not there either.
void expect_the_drivers_version(const Library& library) {
  if (::access("/dev/net/tun", F_OK) == 0) {
    EXPECT_EQ(library.driver_version(), 1u);
    return;
  }
  try {
    ADD_FAILURE() << "version " << library.driver_version() << " of no driver";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory) << error.what();
  }
}

TEST(LibraryTest, the_linked_one_is_ours_and_one_object) {
  const auto library = Library::linked();
  EXPECT_EQ(library, Library::linked());
  EXPECT_EQ(library->path(), "");
  expect_the_drivers_version(*library);
}

TEST(LibraryTest, ours_by_path_has_the_published_functions_and_our_own) {
  const auto library = Library::load(WINTUN_LIBRARY);
  EXPECT_EQ(library->path(), WINTUN_LIBRARY);
  expect_the_drivers_version(*library);
  const Functions& functions = library->functions();
  EXPECT_NE(functions.create_adapter, Library::linked()->functions().create_adapter);
  EXPECT_NE(functions.receive_packets, nullptr);
  EXPECT_NE(functions.send_packets, nullptr);
  EXPECT_NE(functions.get_statistics, nullptr);
  EXPECT_NE(functions.get_last_error, nullptr);
}

TEST(LibraryTest, a_path_of_nothing_is_not_found) {
  const auto error = error_of_loading("/nowhere/libnothing.so");
  EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory) << error.what();
  EXPECT_THAT(error.what(), HasSubstr("/nowhere/libnothing.so"));
  EXPECT_EQ(error_of_loading("").code(), std::errc::invalid_argument);
}

TEST(LibraryTest, a_file_that_is_no_library_is_told) {
  const std::string path = testing::TempDir() + "wintun-no-library-" + std::to_string(::getpid());
  std::ofstream(path) << "a text";
  const auto error = error_of_loading(path);
  EXPECT_EQ(::unlink(path.c_str()), 0);
  EXPECT_NE(error.code().value(), ENOENT);
  EXPECT_THAT(error.what(), HasSubstr(path));
}

TEST(LibraryTest, what_a_library_lacks_is_named_in_one_go) {
  const auto error = error_of_loading(WINTUN_INCOMPLETE_LIBRARY);
  EXPECT_EQ(error.code(), std::errc::function_not_supported);
  EXPECT_THAT(error.what(), HasSubstr(WINTUN_INCOMPLETE_LIBRARY));
  EXPECT_THAT(error.what(), HasSubstr("WintunCloseAdapter"));
  EXPECT_THAT(error.what(), HasSubstr("WintunSendPacket"));
  EXPECT_THAT(error.what(), Not(HasSubstr("WintunOpenAdapter")));
}

TEST(LibraryTest, a_foreign_library_needs_none_of_our_functions) {
  const auto library = Library::load(WINTUN_FOREIGN_LIBRARY);
  EXPECT_EQ(library->functions().receive_packets, nullptr) << "another generation's, with another signature";
  EXPECT_EQ(library->functions().get_statistics, nullptr);
  EXPECT_THROW((void)library->driver_version(), std::system_error);
  EXPECT_THROW(Device({.name = "Demo", .library = library}), std::system_error);
}

TEST(LibraryTest, a_library_is_one_object_by_whichever_path_and_stays) {
  const auto* const first = Library::load(WINTUN_LIBRARY).get();
  const std::filesystem::path path = WINTUN_LIBRARY;
  EXPECT_EQ(Library::load((path.parent_path() / "." / path.filename()).string()).get(), first);
  EXPECT_NE(Library::load(WINTUN_FOREIGN_LIBRARY).get(), first);
}

}  // namespace
}  // namespace wintun
