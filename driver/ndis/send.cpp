// From the stack to the program: NDIS gives chains of lists, each with its packets; core copies the packets into the
// ring and completes them in the order in which they were given; a list goes back with its last packet.
// Any number of threads at once, at DISPATCH_LEVEL or below.
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
  if (__atomic_sub_fetch(&outstanding(list), 1, __ATOMIC_ACQ_REL) == 0) {
    NdisMSendNetBufferListsComplete(adapter, &list, 0);
  }
}

void Host::complete(Packet& packet, Outcome outcome) {
  constexpr NDIS_STATUS kStatuses[] = {
      NDIS_STATUS_SUCCESS, NDIS_STATUS_RESOURCES,          NDIS_STATUS_INVALID_LENGTH, NDIS_STATUS_MEDIA_DISCONNECTED,
      NDIS_STATUS_PAUSED,  NDIS_STATUS_MEDIA_DISCONNECTED, NDIS_STATUS_LOW_POWER_STATE};
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

}  // namespace wintun
