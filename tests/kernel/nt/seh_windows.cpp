// Raising on Windows: the system's own exceptions, which the driver's __except catches.
#include "tests/kernel/nt/objects.hpp"

extern "C" {

__declspec(dllimport) void __stdcall RtlRaiseStatus(LONG status);

DECLSPEC_NORETURN VOID NTAPI ExRaiseStatus(NTSTATUS status) {
  RtlRaiseStatus(status);
  __builtin_unreachable();
}

}  // extern "C"
