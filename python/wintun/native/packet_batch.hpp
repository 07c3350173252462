// A burst of packets in memory of its own, in order. It is filled once and does not change after that, so any thread
// may read it without the GIL while its Python object is held. The copy out of the ring is what makes a batch safe to
// keep: it holds up neither the ring nor down().
#pragma once

#include <Python.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/native_device.hpp"

namespace wintun::python {

// Where a read of many stops. A list's packets are objects of their own: when the caller drops more than so much at
// once, glibc gives the heap back to the system and faults it in again at the next call. A batch is one piece, which
// glibc keeps; a larger one would leave the cache of the processor before it is written somewhere else.
inline constexpr std::size_t kListBytes = 0x10000;
inline constexpr std::size_t kBatchBytes = 0x40000;
inline constexpr std::size_t kRound = 32;  // packets lent at a time

// How many packets to ask for next on the way to `most` bytes, when `bytes` have come and the largest packet of them
// had `largest`.
[[nodiscard]] std::size_t round_size(std::size_t wanted, std::size_t most, std::size_t bytes, std::size_t largest);

class PacketBatch {
 public:
  // At most `limit` packets that are there now. Without the GIL. Not `ok`: none was read.
  static IoStatus read(NativeDevice& device, std::size_t limit, PacketBatch& batch);

  std::size_t size() const { return ends_.size(); }
  std::size_t bytes() const { return bytes_.size(); }
  std::span<const std::uint8_t> operator[](std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }

  // The packet that the buffer protocol gives out at this moment: one packet is one view. With the GIL.
  Py_ssize_t exported = -1;

 private:
  void append(std::span<const Packet> packets, bool more_may_come);

  std::vector<std::uint8_t> bytes_;
  std::vector<std::size_t> ends_;
};

// A new Python object of it. With the GIL; null with an exception.
PyObject* to_python(PacketBatch&& batch);

}  // namespace wintun::python
