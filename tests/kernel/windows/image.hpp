// Loads a kernel driver's file into this process, as the system's loader does it for the kernel: sections,
// relocations, imports, unwind tables. Imports are bound to what this program exports, which is the kernel of
// tests/kernel, and to the few functions of ntdll and msvcrt that a kernel has under the same names. For Windows
// programs; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace wintun::kernel {

class Image {
 public:
  // std::runtime_error that says what is wrong with the file, or which imports nobody has.
  explicit Image(const std::string& path);
  // The memory is never freed: a thread of the driver's may be returning through it still.
  ~Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  void* entry() const { return entry_; }
  void reset();  // its variables are again what they were after loading; none of its threads runs

 private:
  void keep_variables(std::size_t header_at);

  void* base_ = nullptr;
  void* entry_ = nullptr;
  std::vector<std::pair<std::uint8_t*, std::vector<std::uint8_t>>> variables_;
};

}  // namespace wintun::kernel
