// What fuzzing the Windows driver needs: a kernel whose first broken rule ends the process, the driver on it, and
// words that are wrong in telling ways. One input is one use of an adapter that many inputs share; behind each input
// the kernel must hold what it held before. One thread, and those of the driver.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "driver/ndis/protocol.hpp"
#include "ring/layout.hpp"
#include "tests/kernel/adapter.hpp"

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path);

namespace wintun::fuzz {

using kernel::Bytes;

[[noreturn]] inline void broken(const char* promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// How many 32-bit words this process has mutated and shown to the driver.
inline std::uint64_t mutated_words = 0;

// The fuzzer's bytes. Behind their end all are 0.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool is_empty() const { return used_ >= size_; }
  std::uint32_t byte() { return used_ < size_ ? data_[used_++] : 0; }
  std::uint32_t word() { return byte() << 24 | byte() << 16 | byte() << 8 | byte(); }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t used_ = 0;
};

// Many words from few bytes of an input: a short input can fill a ring.
class Words {
 public:
  explicit Words(std::uint32_t seed) : state_(std::uint64_t{seed} << 16 | 0x9E37) {}

  std::uint32_t any() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>(state_ >> 16);
  }
  bool one_in(std::uint32_t count) { return any() % count == 0; }

  // Random, small, near a limit, or an offset.
  std::uint32_t mutated() {
    constexpr std::uint32_t kTelling[] = {0,          1,          0xEFF0,       0xF000,           0xFFFF,
                                          0x10000,    0x1FFFC,    kMinCapacity, kMinCapacity + 4, kMaxCapacity,
                                          0x7FFFFFFF, 0x80000000, 0xFFFFFFF0,   0xFFFFFFFC,       0xFFFFFFFF};
    const std::uint32_t value = any();
    switch (value % 8) {
      case 0:
        return any() & 0xFFF;
      case 1:
        return kTelling[any() % std::size(kTelling)];
      case 2:
        return any() % kMinCapacity & ~3U;
      case 3:
        return (any() & ~0xFFU) | (value & 0x100 ? 0x45 : 0x60);  // the first byte of a packet
      default:
        return any();
    }
  }

 private:
  std::uint64_t state_;
};

// The driver runs meanwhile, so a word is written as one.
inline void mutate(std::uint32_t* word, std::uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELAXED);
  ++mutated_words;
}

// Bytes of a program that end where the page behind them cannot be touched. Freed with the process.
class Guarded {
 public:
  Guarded(kernel::Process& process, std::size_t bytes) {
    const std::size_t page = static_cast<std::size_t>(getpagesize());
    const std::size_t room = (bytes + page - 1) / page * page;
    std::uint8_t* const first = process.allocate(page + room + page);
    if (mprotect(first, page, PROT_NONE) != 0 || mprotect(first + page + room, page, PROT_NONE) != 0) std::abort();
    data_ = first + page + (room - bytes) / 4 * 4;
  }
  std::uint8_t* data() const { return data_; }
  Ring* ring() const { return reinterpret_cast<Ring*>(data_); }

 private:
  std::uint8_t* data_;
};

class Scene {
 public:
  static constexpr std::u16string_view kName = u"\\\\.\\Device\\RINGTUN1";

  Scene() : kernel_(kernel::Kernel::Options{true, 0x00060053}), driver_(DriverEntry), adapter_(driver_) {
    if (!driver_.is_loaded() || adapter_.start() != 0) broken("the driver loads and starts");
    held_ = kernel::outstanding();
  }

  // The scene of this input. Made anew now and then, since a kernel joins its threads only at its end, and so that
  // unloading is tried too.
  static Scene& next() {
    static unsigned inputs = 0;
    if (inputs++ % 64 == 0) {
      current().reset();
      current() = std::make_unique<Scene>();
    }
    return *current();
  }
  // Before main() returns: a thread's own objects are gone before static ones. A fuzzer leaves it out.
  static void end() { current().reset(); }

  // Behind an input: all of its processes have ended.
  void expect_nothing_left() {
    (void)adapter_.received();
    (void)adapter_.completions();
    (void)adapter_.indications();
    adapter_.wait_for_sends();
    if (adapter_.is_connected()) broken("a session ends with its program");
    if (kernel::outstanding() != held_) broken("a session leaves nothing behind");
  }

  kernel::Adapter& adapter() { return adapter_; }

 private:
  static std::unique_ptr<Scene>& current() {
    static auto* const scene = new std::unique_ptr<Scene>;
    return *scene;
  }

  kernel::Kernel kernel_;
  kernel::Driver driver_;
  kernel::Adapter adapter_;
  std::size_t held_ = 0;
};

inline Bytes packet_of(std::size_t size, Words& words) {
  Bytes packet(size);
  for (auto& byte : packet) byte = static_cast<std::uint8_t>(words.any());
  if (size != 0) packet[0] = words.one_in(2) ? 0x45 : 0x60;
  return packet;
}

// The kinds of input.
void fuzz_rings(Scene& scene, Input& input);
void fuzz_registration(Scene& scene, Input& input);
void fuzz_bundles(Scene& scene, Input& input);
void fuzz_oids(Scene& scene, Input& input);

}  // namespace wintun::fuzz
