// The older device's front end: the program's end of two rings in kernel memory, so that core has rings as ever.
// ReadFile pends until a packet comes; WriteFile puts a bundle's packets into the other ring.
// Lock order: the adapter's `serial`, Bundles::lock_, Reads::lock.
#include "driver/ndis/adapter.hpp"
#include "ring/bundle.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"

namespace wintun {

class Bundles : public Pooled {
 public:
  explicit Bundles(Adapter& adapter) : adapter_(adapter) {
    KeInitializeEvent(&down_moved_, SynchronizationEvent, FALSE);
    down_mdl_ = IoAllocateMdl(&down_, sizeof(down_), FALSE, FALSE, nullptr);
    if (down_mdl_ != nullptr) MmBuildMdlForNonPagedPool(down_mdl_);
  }
  ~Bundles() {
    wintun::complete_reads(adapter_.reads, nullptr, STATUS_DEVICE_REMOVED);
    if (down_mdl_ != nullptr) IoFreeMdl(down_mdl_);
  }

  Rings rings() {
    return {{&up_.ring, kUpCapacity, nullptr, nullptr}, {&down_.ring, kDownCapacity, down_mdl_, &down_moved_}, this};
  }

  // Completes reads as long as there are both reads and packets. DISPATCH_LEVEL or below, any thread: core calls it
  // as the program's event.
  void complete_reads() {
    while (const PIRP irp = take_read()) finish(irp, STATUS_SUCCESS);
  }

  // Whether all of it is packets, and they are not too many. They are sent meanwhile, if there is a sender.
  static bool cut(const uint8_t* bundle, uint32_t bytes, Bundles* sender) {
    uint32_t packets = 0;
    Slot packet;
    for (uint32_t offset = 0; offset < bytes;) {
      if (!next_in_bundle(bundle, bytes, offset, packet)) return false;
      if (packet.size == 0) continue;
      if (++packets > kMaxBundlePackets) return false;
      if (sender != nullptr) sender->send(packet);
    }
    return true;
  }

 private:
  template <uint32_t kCapacity>
  struct Memory {
    Ring ring = {0, 0, 0};
    uint8_t data[kCapacity + kTrailingBytes];
  };

  // What finds no room is dropped and counted. PASSIVE_LEVEL, the adapter's `serial` held.
  void send(const Slot& packet) {
    Slot to;
    if (producer_.reserve(packet.size, to) != RingStatus::ok) return adapter_.host.count_drop(Direction::to_network);
    memcpy(to.data, packet.data, packet.size);
    if (producer_.publish(to.end)) KeSetEvent(&down_moved_, IO_NETWORK_INCREMENT, FALSE);
  }

  // A read with its packets, or null. Each side looks for the other's half under lock_, after it has left its own: a
  // read after it is queued, a packet after it is published. So no read stays behind a packet.
  PIRP take_read() {
    Host::SpinHold hold(lock_);
    const PIRP irp = has_packet() ? IoCsqRemoveNextIrp(&adapter_.reads.queue, nullptr) : nullptr;
    if (irp != nullptr) fill(*irp);
    return irp;
  }

  // Takes the next packet from the ring, unless one is at hand. One that no bundle can hold is dropped.
  bool has_packet() {
    while (at_hand_.data == nullptr) {
      if (consumer_.next(at_hand_) != RingStatus::ok) return false;
      if (at_hand_.size <= kMaxBundleSlot - kBundleHeader) break;
      release();
      adapter_.host.count_drop(Direction::to_user);
    }
    return true;
  }

  void release() {
    consumer_.release(at_hand_.end);
    at_hand_.data = nullptr;
  }

  // As many packets as there are and as fit, one at least: read_bundle() has seen to the room.
  void fill(IRP& irp) {
    uint8_t* const into = static_cast<uint8_t*>(system_address(irp.MdlAddress));
    const uint32_t room = IoGetCurrentIrpStackLocation(&irp)->Parameters.Read.Length;
    uint32_t used = 0;
    for (uint32_t packets = 0; packets < kMaxBundlePackets && has_packet(); ++packets) {
      const uint32_t bytes = bundle_slot(at_hand_.size);
      if (bytes > room - used) break;
      memcpy(lay_out_slot(into + used, at_hand_.size), at_hand_.data, at_hand_.size);
      release();
      used += bytes;
    }
    irp.IoStatus.Information = used;
  }

