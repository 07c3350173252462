// See probe.hpp. Nothing here has a destructor: an exception passes over them.
#include "driver/ndis/probe.hpp"

namespace wintun {

NTSTATUS probe_and_lock(PMDL mdl) {
  __try {
    MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
  } __except (EXCEPTION_EXECUTE_HANDLER) {
    return static_cast<NTSTATUS>(GetExceptionCode());
  }
  return STATUS_SUCCESS;
}

}  // namespace wintun
