// How adapter names become interface names.
#include "driver/linux/interface_name.hpp"

#include <gtest/gtest.h>

#include <set>

namespace wintun {
namespace {

TEST(InterfaceName, a_name_that_the_kernel_takes_stays_as_it_is) {
  for (const char* name : {"Demo", "tun0", "a", "fifteen-bytes15", "...", "d\xC3\xBC"}) {
    EXPECT_TRUE(is_interface_name(name)) << name;
    EXPECT_EQ(interface_name_for(name), name);
  }
}

TEST(InterfaceName, every_other_name_is_mapped_to_one_that_the_kernel_takes) {
  for (const char* name :
       {"", ".", "..", "all", "default", "with blank", "a/b", "a:b", "tun%d", "tab\t", "line\n", "sixteen-bytes-16",
        "\xC3\xA0", "A name as long as the published interface allows, which is a hundred and twenty-seven of them",
        "\xE2\x98\x83\xE2\x98\x83\xE2\x98\x83\xE2\x98\x83\xE2\x98\x83\xE2\x98\x83"}) {
    EXPECT_FALSE(is_interface_name(name)) << name;
    EXPECT_TRUE(is_interface_name(interface_name_for(name))) << name << " -> " << interface_name_for(name);
  }
}

TEST(InterfaceName, a_mapped_name_is_readable_and_always_the_same) {
  EXPECT_EQ(interface_name_for("My tunnel"), interface_name_for("My tunnel"));
  EXPECT_EQ(interface_name_for("My tunnel").substr(0, 7), "Mytunn-");
  EXPECT_EQ(interface_name_for("\xE2\x98\x83 \xE2\x98\x83").substr(0, 4), "tun-");
}

TEST(InterfaceName, names_that_differ_anywhere_are_mapped_differently) {
  std::set<std::string> mapped;
  std::string name(127, 'x');
  for (char& c : name) {
    c = 'y';
    mapped.insert(interface_name_for(name));
    c = 'x';
  }
  EXPECT_EQ(mapped.size(), 127u);
}

TEST(InterfaceName, a_byte_of_zero_is_no_end_of_a_name) {
  EXPECT_FALSE(is_interface_name(std::string_view("ab\0c", 4)));
  EXPECT_NE(interface_name_for(std::string_view("ab\0c", 4)), interface_name_for("ab"));
}

}  // namespace
}  // namespace wintun
