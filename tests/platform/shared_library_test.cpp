// Finding a library and what is in it, and the errors of those that cannot be loaded.
#include "platform/shared_library.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <string>
#include <system_error>

namespace wintun {
namespace {

std::system_error error_of(const std::string& path) {
  try {
    const SharedLibrary library(path);
  } catch (const std::system_error& error) {
    return error;
  }
  return std::system_error(0, std::system_category(), "no error");
}

TEST(SharedLibrary, gives_the_address_of_what_a_library_exports) {
  const SharedLibrary library("libm.so.6");
  void* const address = library.find("ldexp");
  ASSERT_NE(address, nullptr);
  EXPECT_EQ(reinterpret_cast<double (*)(double, int)>(address)(3.0, 2), 12.0);
}

TEST(SharedLibrary, what_a_library_does_not_export_is_null) {
  const SharedLibrary library("libm.so.6");
  EXPECT_EQ(library.find("WintunNoSuchFunction"), nullptr);
}

TEST(SharedLibrary, a_missing_file_is_named_with_its_cause) {
  for (const std::string path : {"/nowhere/libringtun.so", "libnowhere_at_all.so.7"}) {
    const auto error = error_of(path);
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(path));
  }
}

TEST(SharedLibrary, a_file_that_is_no_library_is_named_with_its_cause) {
  char path[] = "/tmp/wintun_no_library_XXXXXX";
  const int descriptor = mkstemp(path);
  ASSERT_GE(descriptor, 0);
  ASSERT_EQ(write(descriptor, "no library\n", 11), 11);
  close(descriptor);
  const auto error = error_of(path);
  unlink(path);
  EXPECT_EQ(error.code().value(), ELIBBAD) << error.what();
  EXPECT_THAT(error.what(), testing::HasSubstr(path));
}

}  // namespace
}  // namespace wintun
