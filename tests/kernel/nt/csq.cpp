// Cancel-safe queues, as the public pages on IoCsqInitialize and its callbacks describe them: the driver keeps the
// list, this keeps each request in exactly one hand when it is removed and cancelled at the same time.
#include "tests/kernel/nt/objects.hpp"

namespace {

// The last of the driver's words in a request belongs to the queue while the request is in it.
PVOID& owner_of(PIRP irp) { return irp->Tail.Overlay.DriverContext[3]; }

PDRIVER_CANCEL set_cancel(PIRP irp, PDRIVER_CANCEL routine) {
  return __atomic_exchange_n(&irp->CancelRoutine, routine, __ATOMIC_SEQ_CST);
}

void take_out(PIO_CSQ csq, PIRP irp) {
  csq->CsqRemoveIrp(csq, irp);
  owner_of(irp) = nullptr;
}

void NTAPI cancel(PDEVICE_OBJECT, PIRP irp) {
  IoReleaseCancelSpinLock(irp->CancelIrql);
  PIO_CSQ const csq = static_cast<PIO_CSQ>(owner_of(irp));
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  take_out(csq, irp);
  csq->CsqReleaseLock(csq, irql);
  csq->CsqCompleteCanceledIrp(csq, irp);
}

}  // namespace

extern "C" {

NTSTATUS NTAPI IoCsqInitialize(PIO_CSQ csq, PIO_CSQ_INSERT_IRP insert, PIO_CSQ_REMOVE_IRP remove,
                               PIO_CSQ_PEEK_NEXT_IRP peek, PIO_CSQ_ACQUIRE_LOCK acquire, PIO_CSQ_RELEASE_LOCK release,
                               PIO_CSQ_COMPLETE_CANCELED_IRP complete) {
  *csq = {1, insert, remove, peek, acquire, release, complete, nullptr};
  return STATUS_SUCCESS;
}

VOID NTAPI IoCsqInsertIrp(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context) {
  if (context != nullptr) wintun::kernel::violation("IoCsqInsertIrp with a context: not modelled");
  owner_of(irp) = csq;
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  csq->CsqInsertIrp(csq, irp);
  IoMarkIrpPending(irp);
  set_cancel(irp, cancel);
  const bool is_cancelled = __atomic_load_n(&irp->Cancel, __ATOMIC_SEQ_CST) != FALSE;
  const bool is_mine = is_cancelled && set_cancel(irp, nullptr) != nullptr;
  if (is_mine) take_out(csq, irp);
  csq->CsqReleaseLock(csq, irql);
  if (is_mine) csq->CsqCompleteCanceledIrp(csq, irp);
}

PIRP NTAPI IoCsqRemoveNextIrp(PIO_CSQ csq, PVOID peek_context) {
  KIRQL irql = PASSIVE_LEVEL;
  csq->CsqAcquireLock(csq, &irql);
  PIRP irp = csq->CsqPeekNextIrp(csq, nullptr, peek_context);
  // One whose cancel routine has been taken is being cancelled: that thread waits for the lock to remove it.
  while (irp != nullptr && set_cancel(irp, nullptr) == nullptr) irp = csq->CsqPeekNextIrp(csq, irp, peek_context);
  if (irp != nullptr) take_out(csq, irp);
  csq->CsqReleaseLock(csq, irql);
  return irp;
}

}  // extern "C"