  // A whole bundle of the largest packets fits into the ring that is written.
  static constexpr uint32_t kUpCapacity = 0x400000;
  static constexpr uint32_t kDownCapacity = 0x1000000;
  static_assert(kDownCapacity > kMaxBundleBytes);

  Adapter& adapter_;
  PMDL down_mdl_;
  KEVENT down_moved_;
  Memory<kUpCapacity> up_;  // to the program
  Memory<kDownCapacity> down_;
  static_assert(sizeof(up_) == ring_bytes(kUpCapacity) && sizeof(down_) == ring_bytes(kDownCapacity));

  Host::SpinLock lock_;  // covers the next two, and take_read() and what it calls
  Consumer consumer_{&up_.ring, kUpCapacity};
  Slot at_hand_;  // with data: taken from the ring, too large for the read before

  Producer producer_{&down_.ring, kDownCapacity};
};

void delete_bundles(Bundles* bundles) { delete bundles; }

void Host::wake_program() {
  if (rings.bundles != nullptr) return rings.bundles->complete_reads();
  KeSetEvent(rings.to_user.moved, IO_NETWORK_INCREMENT, FALSE);
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
VOID NTAPI acquire(PIO_CSQ queue, PKIRQL irql) { *irql = KeAcquireSpinLockRaiseToDpc(&reads_of(queue).lock.lock); }
VOID NTAPI release(PIO_CSQ queue, KIRQL irql) { KeReleaseSpinLock(&reads_of(queue).lock.lock, irql); }
VOID NTAPI complete_canceled(PIO_CSQ, PIRP irp) { finish(irp, STATUS_CANCELLED); }

// The file is one of the session's owners from now on.
NTSTATUS join(Adapter& adapter, OpenFile& file) {
  if (!adapter.state.is_connected()) {
    Bundles* const bundles = new Bundles(adapter);
    if (bundles == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    const NTSTATUS status = adapter.begin_session(bundles->rings());
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

void complete_reads(Reads& reads, PFILE_OBJECT file, NTSTATUS status) {
  while (const PIRP irp = IoCsqRemoveNextIrp(&reads.queue, file)) finish(irp, status);
}

NTSTATUS read_bundle(Adapter& adapter, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
  if (length < kMaxBundleSlot) return STATUS_BUFFER_TOO_SMALL;
  if (irp->MdlAddress == nullptr) return STATUS_INVALID_USER_BUFFER;
  if (system_address(irp->MdlAddress) == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  const PVOID address = MmGetMdlVirtualAddress(irp->MdlAddress);
  if (file.read_address != nullptr && file.read_address != address) return STATUS_INVALID_USER_BUFFER;
  const NTSTATUS status = join(adapter, file);
  if (!NT_SUCCESS(status)) return status;
  file.read_address = address;
  IoCsqInsertIrp(&adapter.reads.queue, irp, nullptr);  // marks it pending
  adapter.host.rings.bundles->complete_reads();
  return STATUS_PENDING;
}

NTSTATUS write_bundle(Adapter& adapter, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Write.Length;
  if (length == 0 || length > kMaxBundleBytes) return STATUS_INVALID_BUFFER_SIZE;
  if (irp->MdlAddress == nullptr) return STATUS_INVALID_USER_BUFFER;
  const uint8_t* const bundle = static_cast<const uint8_t*>(system_address(irp->MdlAddress));
  if (bundle == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  if (!Bundles::cut(bundle, length, nullptr)) return STATUS_INVALID_PARAMETER;
  const NTSTATUS status = join(adapter, file);
  if (!NT_SUCCESS(status)) return status;
  // The program can still write the buffer: the same checks again, and what is not as it was is left.
  (void)Bundles::cut(bundle, length, adapter.host.rings.bundles);
  irp->IoStatus.Information = length;
  return STATUS_SUCCESS;
}

}  // namespace wintun
