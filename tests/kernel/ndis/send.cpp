// The stack's packets on their way to the program. Each list is memory of its own, filled with rubbish where the
// miniport must not rely on it, and freed when it is completed. Public pages: MiniportSendNetBufferLists,
// NdisMSendNetBufferListsComplete, MiniportCancelSend.
#include <cstring>
#include <utility>

#include "tests/kernel/ndis/ndis.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {
namespace {

PMDL add_mdl(SentList& of, std::size_t bytes) {
  of.data.push_back(std::make_unique<std::uint8_t[]>(bytes));  // its own, so that ASan sees the end of each
  of.mdls.push_back(std::make_unique<MDL>());
  const PMDL mdl = of.mdls.back().get();
  MmInitializeMdl(mdl, of.data.back().get(), bytes);
  mdl->MdlFlags = of.is_mapped ? MDL_SOURCE_IS_NONPAGED_POOL : MDL_PAGES_LOCKED;
  mdl->MappedSystemVa = of.is_mapped ? of.data.back().get() : nullptr;
  if (!of.is_mapped) take(Kind::mdl, mdl, "the stack");
  return mdl;
}

void add_packet(SentList& of, const Bytes& packet, const SendOptions& options) {
  const std::size_t total = options.data_offset + packet.size();
  const std::size_t part = options.mdl_bytes != 0 ? options.mdl_bytes : total;
  auto buffer = std::make_unique<NET_BUFFER>();
  std::memset(static_cast<void*>(buffer.get()), 0xcd, sizeof(*buffer));
  buffer->Next = nullptr;
  buffer->stDataLength = packet.size();
  buffer->DataOffset = static_cast<ULONG>(options.data_offset);
  buffer->MdlChain = buffer->CurrentMdl = nullptr;
  PMDL last = nullptr;
  for (std::size_t done = 0; done < total || last == nullptr;) {
    const std::size_t bytes = total - done < part ? total - done : part;
    const PMDL mdl = add_mdl(of, bytes);
    auto* const data = static_cast<std::uint8_t*>(MmGetMdlVirtualAddress(mdl));
    for (std::size_t i = 0; i < bytes; ++i) {
      data[i] = done + i < options.data_offset ? 0xee : packet[done + i - options.data_offset];
    }
    (last == nullptr ? buffer->MdlChain : last->Next) = mdl;
    if (buffer->CurrentMdl == nullptr && (options.data_offset < done + bytes || done + bytes == total)) {
      buffer->CurrentMdl = mdl;
      buffer->CurrentMdlOffset = static_cast<ULONG>(options.data_offset - done);
    }
    last = mdl;
    done += bytes;
  }
  if (!of.buffers.empty()) of.buffers.back()->Next = buffer.get();
  of.buffers.push_back(std::move(buffer));
}

std::unique_ptr<SentList> make_list(const std::vector<Bytes>& packets, const SendOptions& options) {
  auto of = std::make_unique<SentList>();
  of->is_mapped = options.is_mapped;
  NET_BUFFER_LIST& list = of->list;
  std::memset(static_cast<void*>(&list), 0xcd, sizeof(list));
  list.Next = nullptr;
  list.ParentNetBufferList = nullptr;
  list.Context = nullptr;
  list.NblFlags = list.Flags = 0;
  for (PVOID& one : list.NetBufferListInfo) one = nullptr;
  list.NetBufferListInfo[NetBufferListCancelId] = reinterpret_cast<PVOID>(options.cancel_id);
  for (const Bytes& packet : packets) add_packet(*of, packet, options);
  list.FirstNetBuffer = of->buffers.empty() ? nullptr : of->buffers.front().get();
  return of;
}

void finish(Adapter::Body& adapter, PNET_BUFFER_LIST list, NdisStatus status, const char* function) {
  std::unique_ptr<SentList> of;
  std::function<void(const Completion&)> call;
  Completion completion{};
  bool was_let_through = false;
  {
    const std::lock_guard locked(adapter.lock);
    const auto found = adapter.sent.find(list);
    if (found != adapter.sent.end()) {
      of = std::move(found->second);
      adapter.sent.erase(found);
      completion = {of->number, status, this_level().irql == DISPATCH_LEVEL};
      adapter.completions.push_back(completion);
      call = adapter.completion_call;
      was_let_through = status == NDIS_STATUS_SUCCESS && !of->was_admitted && of->epoch == adapter.epoch;
      adapter.changed.notify_all();
    }
  }
  if (of == nullptr) {
    violation(std::string(function) + " of a list that the miniport does not have, or has completed already");
    return;
  }
  if (was_let_through) violation("a packet that was sent to a paused or sleeping adapter was delivered");
  if (call) call(completion);
}

}  // namespace

