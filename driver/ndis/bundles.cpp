// See bundles.hpp. Lock order: the adapter's `serial`, Bundles::lock_, Reads::lock.
#include "driver/ndis/bundles.hpp"

#include "ring/bundle.hpp"

namespace wintun {

namespace {

// A whole bundle of the largest packets fits into the ring that is written.
constexpr uint32_t kUpCapacity = 0x400000;
constexpr uint32_t kDownCapacity = 0x1000000;
static_assert(kDownCapacity > kMaxBundleBytes);

Ring* allocate_ring(uint32_t capacity) {
  Ring* const ring = static_cast<Ring*>(ExAllocatePoolWithTag(driver.pool, ring_bytes(capacity), kPoolTag));
  if (ring != nullptr) *ring = Ring{0, 0, 0};
  return ring;
}

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

}  // namespace

NTSTATUS initialize_reads(Reads& reads) {
  InitializeListHead(&reads.irps);
  return IoCsqInitialize(&reads.queue, insert, remove, peek_next, acquire, release, complete_canceled);
}

void cancel_reads(Reads& reads, PFILE_OBJECT file) {
  while (const PIRP irp = IoCsqRemoveNextIrp(&reads.queue, file)) finish(irp, STATUS_CANCELLED);
}

NTSTATUS Bundles::allocate() {
  KeInitializeEvent(&down_moved_, SynchronizationEvent, FALSE);
  up_ = allocate_ring(kUpCapacity);
  down_ = allocate_ring(kDownCapacity);
  if (up_ == nullptr || down_ == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  down_mdl_ = IoAllocateMdl(down_, ring_bytes(kDownCapacity), FALSE, FALSE, nullptr);
  if (down_mdl_ == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  MmBuildMdlForNonPagedPool(down_mdl_);
  consumer_ = Consumer(up_, kUpCapacity);
  producer_ = Producer(down_, kDownCapacity);
  return STATUS_SUCCESS;
}

Bundles::~Bundles() {
  if (down_mdl_ != nullptr) IoFreeMdl(down_mdl_);
  if (down_ != nullptr) ExFreePoolWithTag(down_, kPoolTag);
  if (up_ != nullptr) ExFreePoolWithTag(up_, kPoolTag);
}

Rings Bundles::rings() { return {up_, down_, kUpCapacity, kDownCapacity, down_mdl_, nullptr, &down_moved_, this}; }

// Each side looks for the other's half under lock_, after it has left its own: a read after it is queued, a packet
// after it is published. So no read stays behind a packet.
void Bundles::complete_reads() {
  for (;;) {
    PIRP irp = nullptr;
    ULONG_PTR bytes = 0;
    {
      Host::SpinHold hold(lock_);
      const bool is_ready = take();
      if (!is_ready && !has_ended_) return;
      irp = IoCsqRemoveNextIrp(&reads_.queue, nullptr);
      if (irp == nullptr) return;
      const PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
      if (is_ready)
        bytes = fill(static_cast<uint8_t*>(system_address(irp->MdlAddress)), stack->Parameters.Read.Length);
    }
    finish(irp, bytes != 0 ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED, bytes);
  }
}

// Whether a packet is at hand now. One that no bundle can hold is dropped. lock_ is held.
bool Bundles::take() {
  while (!has_at_hand_) {
    const RingStatus status = consumer_.next(at_hand_);
    has_ended_ = status != RingStatus::ok && status != RingStatus::empty;
    if (status != RingStatus::ok) return false;
    has_at_hand_ = at_hand_.size <= kMaxBundleSlot - kBundleHeader;
    if (has_at_hand_) break;
    consumer_.release(at_hand_.end);
    host_.count_drop(Direction::to_user);
  }
  return true;
}

// As many packets as there are and as fit, one at least: read_bundle() has seen to the room. lock_ is held.
uint32_t Bundles::fill(uint8_t* into, uint32_t room) {
  uint32_t used = 0;
  for (uint32_t packets = 0; packets < kMaxBundlePackets && take(); ++packets) {
    const uint32_t bytes = bundle_slot(at_hand_.size);
    if (bytes > room - used) break;
    memcpy(lay_out_slot(into + used, at_hand_.size), at_hand_.data, at_hand_.size);
    consumer_.release(at_hand_.end);
    has_at_hand_ = false;
    used += bytes;
  }
  return used;
}

bool Bundles::is_whole(const uint8_t* bundle, uint32_t bytes) {
  uint32_t packets = 0;
  Slot slot;
  for (uint32_t offset = 0; offset < bytes;) {
    if (!next_in_bundle(bundle, bytes, offset, slot)) return false;
    if (slot.size != 0 && ++packets > kMaxBundlePackets) return false;
  }
  return true;
}

// The program can still write the buffer: it is cut again with the same checks, and what is not as it was is left.
void Bundles::write(const uint8_t* bundle, uint32_t bytes) {
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

namespace {

// The file is one of the bundles' owners from now on. `serial` held.
NTSTATUS join(Control& control, OpenFile& file) {
  Adapter& adapter = *control.adapter;
  if (file.is_cleaned_up) return STATUS_FILE_CLOSED;
  if (adapter.removed) return STATUS_DEVICE_REMOVED;
  if (adapter.owner == Owner::rings) return STATUS_ALREADY_INITIALIZED;
  if (adapter.owner == Owner::nobody) {
    Bundles* const bundles = new Bundles(control);
    if (bundles == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = bundles->allocate();
    if (NT_SUCCESS(status)) status = adapter.connect(bundles->rings());
    if (!NT_SUCCESS(status)) {
      delete bundles;
      return status;
    }
    adapter.bundles = bundles;
    adapter.owner = Owner::bundles;
  }
  if (!file.is_of_bundles) ++adapter.bundle_files;
  file.is_of_bundles = true;
  return STATUS_SUCCESS;
}

}  // namespace

NTSTATUS read_bundle(Control& control, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
  if (length < kMaxBundleSlot) return finish(irp, STATUS_BUFFER_TOO_SMALL);
  if (irp->MdlAddress == nullptr) return finish(irp, STATUS_INVALID_USER_BUFFER);
  if (system_address(irp->MdlAddress) == nullptr) return finish(irp, STATUS_INSUFFICIENT_RESOURCES);
  const PVOID address = MmGetMdlVirtualAddress(irp->MdlAddress);
  SerialHold hold(control.adapter->serial);
  if (file.read_address != nullptr && file.read_address != address) return finish(irp, STATUS_INVALID_USER_BUFFER);
  const NTSTATUS status = join(control, file);
  if (!NT_SUCCESS(status)) return finish(irp, status);
  file.read_address = address;
  IoCsqInsertIrp(&control.reads.queue, irp, nullptr);  // marks it pending
  control.adapter->bundles->complete_reads();
  return STATUS_PENDING;
}

NTSTATUS write_bundle(Control& control, OpenFile& file, PIRP irp) {
  const ULONG length = IoGetCurrentIrpStackLocation(irp)->Parameters.Write.Length;
  if (length == 0 || length > kMaxBundleBytes) return finish(irp, STATUS_INVALID_BUFFER_SIZE);
  if (irp->MdlAddress == nullptr) return finish(irp, STATUS_INVALID_USER_BUFFER);
  const uint8_t* const bundle = static_cast<const uint8_t*>(system_address(irp->MdlAddress));
  if (bundle == nullptr) return finish(irp, STATUS_INSUFFICIENT_RESOURCES);
  if (!Bundles::is_whole(bundle, length)) return finish(irp, STATUS_INVALID_PARAMETER);
  SerialHold hold(control.adapter->serial);
  const NTSTATUS status = join(control, file);
  if (!NT_SUCCESS(status)) return finish(irp, status);
  control.adapter->bundles->write(bundle, length);
  return finish(irp, STATUS_SUCCESS, length);
}

}  // namespace wintun
