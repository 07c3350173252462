// What the driver's fuzzing target shows to whoever runs it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// How many 32-bit words of buffers and rings the inputs so far have mutated.
std::uint64_t driver_fuzz_words();
// Behind the last input: the driver is unloaded, and nothing may be left.
void driver_fuzz_end();
