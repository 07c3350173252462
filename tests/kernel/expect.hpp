// For the kernel's own tests: a mistake is made on purpose, and the kernel must say so.
#pragma once

#include <gtest/gtest.h>

#include "tests/kernel/kernel.hpp"

namespace wintun::kernel {

// The mistake breaks a rule in these words, and only such rules.
inline void expect_violation(const std::string& words, const std::function<void()>& mistake) {
  EXPECT_EQ(take_violations(), "") << "before the mistake";
  mistake();
  const std::string said = take_violations();
  EXPECT_NE(said.find(words), std::string::npos) << "wanted: " << words << "\nsaid: " << said;
}

inline constexpr ULONG kTag = 0x74736554;  // "Test"

}  // namespace wintun::kernel
