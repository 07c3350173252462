// The driver's entry for tests, where the driver is not linked in but loaded from its file, which the build names. A
// driver that is loaded again begins with fresh variables, and here at the same address: with_every_fault() knows
// calls by where they come from.
#include "driver/ndis/nt.hpp"
#include "tests/kernel/windows/image.hpp"

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path) {
  static wintun::kernel::Image image(WINTUN_DRIVER_FILE);
  image.reset();
  return reinterpret_cast<PDRIVER_INITIALIZE>(image.entry())(driver, registry_path);
}
