// Hostile memory: every word that the other end can write gives anything at any load. See hostile_machine.hpp.
#include <gtest/gtest.h>

#include "hostile_machine.hpp"

namespace wintun {
namespace {

TEST(Hostile, whatever_the_words_say_both_ends_stay_inside_and_keep_what_they_hold) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    hostile::Machine machine{Random(seed)};
    ASSERT_EQ(machine.run(400), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace wintun
