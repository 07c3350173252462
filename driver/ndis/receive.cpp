// From the program to the stack: the thread drains the ring through core, which lends each packet to the stack in
// place, in a list of our own around the ring's memory; NDIS returns the lists late, in any order, from any thread.
#include "driver/ndis/adapter.hpp"

namespace wintun {

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
  const PNET_BUFFER_LIST lists = first_wrapped_;
  const ULONG count = wrapped_;
  first_wrapped_ = nullptr;
  wrapped_ = 0;
  NdisMIndicateReceiveNetBufferLists(adapter, lists, NDIS_DEFAULT_PORT_NUMBER, count,
                                     NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
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
