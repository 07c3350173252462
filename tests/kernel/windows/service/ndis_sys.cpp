// ndis.sys for Wine's kernel, which has none of NDIS 6: the NDIS of tests/kernel/ndis over Wine's ntoskrnl, in the
// process in which Wine runs drivers. It plugs one adapter in when a miniport registers. And it lends the driver the
// functions that Wine 8's ntoskrnl exports without having them; the file of the driver stays what it is.
// A broken rule ends that process, and so the test.
#include <cstring>
#include <optional>

#include "tests/kernel/ndis/ndis.hpp"

extern "C" {
// Of the user mode around us; <windows.h> and the kernel's headers exclude each other.
__declspec(dllimport) int __stdcall VirtualProtect(void* memory, size_t bytes, unsigned long now,
                                                   unsigned long* before);
}

namespace wintun::kernel {

namespace {

PDRIVER_OBJECT registering = nullptr;
PDRIVER_UNLOAD miniport_unload = nullptr;
std::optional<Driver> plugged_driver;
std::optional<Adapter> plugged;

PVOID NTAPI map_locked_pages(PMDL mdl, KPROCESSOR_MODE, MEMORY_CACHING_TYPE, PVOID, ULONG, MM_PAGE_PRIORITY) {
  return MmGetMdlVirtualAddress(mdl);
}
VOID NTAPI build_mdl(PMDL mdl) {
  mdl->MappedSystemVa = MmGetMdlVirtualAddress(mdl);
  mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags | MDL_SOURCE_IS_NONPAGED_POOL);
}
NTSTATUS NTAPI close_handle(HANDLE handle, KPROCESSOR_MODE) { return ZwClose(handle); }

struct Lent {
  const char* name;
  const void* function;
};
template <class Function>
const void* address(Function* function) {
  return reinterpret_cast<const void*>(function);
}

void lend(void* image) {
  const Lent all[] = {
      {"ExInitializeRundownProtection", address(&ExInitializeRundownProtection)},
      {"ExAcquireRundownProtection", address(&ExAcquireRundownProtection)},
      {"ExReleaseRundownProtection", address(&ExReleaseRundownProtection)},
      {"ExWaitForRundownProtectionRelease", address(&ExWaitForRundownProtectionRelease)},
      {"IoCsqInitialize", address(&IoCsqInitialize)},
      {"IoCsqInsertIrp", address(&IoCsqInsertIrp)},
      {"IoCsqRemoveNextIrp", address(&IoCsqRemoveNextIrp)},
      {"ObCloseHandle", address(&close_handle)},
      {"MmMapLockedPagesSpecifyCache", address(&map_locked_pages)},
      {"MmBuildMdlForNonPagedPool", address(&build_mdl)},
  };
  auto* const base = static_cast<std::uint8_t*>(image);
  std::uint32_t header = 0, imports = 0;
  std::memcpy(&header, base + 0x3c, sizeof(header));
  std::memcpy(&imports, base + header + 24 + 112 + 8, sizeof(imports));  // the second directory
  struct Descriptor {
    std::uint32_t names, time, chain, library, thunks;
  };
  for (const auto* one = reinterpret_cast<const Descriptor*>(base + imports); one->library != 0; ++one) {
    const auto* name = reinterpret_cast<const std::uint64_t*>(base + one->names);
    auto* thunk = reinterpret_cast<std::uint64_t*>(base + one->thunks);
    for (; *name != 0; ++name, ++thunk) {
      for (const Lent& lent : all) {
        if (std::strcmp(reinterpret_cast<const char*>(base + *name + 2), lent.name) != 0) continue;
        unsigned long before = 0;
        VirtualProtect(thunk, sizeof(*thunk), 0x40, &before);
        *thunk = reinterpret_cast<std::uintptr_t>(lent.function);
      }
    }
  }
}

// NDIS halts all adapters before the driver is unloaded.
VOID NTAPI unload(PDRIVER_OBJECT object) {
  plugged.reset();
  plugged_driver.reset();
  miniport_unload(object);
}

}  // namespace

// Here the system has made the driver's object, and calls its entry.
Driver::Driver(PDRIVER_INITIALIZE, std::u16string_view)
    : object_(registering), status_(STATUS_SUCCESS), loaded_(true) {}
Driver::~Driver() = default;

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

// mingw's import library has it not, and Wine's makes a device without looking at who may open it.
NTSTATUS NTAPI IoCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name, DEVICE_TYPE type,
                                    ULONG characteristics, BOOLEAN exclusive, PCUNICODE_STRING, const GUID*,
                                    PDEVICE_OBJECT* device) {
  return IoCreateDevice(driver, extension, name, type, characteristics, exclusive, device);
}

NDIS_STATUS NTAPI register_miniport(PDRIVER_OBJECT object, PUNICODE_STRING path, NDIS_HANDLE context,
                                    PNDIS_MINIPORT_DRIVER_CHARACTERISTICS functions, NDIS_HANDLE* handle) {
  set_abort_on_violation(true);
  lend(object->DriverStart);
  const NDIS_STATUS status = NdisMRegisterMiniportDriver(object, path, context, functions, handle);
  if (status != NDIS_STATUS_SUCCESS) return status;
  miniport_unload = object->DriverUnload;
  object->DriverUnload = unload;
  registering = object;
  plugged_driver.emplace(nullptr, u"");
  plugged.emplace(*plugged_driver);
  return plugged->start();
}

}  // extern "C"
