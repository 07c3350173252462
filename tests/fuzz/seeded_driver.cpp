// Runs a fuzzing target without a fuzzer, on inputs that are the same in every run:
// `<target> [inputs] [longest]`, or `<target> file...` for inputs that a fuzzer wrote.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

bool run_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && run_file(arguments[1])) {
    for (int i = 2; i < count; ++i) {
      if (!run_file(arguments[i])) return std::fprintf(stderr, "cannot read %s\n", arguments[i]), 2;
    }
    return 0;
  }
  const std::uint32_t inputs = count > 1 ? static_cast<std::uint32_t>(std::strtoul(arguments[1], nullptr, 10)) : 300;
  const std::size_t longest = count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 8192;
  if (inputs == 0 || longest == 0) {
    std::fprintf(stderr, "usage: %s [inputs] [longest] | file...\n", arguments[0]);
    return 2;
  }
  for (std::uint32_t seed = 0; seed < inputs; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> bytes(1 + random() % longest);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%u inputs\n", inputs);
}
