// The miniport's packets on their way to the stack: copied when they come, given back at once or when the test says
// so. A list is the stack's until then; the miniport must not free it. Public pages:
// NdisMIndicateReceiveNetBufferLists, MiniportReturnNetBufferLists.
#include <utility>

#include "tests/kernel/ndis/ndis.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {
namespace {

// Gives a chain back to the miniport, at the level of this thread. The caller has entered.
void return_chain(Adapter::Body& adapter, PNET_BUFFER_LIST first) {
  const KIRQL during = this_level().irql;
  const std::size_t held = this_level().held.size();
  adapter.driver->functions.ReturnNetBufferListsHandler(
      adapter.context, first, during == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
  if (this_level().irql != during) violation("MiniportReturnNetBufferLists came back at another IRQL");
  if (this_level().held.size() != held) violation("MiniportReturnNetBufferLists came back with a lock held");
}

// They are the miniport's again from here on.
void forget(Adapter::Body& adapter, PNET_BUFFER_LIST first) {
  const std::lock_guard locked(adapter.lock);
  for (PNET_BUFFER_LIST list = first; list != nullptr; list = list->Next) {
    adapter.in_stack.erase(list);
    take(Kind::net_buffer_list, list, "NdisAllocateNetBufferAndNetBufferList");
  }
  adapter.changed.notify_all();
}

// Takes a list into the stack; false if it cannot be one.
bool accept(Adapter::Body& adapter, PNET_BUFFER_LIST list, Received& received) {
  if (!give_back(Kind::net_buffer_list, list)) {  // so that the miniport cannot free it meanwhile
    violation(
        "NdisMIndicateReceiveNetBufferLists of a list that is not the miniport's, or is with the stack already");
    return false;
  }
  const NET_BUFFER* const buffer = list->FirstNetBuffer;
  if (buffer == nullptr || buffer->Next != nullptr) violation("a received list must have exactly one net buffer");
  const auto type = reinterpret_cast<std::uintptr_t>(list->NetBufferListInfo[NetBufferListFrameType]);
  if (type != 0x0008 && type != 0xdd86)
    violation("a received list of NdisMediumIP without its protocol's frame type");
  if (list->SourceHandle != &adapter) violation("a received list whose SourceHandle is not the adapter's");
  Bytes copy(buffer->DataLength);
  if (!copy_out(*buffer, copy.data(), copy.size())) violation("a received packet is longer than its MDLs");
  received.size = copy.size();
  received.protocol = static_cast<std::uint16_t>(type);
  const PMDL mdl = buffer->CurrentMdl;
  received.data = static_cast<const std::uint8_t*>(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority)) +
                  buffer->CurrentMdlOffset;
  const std::lock_guard locked(adapter.lock);
  if (!adapter.admits() && adapter.life != Life::pausing && adapter.life != Life::restarting) {
    violation("NdisMIndicateReceiveNetBufferLists while the adapter is paused or asleep");
  }
  if (adapter.connected != MediaConnectStateConnected)
    violation("a packet is indicated while the media is disconnected");
  received.id = adapter.next_received++;
  adapter.in_stack[list] = received.id;
  adapter.received.push_back(std::move(copy));
  ++adapter.received_count;
  adapter.changed.notify_all();
  return true;
}

}  // namespace

void Adapter::on_receive(std::function<bool(const Received&)> call) {
  const std::lock_guard locked(body_->lock);
  body_->receive_call = std::move(call);
}

std::vector<Bytes> Adapter::received() {
  const std::lock_guard locked(body_->lock);
  return std::exchange(body_->received, {});
}

bool Adapter::wait_received(std::size_t packets, std::chrono::milliseconds limit) {
  std::unique_lock locked(body_->lock);
  return body_->changed.wait_for(locked, limit, [&] { return body_->received_count >= packets; });
}

std::vector<std::uint64_t> Adapter::kept() const {
  const std::lock_guard locked(body_->lock);
  std::vector<std::uint64_t> ids;
  for (const auto& [id, list] : body_->kept) ids.push_back(id);
  return ids;
}

void Adapter::give_back(const std::vector<std::uint64_t>& ids, bool at_dispatch) {
  Body& body = *body_;
  PNET_BUFFER_LIST first = nullptr;
  PNET_BUFFER_LIST last = nullptr;
  {
    const std::lock_guard locked(body.lock);
    for (const std::uint64_t id : ids) {
      const auto found = body.kept.find(id);
      if (found == body.kept.end()) continue;
      (first == nullptr ? first : last->Next) = found->second;
      last = found->second;
      last->Next = nullptr;
      body.kept.erase(found);
    }
  }
  if (first == nullptr) return;
  std::uint64_t epoch = 0;
  if (!body.enter(epoch)) {
    violation("a halted miniport has lists with the stack");
    return;
  }
  forget(body, first);
  KIRQL before = PASSIVE_LEVEL;
  if (at_dispatch) before = raise_irql(DISPATCH_LEVEL);
  return_chain(body, first);
  if (at_dispatch) lower_irql(before);
  body.leave(epoch);
}

void Adapter::give_back_all() { give_back(kept()); }

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" VOID NTAPI NdisMIndicateReceiveNetBufferLists(NDIS_HANDLE handle, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER,
                                                         ULONG count, ULONG flags) {
  check_call(__func__, (flags & NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL) != 0);
  if ((flags & ~NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL) != 0) violation("receive flags that are not modelled");
  Adapter::Body& adapter = adapter_of(handle);
  std::function<bool(const Received&)> call;
  {
    const std::lock_guard locked(adapter.lock);
    call = adapter.receive_call;
  }
  PNET_BUFFER_LIST first = nullptr;
  PNET_BUFFER_LIST last = nullptr;
  ULONG seen = 0;
  while (lists != nullptr) {
    PNET_BUFFER_LIST const list = lists;
    lists = list->Next;
    ++seen;
    Received received{};
    if (!accept(adapter, list, received)) break;
    // Kept before it is asked, so that another thread may give it back while the answer is on its way.
    if (call) {
      {
        const std::lock_guard locked(adapter.lock);
        adapter.kept[received.id] = list;
      }
      if (!call(received)) continue;
      const std::lock_guard locked(adapter.lock);
      if (adapter.kept.erase(received.id) == 0) continue;
    }
    (first == nullptr ? first : last->Next) = list;
    last = list;
    list->Next = nullptr;
  }
  if (seen != count) violation("NdisMIndicateReceiveNetBufferLists with a wrong number of lists");
  if (first == nullptr) return;
  forget(adapter, first);
  return_chain(adapter, first);
}
