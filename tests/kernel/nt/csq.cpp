// Cancel-safe queues, as the public pages on IoCsqInitialize and its callbacks describe them: the driver keeps the
// list, this keeps each request in exactly one hand when it is removed and cancelled at the same time.
#include "tests/kernel/nt/objects.hpp"

namespace {

constexpr ULONG kQueue = 1;
constexpr ULONG kContext = 2;
constexpr ULONG kQueueEx = 3;

// The last of the driver's words in a request belongs to the queue while the request is in it.
PVOID& owner_of(PIRP irp) { return irp->Tail.Overlay.DriverContext[3]; }

PDRIVER_CANCEL set_cancel(PIRP irp, PDRIVER_CANCEL routine) {
  return __atomic_exchange_n(&irp->CancelRoutine, routine, __ATOMIC_SEQ_CST);
}

PIO_CSQ take_out(PIRP irp) {
  auto* csq = static_cast<PIO_CSQ>(owner_of(irp));
  if (csq->Type == kContext) {
    auto* const context = static_cast<PIO_CSQ_IRP_CONTEXT>(owner_of(irp));
    csq = context->Csq;
  }
  return csq;
}

void leave(PIRP irp) {
  if (static_cast<PIO_CSQ>(owner_of(irp))->Type == kContext) {
    static_cast<PIO_CSQ_IRP_CONTEXT>(owner_of(irp))->Irp = nullptr;
  }
  owner_of(irp) = nullptr;
}

void NTAPI cancel(PDEVICE_OBJECT, PIRP irp) {
  IoReleaseCancelSpinLock(irp->CancelIrql);
  PIO_CSQ const csq = take_out(irp);
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  csq->CsqRemoveIrp(csq, irp);
  leave(irp);
  csq->CsqReleaseLock(csq, irql);
  csq->CsqCompleteCanceledIrp(csq, irp);
}

NTSTATUS insert(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context, PVOID insert_context) {
  if (context != nullptr) {
    context->Type = kContext;
    context->Irp = irp;
    context->Csq = csq;
    owner_of(irp) = context;
  } else {
    owner_of(irp) = csq;
  }
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  if (csq->Type == kQueueEx) {
    const auto insert_ex = reinterpret_cast<PIO_CSQ_INSERT_IRP_EX>(csq->ReservePointer);
    const NTSTATUS status = insert_ex(csq, irp, insert_context);
    if (!NT_SUCCESS(status)) {
      leave(irp);
      csq->CsqReleaseLock(csq, irql);
      return status;
    }
  } else {
    csq->CsqInsertIrp(csq, irp);
  }
  IoMarkIrpPending(irp);
  set_cancel(irp, cancel);
  const bool is_cancelled = __atomic_load_n(&irp->Cancel, __ATOMIC_SEQ_CST) != FALSE;
  if (is_cancelled && set_cancel(irp, nullptr) != nullptr) {
    csq->CsqRemoveIrp(csq, irp);
    leave(irp);
    csq->CsqReleaseLock(csq, irql);
    csq->CsqCompleteCanceledIrp(csq, irp);
    return STATUS_SUCCESS;
  }
  csq->CsqReleaseLock(csq, irql);
  return STATUS_SUCCESS;
}

}  // namespace

extern "C" {

NTSTATUS NTAPI IoCsqInitialize(PIO_CSQ csq, PIO_CSQ_INSERT_IRP insert_irp, PIO_CSQ_REMOVE_IRP remove,
                               PIO_CSQ_PEEK_NEXT_IRP peek, PIO_CSQ_ACQUIRE_LOCK acquire, PIO_CSQ_RELEASE_LOCK release,
                               PIO_CSQ_COMPLETE_CANCELED_IRP complete) {
  *csq = {kQueue, insert_irp, remove, peek, acquire, release, complete, nullptr};
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI IoCsqInitializeEx(PIO_CSQ csq, PIO_CSQ_INSERT_IRP_EX insert_irp, PIO_CSQ_REMOVE_IRP remove,
                                 PIO_CSQ_PEEK_NEXT_IRP peek, PIO_CSQ_ACQUIRE_LOCK acquire,
                                 PIO_CSQ_RELEASE_LOCK release, PIO_CSQ_COMPLETE_CANCELED_IRP complete) {
  *csq = {kQueueEx, nullptr, remove, peek, acquire, release, complete, reinterpret_cast<PVOID>(insert_irp)};
  return STATUS_SUCCESS;
}

VOID NTAPI IoCsqInsertIrp(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context) {
  (void)insert(csq, irp, context, nullptr);
}

NTSTATUS NTAPI IoCsqInsertIrpEx(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context, PVOID insert_context) {
  return insert(csq, irp, context, insert_context);
}

PIRP NTAPI IoCsqRemoveIrp(PIO_CSQ csq, PIO_CSQ_IRP_CONTEXT context) {
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  PIRP const irp = context->Irp;
  const bool mine = irp != nullptr && set_cancel(irp, nullptr) != nullptr;
  if (mine) {
    csq->CsqRemoveIrp(csq, irp);
    leave(irp);
  }
  csq->CsqReleaseLock(csq, irql);
  return mine ? irp : nullptr;
}

PIRP NTAPI IoCsqRemoveNextIrp(PIO_CSQ csq, PVOID peek_context) {
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  PIRP irp = csq->CsqPeekNextIrp(csq, nullptr, peek_context);
  // One whose cancel routine has been taken is being cancelled: that thread waits for the lock to remove it.
  while (irp != nullptr && set_cancel(irp, nullptr) == nullptr) irp = csq->CsqPeekNextIrp(csq, irp, peek_context);
  if (irp != nullptr) {
    csq->CsqRemoveIrp(csq, irp);
    leave(irp);
  }
  csq->CsqReleaseLock(csq, irql);
  return irp;
}

}  // extern "C"
