// The older device's front end: the program's end of two rings in kernel memory, so that core has rings as ever.
// ReadFile pends until a packet comes; WriteFile puts a bundle's packets into the other ring.
#pragma once

#include "driver/ndis/control.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

class Bundles : public Pooled {
 public:
  explicit Bundles(Control& control) : host_(control.adapter->host), reads_(control.reads) {}
  ~Bundles();
  Bundles(const Bundles&) = delete;
  Bundles& operator=(const Bundles&) = delete;

  // PASSIVE_LEVEL. Memory for both rings; then what core shall use.
  NTSTATUS allocate();
  Rings rings();

  // Completes reads as long as there are both reads and packets; all of them when the session has ended.
  // DISPATCH_LEVEL or below, any thread: core calls it as the program's event.
  void complete_reads();

  // Whether all of it can be cut into packets, and they are not too many.
  static bool is_whole(const uint8_t* bundle, uint32_t bytes);
  // Puts the packets into the ring; what finds no room is dropped and counted. PASSIVE_LEVEL, the adapter's `serial`
  // held.
  void write(const uint8_t* bundle, uint32_t bytes);

 private:
  bool take();
  uint32_t fill(uint8_t* into, uint32_t room);

  Host& host_;
  Reads& reads_;
  Ring* up_ = nullptr;  // to the program
  Ring* down_ = nullptr;
  PMDL down_mdl_ = nullptr;
  KEVENT down_moved_;

  Host::SpinLock lock_;  // covers the consumer and what it has at hand
  Consumer consumer_;
  Slot at_hand_;  // taken from the ring, too large for the read before
  bool has_at_hand_ = false;
  bool has_ended_ = false;

  Producer producer_;
};

// IRP_MJ_READ and IRP_MJ_WRITE of the control device (control.cpp has let them in). PASSIVE_LEVEL.
NTSTATUS read_bundle(Control& control, OpenFile& file, PIRP irp);
NTSTATUS write_bundle(Control& control, OpenFile& file, PIRP irp);

// The queue of reads: made with the device, and emptied of one file's reads when its last handle is closed.
NTSTATUS initialize_reads(Reads& reads);
void cancel_reads(Reads& reads, PFILE_OBJECT file);

}  // namespace wintun