SentList::~SentList() {
  if (is_mapped) return;
  for (const auto& mdl : mdls) {
    give_back(Kind::mapping, mdl.get());  // the one who made the MDL undoes the mapping
    give_back(Kind::mdl, mdl.get());
  }
}

std::uint64_t Adapter::send(const std::vector<std::vector<Bytes>>& lists, const SendOptions& options) {
  Body& body = *body_;
  std::vector<std::unique_ptr<SentList>> made;
  for (const auto& packets : lists) {
    made.push_back(make_list(packets, options));
    if (made.size() > 1) made[made.size() - 2]->list.Next = &made.back()->list;
  }
  if (made.empty()) return 0;
  const PNET_BUFFER_LIST first = &made.front()->list;
  std::uint64_t epoch = 0;
  const bool may_call = body.enter(epoch);
  std::uint64_t number = 0;
  {
    const std::lock_guard locked(body.lock);
    number = body.next_sent;
    for (auto& one : made) {
      one->number = body.next_sent++;
      one->epoch = body.epoch;
      // While it pauses or restarts, the miniport decides.
      one->was_admitted = body.in_d0 && body.life != Life::paused;
      const PNET_BUFFER_LIST list = &one->list;
      body.sent[list] = std::move(one);
    }
  }
  if (!may_call) {  // NDIS itself gives them back
    for (PNET_BUFFER_LIST list = first; list != nullptr;) {
      PNET_BUFFER_LIST const next = list->Next;
      finish(body, list, NDIS_STATUS_PAUSED, "NDIS");
      list = next;
    }
    return number;
  }
  KIRQL before = PASSIVE_LEVEL;
  const std::size_t held = this_level().held.size();
  if (options.at_dispatch) before = raise_irql(DISPATCH_LEVEL);
  const KIRQL during = this_level().irql;
  body.driver->functions.SendNetBufferListsHandler(body.context, first, NDIS_DEFAULT_PORT_NUMBER,
                                                   options.at_dispatch ? NDIS_SEND_FLAGS_DISPATCH_LEVEL : 0);
  if (this_level().irql != during) violation("MiniportSendNetBufferLists came back at another IRQL");
  if (this_level().held.size() != held) violation("MiniportSendNetBufferLists came back with a lock held");
  if (options.at_dispatch) lower_irql(before);
  body.leave(epoch);
  return number;
}

void Adapter::cancel_sends(std::uintptr_t cancel_id) {
  std::uint64_t epoch = 0;
  if (!body_->enter(epoch)) return;
  body_->driver->functions.CancelSendHandler(body_->context, reinterpret_cast<PVOID>(cancel_id));
  body_->leave(epoch);
}

std::size_t Adapter::sends_outstanding() const {
  const std::lock_guard locked(body_->lock);
  return body_->sent.size();
}

void Adapter::wait_for_sends() const {
  std::unique_lock locked(body_->lock);
  const bool done = body_->changed.wait_for(locked, std::chrono::seconds(30), [&] { return body_->sent.empty(); });
  locked.unlock();
  if (!done) violation("lists of the stack's are not completed after 30 s");
}

std::vector<Completion> Adapter::completions() {
  const std::lock_guard locked(body_->lock);
  return std::exchange(body_->completions, {});
}

void Adapter::on_completion(std::function<void(const Completion&)> call) {
  const std::lock_guard locked(body_->lock);
  body_->completion_call = std::move(call);
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" VOID NTAPI NdisMSendNetBufferListsComplete(NDIS_HANDLE handle, PNET_BUFFER_LIST lists, ULONG flags) {
  check_call(__func__, (flags & NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL) != 0);
  while (lists != nullptr) {
    PNET_BUFFER_LIST const list = lists;
    // Only if it is one: the rest of what follows from rubbish is rubbish.
    bool is_known = false;
    {
      const std::lock_guard locked(adapter_of(handle).lock);
      is_known = adapter_of(handle).sent.count(list) != 0;
    }
    lists = is_known ? list->Next : nullptr;
    finish(adapter_of(handle), list, is_known ? list->Status : NDIS_STATUS_FAILURE, __func__);
  }
}
