// A program's two rings, locked and mapped into the kernel, and its two events. PASSIVE_LEVEL, the adapter's `serial`
// held; open() runs in the program.
#pragma once

#include "driver/ndis/nt.hpp"
#include "driver/ndis/protocol.hpp"
#include "ring/layout.hpp"

namespace wintun {

class LockedRing {
 public:
  // Whole ring or nothing; STATUS_INVALID_PARAMETER, STATUS_DATATYPE_MISALIGNMENT, STATUS_ACCESS_VIOLATION,
  // STATUS_INSUFFICIENT_RESOURCES.
  NTSTATUS open(uint64_t address, uint32_t size);
  void close();

  Ring* ring() const { return ring_; }
  uint32_t capacity() const { return capacity_; }
  PMDL mdl() const { return mdl_; }

 private:
  Ring* ring_ = nullptr;
  PMDL mdl_ = nullptr;
  uint32_t capacity_ = 0;
  bool is_locked_ = false;
};

class LockedRings {
 public:
  // All or nothing. The rings are those of a new session: nothing consumed, nothing in the one that we fill.
  NTSTATUS open(const Registration<uint64_t>& registration);
  void close();

  const LockedRing& to_user() const { return to_user_; }
  const LockedRing& to_network() const { return to_network_; }
  PKEVENT to_user_moved() const { return to_user_moved_; }
  PKEVENT to_network_moved() const { return to_network_moved_; }

 private:
  NTSTATUS open_all(const Registration<uint64_t>& registration);

  LockedRing to_user_, to_network_;
  PKEVENT to_user_moved_ = nullptr;     // we set it
  PKEVENT to_network_moved_ = nullptr;  // we wait for it
};

}  // namespace wintun
