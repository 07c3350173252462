// I/O requests: how one is made, given to a driver, completed and cancelled, and what must hold for each. The rules
// are those of the public pages "IoCompleteRequest", "IoMarkIrpPending", "Cancelling IRPs" and "IoCsqInsertIrp".
#include <cstring>
#include <map>
#include <string>

#include "tests/kernel/nt/files.hpp"

namespace wintun::kernel {
namespace {

struct Out {
  std::mutex lock;
  std::map<PIRP, std::shared_ptr<Request::State>> irps;
};
Out& out() {
  static Out* const one = new Out;
  return *one;
}

KSPIN_LOCK cancel_lock;

std::shared_ptr<Request::State> find(PIRP irp) {
  const std::lock_guard locked(out().lock);
  const auto found = out().irps.find(irp);
  return found == out().irps.end() ? nullptr : found->second;
}

std::string name_of(const Request::State& state) {
  static const std::map<int, const char*> names{
      {IRP_MJ_CREATE, "IRP_MJ_CREATE"},   {IRP_MJ_CLOSE, "IRP_MJ_CLOSE"},
      {IRP_MJ_CLEANUP, "IRP_MJ_CLEANUP"}, {IRP_MJ_READ, "IRP_MJ_READ"},
      {IRP_MJ_WRITE, "IRP_MJ_WRITE"},     {IRP_MJ_DEVICE_CONTROL, "IRP_MJ_DEVICE_CONTROL"}};
  const auto found = names.find(state.major);
  return found == names.end() ? "major function " + std::to_string(state.major) : found->second;
}

// Once both are known: what the dispatch routine returned, and that it was completed.
void check_return(const Request::State& state) {
  const std::string name = name_of(state);
  const bool pending = *state.returned == STATUS_PENDING;
  if (pending && !state.was_marked_pending) violation(name + " returned STATUS_PENDING without IoMarkIrpPending");
  if (!pending && state.was_marked_pending)
    violation(name + " was marked pending, and its routine returned another status");
  if (!pending && !state.was_marked_pending && *state.returned != state.result.status) {
    violation(name + " was completed with another status than its routine returned");
  }
}

void release_buffers(Request::State& state) {
  if (state.mdl == nullptr) return;
  if ((state.mdl->MdlFlags & MDL_PAGES_LOCKED) != 0) MmUnlockPages(state.mdl);
  IoFreeMdl(state.mdl);
  state.mdl = nullptr;
}

}  // namespace

std::shared_ptr<Request::State> send_request(
    _EPROCESS& process, File& file, UCHAR major,
    const std::function<NTSTATUS(Request::State&, IRP&, IO_STACK_LOCATION&)>& fill) {
  auto state = std::make_shared<Request::State>();
  state->process = &process;
  state->file = &file;
  state->major = major;
  const PDEVICE_OBJECT device = file.object.DeviceObject;
  auto memory = std::make_unique<char[]>(sizeof(IRP) + 2 * sizeof(IO_STACK_LOCATION));
  auto* const irp = new (memory.get()) IRP{};
  auto* const stack = new (memory.get() + sizeof(IRP) + sizeof(IO_STACK_LOCATION)) IO_STACK_LOCATION{};
  irp->Size = static_cast<USHORT>(sizeof(IRP) + sizeof(IO_STACK_LOCATION));
  irp->StackCount = 1;
  irp->CurrentLocation = 1;
  irp->RequestorMode = UserMode;
  irp->Tail.Overlay.CurrentStackLocation = stack;
  irp->Tail.Overlay.OriginalFileObject = &file.object;
  irp->Tail.Overlay.Thread = reinterpret_cast<PETHREAD>(&current_thread());
  stack->MajorFunction = major;
  stack->DeviceObject = device;
  stack->FileObject = &file.object;
  const NTSTATUS ready = fill ? fill(*state, *irp, *stack) : STATUS_SUCCESS;
  if (!NT_SUCCESS(ready)) {
    state->result = {ready, 0};
    state->is_completed = true;
    state->returned = ready;
    return state;
  }
  reference(&file);
  state->irp = irp;
  {
    const std::lock_guard locked(out().lock);
    out().irps[irp] = state;
  }
  take(Kind::irp, irp, "the I/O manager", name_of(*state));
  {
    const std::lock_guard locked(process.lock);
    std::erase_if(process.requests, [](const auto& one) { return one.expired(); });
    process.requests.push_back(state);
  }
  (void)memory.release();  // until IofCompleteRequest
  const NTSTATUS returned = device->DriverObject->MajorFunction[major](device, irp);
  expect_passive_after(name_of(*state).c_str());
  const std::lock_guard locked(state->lock);
  state->returned = returned;
  if (state->is_completed) {
    check_return(*state);
  } else if (returned != STATUS_PENDING) {
    violation(name_of(*state) + " came back without STATUS_PENDING and was not completed");
  }
  state->changed.notify_all();
  return state;
}

Result wait_for_request(Request::State& state) {
  std::unique_lock locked(state.lock);
  state.changed.wait(locked, [&] { return state.is_done(); });
  return state.result;
}

bool cancel_request(Request::State& state) {
  PIRP irp = nullptr;
  {
    const std::lock_guard locked(state.lock);
    if (state.is_completed || state.is_cancelling || state.irp == nullptr) return false;
    irp = state.irp;
    state.is_cancelling = true;  // keeps the IRP's memory
  }
  const bool called = IoCancelIrp(irp) != FALSE;
  std::unique_ptr<char[]> memory;
  const std::lock_guard locked(state.lock);
  state.is_cancelling = false;
  memory = std::move(state.irp_memory);
  return called;
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

VOID FASTCALL IofCompleteRequest(PIRP irp, CHAR) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  std::shared_ptr<Request::State> state;
  {
    const std::lock_guard locked(out().lock);
    const auto found = out().irps.find(irp);
    if (found != out().irps.end()) {
      state = std::move(found->second);
      out().irps.erase(found);
    }
  }
  if (state == nullptr) {
    violation("IoCompleteRequest of a request that was completed already, or is none");
    return;
  }
  give_back(Kind::irp, irp);
  const std::string name = name_of(*state);
  if (__atomic_load_n(&irp->CancelRoutine, __ATOMIC_ACQUIRE) != nullptr) {
    violation(name + " is completed with its cancel routine still set");
  }
  Result result{irp->IoStatus.Status, irp->IoStatus.Information};
  if (result.status == STATUS_PENDING) violation(name + " is completed with STATUS_PENDING");
  const bool is_error = (static_cast<ULONG>(result.status) >> 30) == 3;
  if (state->major == IRP_MJ_READ || state->major == IRP_MJ_WRITE || state->major == IRP_MJ_DEVICE_CONTROL) {
    const ULONG limit = state->major == IRP_MJ_WRITE ? state->in_size : state->out_size;
    if (!is_error && result.information > limit) {
      violation(name + " is completed with more bytes than the buffer has");
      result.information = limit;
    }
    if (!is_error && state->copies_out && result.information > 0) {
      std::memcpy(state->out, state->system_buffer.get(), result.information);
    }
  }
  release_buffers(*state);
  File* const file = state->file;
  {
    const std::lock_guard locked(state->lock);
    state->was_marked_pending = (IoGetCurrentIrpStackLocation(irp)->Control & SL_PENDING_RETURNED) != 0;
    state->result = result;
    state->is_completed = true;
    state->irp = nullptr;
    std::unique_ptr<char[]> memory(reinterpret_cast<char*>(irp));
    if (state->is_cancelling) state->irp_memory = std::move(memory);
    state->system_buffer.reset();
    if (state->returned.has_value()) check_return(*state);
    state->changed.notify_all();
  }
  dereference(file);
}

BOOLEAN NTAPI IoCancelIrp(PIRP irp) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  KIRQL irql = PASSIVE_LEVEL;
  IoAcquireCancelSpinLock(&irql);
  __atomic_store_n(&irp->Cancel, static_cast<BOOLEAN>(TRUE), __ATOMIC_SEQ_CST);
  const PDRIVER_CANCEL routine = __atomic_exchange_n(&irp->CancelRoutine, nullptr, __ATOMIC_SEQ_CST);
  if (routine == nullptr) {
    IoReleaseCancelSpinLock(irql);
    return FALSE;
  }
  irp->CancelIrql = irql;
  routine(IoGetCurrentIrpStackLocation(irp)->DeviceObject, irp);
  if (lock_is_held(&cancel_lock)) violation("a cancel routine came back with the cancel spin lock held");
  return TRUE;
}

VOID NTAPI IoAcquireCancelSpinLock(PKIRQL irql) { *irql = KeAcquireSpinLockRaiseToDpc(&cancel_lock); }

VOID NTAPI IoReleaseCancelSpinLock(KIRQL irql) { KeReleaseSpinLock(&cancel_lock, irql); }

BOOLEAN NTAPI IoIs32bitProcess(PIRP irp) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (irp == nullptr) return current_process().kind.is_32_bit ? TRUE : FALSE;
  const auto state = find(irp);
  return state != nullptr && state->process->kind.is_32_bit ? TRUE : FALSE;
}

}  // extern "C"
