// The older device's front end: the program's end of two rings in kernel memory, so that core has rings as ever.
// ReadFile pends until a packet comes; WriteFile puts a bundle's packets into the other ring.
// Lock order: the adapter's `serial`, Bundles::lock_, Reads::lock.
#include "driver/ndis/control.hpp"
#include "ring/bundle.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

namespace {

template <uint32_t kCapacity>
struct RingMemory {
  Ring ring = {0, 0, 0};
  uint8_t data[kCapacity + kTrailingBytes];
};

}  // namespace

class Bundles : public Pooled {
 public:
  explicit Bundles(Control& control) : host_(control.adapter->host), reads_(control.reads) {
    KeInitializeEvent(&down_moved_, SynchronizationEvent, FALSE);
    down_mdl_ = IoAllocateMdl(&down_, sizeof(down_), FALSE, FALSE, nullptr);
    if (down_mdl_ != nullptr) MmBuildMdlForNonPagedPool(down_mdl_);
  }
  ~Bundles() {
    if (down_mdl_ != nullptr) IoFreeMdl(down_mdl_);
  }
  bool is_complete() const { return down_mdl_ != nullptr; }

  // What core shall use.
  Rings rings() {
    return {{&up_.ring, kUpCapacity, nullptr, nullptr}, {&down_.ring, kDownCapacity, down_mdl_, &down_moved_}, this};
  }

  // Completes reads as long as there are both reads and packets; all of them when the session has ended.
  // DISPATCH_LEVEL or below, any thread: core calls it as the program's event.
  // Each side looks for the other's half under lock_, after it has left its own: a read after it is queued, a packet
  // after it is published. So no read stays behind a packet.
  void complete_reads() {
    for (;;) {
      RingStatus status = RingStatus::ok;
      PIRP irp = nullptr;
      {
        Host::SpinHold hold(lock_);
        status = look();
        irp = status != RingStatus::empty ? IoCsqRemoveNextIrp(&reads_.queue, nullptr) : nullptr;
        if (irp == nullptr) return;
        irp->IoStatus.Information = status == RingStatus::ok ? fill(*irp) : 0;
      }
      finish(irp, status == RingStatus::ok ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED);
    }
  }

  // Whether all of it can be cut into packets, and they are not too many.
  static bool is_whole(const uint8_t* bundle, uint32_t bytes) {
    uint32_t packets = 0;
    Slot slot;
    for (uint32_t offset = 0; offset < bytes;) {
      if (!next_in_bundle(bundle, bytes, offset, slot)) return false;
      if (slot.size != 0 && ++packets > kMaxBundlePackets) return false;
    }
    return true;
  }

  // Puts the packets into the ring; what finds no room is dropped and counted. PASSIVE_LEVEL, the adapter's `serial`
  // held. The program can still write the buffer: it is cut again with the same checks, and what is not as it was is
  // left.
  void write(const uint8_t* bundle, uint32_t bytes) {
    Slot from, to;
    for (uint32_t offset = 0; offset < bytes && next_in_bundle(bundle, bytes, offset, from);) {
      if (from.size == 0) continue;
      if (producer_.reserve(from.size, to) != RingStatus::ok) {
        host_.count_drop(Direction::to_network);
        continue;
      }
      memcpy(to.data, from.data, from.size);
      if (producer_.publish(to.end)) KeSetEvent(&down_moved_, IO_NETWORK_INCREMENT, FALSE);
    }
  }

 private:
  // Takes the next packet from the ring, unless one is at hand. One that no bundle can hold is dropped. lock_ is
  // held.
  RingStatus look() {
    while (at_hand_.data == nullptr) {
      const RingStatus status = consumer_.next(at_hand_);
      if (status != RingStatus::ok) return status;
      if (at_hand_.size <= kMaxBundleSlot - kBundleHeader) break;
      release();
      host_.count_drop(Direction::to_user);
    }
    return RingStatus::ok;
  }

  void release() {
    consumer_.release(at_hand_.end);
    at_hand_.data = nullptr;
  }

  // As many packets as there are and as fit, one at least: read_bundle() has seen to the room. lock_ is held.
  uint32_t fill(IRP& irp) {
    uint8_t* const into = static_cast<uint8_t*>(system_address(irp.MdlAddress));
    const uint32_t room = IoGetCurrentIrpStackLocation(&irp)->Parameters.Read.Length;
    uint32_t used = 0;
    for (uint32_t packets = 0; packets < kMaxBundlePackets && look() == RingStatus::ok; ++packets) {
      const uint32_t bytes = bundle_slot(at_hand_.size);
      if (bytes > room - used) break;
      memcpy(lay_out_slot(into + used, at_hand_.size), at_hand_.data, at_hand_.size);
      release();
      used += bytes;
    }
    return used;
  }

  // A whole bundle of the largest packets fits into the ring that is written.
  static constexpr uint32_t kUpCapacity = 0x400000;
  static constexpr uint32_t kDownCapacity = 0x1000000;
  static_assert(kDownCapacity > kMaxBundleBytes);

