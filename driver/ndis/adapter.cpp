// What an adapter has, and its session: from the link going up to the rings being nobody's, for a program's rings and
// for bundles alike. PASSIVE_LEVEL.
#include "driver/ndis/control.hpp"

namespace wintun {

Adapter::Adapter(NDIS_HANDLE handle) {
  host.adapter = handle;
  serial.initialize();
  KeInitializeEvent(&host.stop, NotificationEvent, FALSE);
  KeInitializeEvent(&go, NotificationEvent, FALSE);
}

Adapter::~Adapter() {
  if (host.pool != nullptr) NdisFreeNetBufferListPool(host.pool);
}

NDIS_STATUS Adapter::allocate() {
  NET_BUFFER_LIST_POOL_PARAMETERS parameters = {};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                       NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1};
  parameters.fAllocateNetBuffer = TRUE;
  parameters.PoolTag = kPoolTag;
  host.pool = NdisAllocateNetBufferListPool(host.adapter, &parameters);
  const bool has_all = host.pool != nullptr && state.lock(Direction::to_user).allocate(host.adapter) &&
                       state.lock(Direction::to_network).allocate(host.adapter);
  return has_all ? NDIS_STATUS_SUCCESS : NDIS_STATUS_RESOURCES;
}

namespace {

void give_back(const Rings& rings) {
  if (rings.bundles != nullptr) {
    delete_bundles(rings.bundles);
  } else {
    unlock_rings(rings);
  }
}

}  // namespace

NTSTATUS Adapter::begin_session(const Rings& rings) {
  KeClearEvent(&go);
  KeClearEvent(&host.stop);
  OBJECT_ATTRIBUTES attributes;
  InitializeObjectAttributes(&attributes, nullptr, OBJ_KERNEL_HANDLE, nullptr, nullptr);
  const NTSTATUS status =  // the last that can fail
      PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, &attributes, nullptr, nullptr, receive_thread, this);
  if (!NT_SUCCESS(status)) {
    give_back(rings);
    return status;
  }
  host.rings = rings;
  to_user.attach(rings.to_user.ring, rings.to_user.capacity);
  to_network.attach(rings.to_network.ring, rings.to_network.capacity);
  state.connect();
  indicate_link(MediaConnectStateConnected);  // before the thread indicates a packet
  KeSetEvent(&go, IO_NO_INCREMENT, FALSE);
  return STATUS_SUCCESS;
}

void Adapter::end_session() {
  if (!state.is_connected()) return;
  state.disconnect(to_user, to_network);  // waits for the packets that the stack has
  if (!halting) indicate_link(MediaConnectStateDisconnected);
  KeSetEvent(&host.stop, IO_NO_INCREMENT, FALSE);
  ZwWaitForSingleObject(thread, FALSE, nullptr);
  ZwClose(thread);
  to_user.end();
  to_network.end();
  give_back(host.rings);
  host.rings = {};
  owner_file = nullptr;
  owner_process = nullptr;
}

// A transition waits for packets that others have.
void Host::let_others_run() {
  LARGE_INTEGER interval;
  interval.QuadPart = -10'000;  // a millisecond
  KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

}  // namespace wintun
