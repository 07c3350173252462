// Serial: one thread at a time, for work that may wait. PASSIVE_LEVEL. An event rather than a mutex, since the holder
// creates and ends threads; the critical region keeps a program from suspending its thread while it holds this.
#pragma once

#include "driver/ndis/nt.hpp"

namespace wintun {

class Serial {
 public:
  void initialize() { KeInitializeEvent(&free_, SynchronizationEvent, TRUE); }

 private:
  friend class SerialHold;
  KEVENT free_;
};

class SerialHold {
 public:
  explicit SerialHold(Serial& serial) : serial_(serial) {
    KeEnterCriticalRegion();
    KeWaitForSingleObject(&serial_.free_, Executive, KernelMode, FALSE, nullptr);
  }
  ~SerialHold() {
    KeSetEvent(&serial_.free_, IO_NO_INCREMENT, FALSE);
    KeLeaveCriticalRegion();
  }
  SerialHold(const SerialHold&) = delete;
  SerialHold& operator=(const SerialHold&) = delete;

 private:
  Serial& serial_;
};

}  // namespace wintun