  Host& host_;
  Reads& reads_;
  PMDL down_mdl_;
  KEVENT down_moved_;
  RingMemory<kUpCapacity> up_;  // to the program
  RingMemory<kDownCapacity> down_;
  static_assert(sizeof(up_) == ring_bytes(kUpCapacity) && sizeof(down_) == ring_bytes(kDownCapacity));

  Host::SpinLock lock_;  // covers the next two
  Consumer consumer_{&up_.ring, kUpCapacity};
  Slot at_hand_;  // with data: taken from the ring, too large for the read before

  Producer producer_{&down_.ring, kDownCapacity};
};

void delete_bundles(Bundles* bundles) { delete bundles; }

void Host::wake_program() {
  if (rings.bundles != nullptr) {
    rings.bundles->complete_reads();
  } else {
    KeSetEvent(rings.to_user.moved, IO_NETWORK_INCREMENT, FALSE);
  }
}

namespace {

// What the cancel-safe queue asks of us, under its lock or around it.
Reads& reads_of(PIO_CSQ queue) { return *reinterpret_cast<Reads*>(queue); }
VOID NTAPI insert(PIO_CSQ queue, PIRP irp) { InsertTailList(&reads_of(queue).irps, &irp->Tail.Overlay.ListEntry); }
VOID NTAPI remove(PIO_CSQ, PIRP irp) { RemoveEntryList(&irp->Tail.Overlay.ListEntry); }
PIRP NTAPI peek_next(PIO_CSQ queue, PIRP irp, PVOID file) {
  LIST_ENTRY* const head = &reads_of(queue).irps;
  LIST_ENTRY* entry = irp == nullptr ? head->Flink : irp->Tail.Overlay.ListEntry.Flink;
  for (; entry != head; entry = entry->Flink) {
    const PIRP candidate = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
    if (file == nullptr || IoGetCurrentIrpStackLocation(candidate)->FileObject == file) return candidate;
  }
  return nullptr;
}
VOID NTAPI acquire(PIO_CSQ queue, PKIRQL before) {
  *before = KeAcquireSpinLockRaiseToDpc(&reads_of(queue).lock.lock);
}
VOID NTAPI release(PIO_CSQ queue, KIRQL before) { KeReleaseSpinLock(&reads_of(queue).lock.lock, before); }
VOID NTAPI complete_canceled(PIO_CSQ, PIRP irp) { finish(irp, STATUS_CANCELLED); }

NTSTATUS begin_session(Control& control) {
  Bundles* const bundles = new Bundles(control);
  if (bundles != nullptr && bundles->is_complete()) return control.adapter->begin_session(bundles->rings());
  delete bundles;
  return STATUS_INSUFFICIENT_RESOURCES;
}

// The file is one of the session's owners from now on.
NTSTATUS join(Control& control, OpenFile& file) {
  Adapter& adapter = *control.adapter;
  if (!adapter.state.is_connected()) {
    const NTSTATUS status = begin_session(control);
    if (!NT_SUCCESS(status)) return status;
  }
  if (adapter.host.rings.bundles == nullptr) return STATUS_ALREADY_INITIALIZED;
  if (!file.is_of_bundles) ++adapter.bundle_files;
  file.is_of_bundles = true;
  return STATUS_SUCCESS;
}

}  // namespace

NTSTATUS initialize_reads(Reads& reads) {
  InitializeListHead(&reads.irps);
  return IoCsqInitialize(&reads.queue, insert, remove, peek_next, acquire, release, complete_canceled);
}

void cancel_reads(Reads& reads, PFILE_OBJECT file) {
  while (const PIRP irp = IoCsqRemoveNextIrp(&reads.queue, file)) finish(irp, STATUS_CANCELLED);
}

NTSTATUS read_bundle(Control& control, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
  if (length < kMaxBundleSlot) return STATUS_BUFFER_TOO_SMALL;
  if (irp->MdlAddress == nullptr) return STATUS_INVALID_USER_BUFFER;
  if (system_address(irp->MdlAddress) == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  const PVOID address = MmGetMdlVirtualAddress(irp->MdlAddress);
  if (file.read_address != nullptr && file.read_address != address) return STATUS_INVALID_USER_BUFFER;
  const NTSTATUS status = join(control, file);
  if (!NT_SUCCESS(status)) return status;
  file.read_address = address;
  IoCsqInsertIrp(&control.reads.queue, irp, nullptr);  // marks it pending
  control.adapter->host.rings.bundles->complete_reads();
  return STATUS_PENDING;
}

NTSTATUS write_bundle(Control& control, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Write.Length;
  if (length == 0 || length > kMaxBundleBytes) return STATUS_INVALID_BUFFER_SIZE;
  if (irp->MdlAddress == nullptr) return STATUS_INVALID_USER_BUFFER;
  const uint8_t* const bundle = static_cast<const uint8_t*>(system_address(irp->MdlAddress));
  if (bundle == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  if (!Bundles::is_whole(bundle, length)) return STATUS_INVALID_PARAMETER;
  const NTSTATUS status = join(control, file);
  if (!NT_SUCCESS(status)) return status;
  control.adapter->host.rings.bundles->write(bundle, length);
  irp->IoStatus.Information = length;
  return STATUS_SUCCESS;
}

}  // namespace wintun
