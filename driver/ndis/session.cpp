// A session of the adapter: from the link going up to the rings being nobody's. What is the same for a program's
// rings and for bundles. PASSIVE_LEVEL, `serial` held.
#include "driver/ndis/adapter.hpp"
#include "driver/ndis/bundles.hpp"

namespace wintun {

NTSTATUS Adapter::connect(const Rings& rings) {
  KeClearEvent(&go);
  KeClearEvent(&host.stop);
  OBJECT_ATTRIBUTES attributes;
  InitializeObjectAttributes(&attributes, nullptr, OBJ_KERNEL_HANDLE, nullptr, nullptr);
  const NTSTATUS status =  // the last that can fail
      PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, &attributes, nullptr, nullptr, receive_thread, this);
  if (!NT_SUCCESS(status)) return status;
  host.rings = rings;
  to_user.attach(rings.to_user, rings.to_user_capacity);
  to_network.attach(rings.to_network, rings.to_network_capacity);
  state.connect();
  indicate_link(MediaConnectStateConnected);  // before the thread indicates a packet
  KeSetEvent(&go, IO_NO_INCREMENT, FALSE);
  return STATUS_SUCCESS;
}

void Adapter::disconnect() {
  state.disconnect(to_user, to_network);  // waits for the packets that the stack has
  if (!halting) indicate_link(MediaConnectStateDisconnected);
  KeSetEvent(&host.stop, IO_NO_INCREMENT, FALSE);
  ZwWaitForSingleObject(thread, FALSE, nullptr);
  ZwClose(thread);
  to_user.end();
  to_network.end();
  host.rings = {};
}

void Adapter::end_session() {
  if (owner == Owner::nobody) return;
  disconnect();
  if (owner == Owner::rings) locked.close();
  if (owner == Owner::bundles) {
    delete bundles;
    bundles = nullptr;
  }
  owner = Owner::nobody;
  owner_file = nullptr;
  owner_process = nullptr;
}

}  // namespace wintun
