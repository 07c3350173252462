// Packets between the ring and Python objects. With the GIL held on entry and on return.
#pragma once

#include <Python.h>

#include <cstdint>
#include <span>

#include "native/native_device.hpp"

namespace wintun::python {

// The packet's bytes as a new object; null with MemoryError. The packet stays lent.
PyObject* bytes_of(const Packet& packet);

// The memory of a bytes-like object, for as long as this lives. One that is not contiguous is copied.
class PacketBuffer {
 public:
  PacketBuffer() = default;
  PacketBuffer(PacketBuffer&& other) noexcept : view_(other.view_), bytes_(other.bytes_) {
    other.view_.obj = nullptr;
  }
  PacketBuffer(const PacketBuffer&) = delete;
  PacketBuffer& operator=(const PacketBuffer&) = delete;
  ~PacketBuffer() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }

  // False with an exception: TypeError for what has no bytes.
  [[nodiscard]] bool take(PyObject* object);

  // What is to be sent: without the protocol word that some programs put in front. An empty one with ValueError set:
  // it is no packet.
  [[nodiscard]] std::span<const std::uint8_t> packet(const NativeDevice& device) const;

 private:
  Py_buffer view_{};
  std::span<const std::uint8_t> bytes_;
};

}  // namespace wintun::python
