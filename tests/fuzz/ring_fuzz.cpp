// A fuzzing target: the input's bytes drive both ends of rings whose memory lies (tests/ring/hostile_machine.hpp).
// Built as a libFuzzer program with WINTUN_FUZZ (clang), and always with seeded_driver.cpp as an ordinary test.
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "hostile_machine.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::size_t used = 0;
  // Behind its end an input says 0: no lies, and calls that end soon.
  const auto next = [&] {
    std::uint32_t value = 0;
    for (int i = 0; i < 4 && used < size; ++i) value = value << 8 | data[used++];
    return value;
  };
  wintun::hostile::Machine machine(next);
  while (used < size) {
    const std::string failure = machine.run(1);
    if (failure.empty()) continue;
    std::fprintf(stderr, "broken promise: %s\n", failure.c_str());
    std::abort();
  }
  return 0;
}
