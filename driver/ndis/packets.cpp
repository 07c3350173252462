// The host's two directions. From the stack to the program NDIS gives chains of lists, each with its packets, on any
// number of threads, at DISPATCH_LEVEL or below; a list goes back with its last packet. From the program to the stack
// core lends packets in place, each in a list of our own around the ring's memory; NDIS returns the lists late, in
// any order, from any thread.
#include "driver/ndis/adapter.hpp"

namespace wintun {

namespace {

// While a list is here, its MiniportReserved counts the packets that are not completed, and each packet's third
// word, behind the Packet, names the list.
LONG& outstanding(NET_BUFFER_LIST& list) { return *reinterpret_cast<LONG*>(list.MiniportReserved); }
PVOID& list_word(NET_BUFFER& buffer) { return buffer.MiniportReserved[2]; }

// Mapping can fail for want of memory, and must not while room in the ring is reserved for the packet already.
bool is_mapped(const NET_BUFFER& buffer) {
  uint64_t reached = 0;
  const uint64_t wanted = uint64_t{buffer.CurrentMdlOffset} + buffer.DataLength;
  for (PMDL mdl = buffer.CurrentMdl; mdl != nullptr && reached < wanted; mdl = mdl->Next) {
    if (system_address(mdl) == nullptr) return false;
    reached += MmGetMdlByteCount(mdl);
  }
  return reached >= wanted;
}

}  // namespace

void Host::copy(Packet& packet, uint8_t* into) {
  NET_BUFFER& buffer = buffer_of(packet);
  if (buffer.DataLength == 0) return;
  const void* const data = NdisGetDataBuffer(&buffer, buffer.DataLength, into, 1, 0);
  if (data != nullptr && data != into) memcpy(into, data, buffer.DataLength);
}

void Host::complete(Packet& packet, NDIS_STATUS status) {
  NET_BUFFER_LIST& list = *static_cast<PNET_BUFFER_LIST>(list_word(buffer_of(packet)));
  if (status != NDIS_STATUS_SUCCESS) __atomic_store_n(&list.Status, status, __ATOMIC_RELAXED);
  const bool is_last = __atomic_sub_fetch(&outstanding(list), 1, __ATOMIC_ACQ_REL) == 0;
  if (is_last) NdisMSendNetBufferListsComplete(adapter, &list, 0);
}

void Host::complete(Packet& packet, Outcome outcome) {
  // In the order of Outcome.
  constexpr NDIS_STATUS kStatuses[] = {
      NDIS_STATUS_SUCCESS, NDIS_STATUS_RESOURCES,          NDIS_STATUS_INVALID_LENGTH, NDIS_STATUS_MEDIA_DISCONNECTED,
      NDIS_STATUS_PAUSED,  NDIS_STATUS_MEDIA_DISCONNECTED, NDIS_STATUS_LOW_POWER_STATE};
  static_assert(sizeof(kStatuses) / sizeof(*kStatuses) == static_cast<uint32_t>(Outcome::asleep) + 1);
  complete(packet, kStatuses[static_cast<uint32_t>(outcome)]);
}

VOID NTAPI send(NDIS_HANDLE context, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER, ULONG) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  FlightQueue<Host> chain(adapter.host);
  FlightQueue<Host> unmapped(adapter.host);
  while (lists != nullptr) {
    NET_BUFFER_LIST& list = *lists;
    lists = list.Next;
    list.Next = nullptr;
    list.Status = NDIS_STATUS_SUCCESS;
    outstanding(list) = 0;
    for (NET_BUFFER* buffer = list.FirstNetBuffer; buffer != nullptr; buffer = buffer->Next) {
      ++outstanding(list);
      list_word(*buffer) = &list;
      (is_mapped(*buffer) ? chain : unmapped).push(Host::packet_of(*buffer));
    }
    if (list.FirstNetBuffer == nullptr) NdisMSendNetBufferListsComplete(adapter.host.adapter, &list, 0);
  }
  while (!unmapped.is_empty()) {
    Host::Packet& packet = unmapped.pop();
    adapter.host.count_drop(Direction::to_user);
    adapter.host.complete(packet, NDIS_STATUS_RESOURCES);
  }
  if (!chain.is_empty()) adapter.to_user.give(chain.take());
}

Host::Packet* Host::wrap(uint8_t* data, uint32_t size, uint32_t version) {
  const ULONG offset = static_cast<ULONG>(data - reinterpret_cast<uint8_t*>(rings.to_network.ring));
  const PNET_BUFFER_LIST list = NdisAllocateNetBufferAndNetBufferList(pool, 0, 0, rings.to_network.mdl, offset, size);
  if (list == nullptr) return nullptr;
  constexpr uintptr_t kIpv4 = 0x0008, kIpv6 = 0xDD86;  // Ethernet types, in network order
  list->SourceHandle = adapter;
  list->NblFlags |= version == 4 ? NDIS_NBL_FLAGS_IS_IPV4 : NDIS_NBL_FLAGS_IS_IPV6;
  list->NetBufferListInfo[NetBufferListFrameType] = reinterpret_cast<PVOID>(version == 4 ? kIpv4 : kIpv6);
  list->Status = NDIS_STATUS_SUCCESS;
  (first_wrapped_ == nullptr ? first_wrapped_ : last_wrapped_->Next) = list;
  last_wrapped_ = list;
  ++wrapped_;
  return &packet_of(*list);
}

void Host::indicate() {
  if (wrapped_ == 0) return;
  NdisMIndicateReceiveNetBufferLists(adapter, first_wrapped_, NDIS_DEFAULT_PORT_NUMBER, wrapped_,
                                     NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
  first_wrapped_ = nullptr;
  wrapped_ = 0;
}

// DISPATCH_LEVEL or below; also inside indicate(), also while a transition waits for these.
VOID NTAPI return_lists(NDIS_HANDLE context, PNET_BUFFER_LIST lists, ULONG) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  while (lists != nullptr) {
    NET_BUFFER_LIST& list = *lists;
    lists = list.Next;
    list.Next = nullptr;
    adapter.to_network.give_back(Host::packet_of(list));
  }
}

// A program's event may be of either kind; one that stays set is cleared, before the ring is looked at again.
bool Host::wait_for_program() {
  PVOID objects[] = {&stop, rings.to_network.moved};
  const NTSTATUS woken =
      KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, nullptr, nullptr);
  if (woken == STATUS_WAIT_0) return false;
  KeClearEvent(rings.to_network.moved);
  return true;
}

// PASSIVE_LEVEL, one for each session; it begins when the session is connected, or has failed.
VOID NTAPI receive_thread(PVOID context) {
  Adapter& adapter = *static_cast<Adapter*>(context);
  KeWaitForSingleObject(&adapter.go, Executive, KernelMode, FALSE, nullptr);
  serve(adapter.host, adapter.to_network);
  PsTerminateSystemThread(STATUS_SUCCESS);
}

}  // namespace wintun
