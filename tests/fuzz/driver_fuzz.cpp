// A fuzzing target: all that a program and the stack can hand to the Windows driver, on the kernel of the tests. The
// input's first byte says which of four machines the rest of it drives.
#include "driver_fuzz.hpp"

#include "driver_scene.hpp"

using namespace wintun::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Scene& scene = Scene::next();
  constexpr void (*kKinds[])(Scene&, Input&) = {fuzz_rings, fuzz_registration, fuzz_bundles, fuzz_oids};
  kKinds[input.byte() % std::size(kKinds)](scene, input);
  scene.expect_nothing_left();
  return 0;
}

std::uint64_t driver_fuzz_words() { return mutated_words; }

void driver_fuzz_end() { Scene::end(); }
