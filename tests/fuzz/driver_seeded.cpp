// Runs the driver's fuzzing target without a fuzzer, until so many words are mutated: `<target> [words] [seed]`, or
// `<target> file...` for inputs that a fuzzer wrote. Without arguments WINTUN_FUZZ_WORDS says how many, else few
// are: a test. The same seed gives the same inputs; the threads of the driver run as they like.
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "driver_fuzz.hpp"

namespace {

constexpr std::uint64_t kShort = 300'000;
constexpr std::uint64_t kKinds = 4;    // of inputs: driver_fuzz.cpp
constexpr std::size_t kLongest = 512;  // bytes of an input: each can stand for thousands of words

bool run_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return true;
}

std::uint64_t number(const char* text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text, &end, 10);
  return *end == '\0' ? value : 0;
}

// Nine inputs in ten are rings, which the driver works on by itself, and long; each of the first four is of one kind.
std::vector<std::uint8_t> make_input(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uint64_t kind = random() % 10 == 0 ? 1 + random() % 3 : 0;
  if (seed < kKinds) kind = seed;
  std::vector<std::uint8_t> bytes(2 + random() % (kind == 0 ? kLongest : kLongest / 8));
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  bytes[0] = static_cast<std::uint8_t>(kind);
  return bytes;
}

int run_files(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    if (!run_file(paths[i])) return std::fprintf(stderr, "cannot read %s\n", paths[i]), 2;
  }
  return 0;
}

void run_words(std::uint64_t words, std::uint64_t seed) {
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t next = words / 20;
  for (std::uint64_t inputs = 1; driver_fuzz_words() < words || inputs <= kKinds; ++inputs, ++seed) {
    const std::vector<std::uint8_t> bytes = make_input(seed);
    (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    const std::uint64_t done = driver_fuzz_words();
    if (done < next && done < words) continue;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("%" PRIu64 " words mutated in %" PRIu64 " inputs, %.0f s\n", done, inputs, elapsed.count());
    std::fflush(stdout);
    next = done + words / 20;
  }
}

}  // namespace

int main(int count, char** arguments) {
  const char* const asked = std::getenv("WINTUN_FUZZ_WORDS");
  const char* const text = count > 1 ? arguments[1] : asked;
  const std::uint64_t words = text != nullptr ? number(text) : kShort;
  int result = 0;
  if (words != 0) {
    run_words(words, count > 2 ? number(arguments[2]) : 0);
  } else if (count > 1) {
    result = run_files(count - 1, arguments + 1);
  } else {
    result = 2;
  }
  driver_fuzz_end();
  return result;
}
