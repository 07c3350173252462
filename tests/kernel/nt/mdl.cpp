// MDLs. A program's pages have one address here, the program's own: a mapping gives that, so that ThreadSanitizer
// sees both ends of a ring in one place. Locked pages stay until they are unlocked, also if the program frees them.
#include <cstring>
#include <map>
#include <string>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {

bool is_nonpaged_pool(const void* memory, std::size_t bytes);  // pool.cpp

namespace {

struct Locked {
  std::mutex lock;
  std::map<const MDL*, std::shared_ptr<Region>> pages;
};
Locked& locked_pages() {
  static Locked* const one = new Locked;
  return *one;
}

bool is_mdl(const MDL* mdl, const char* function) {
  if (mdl != nullptr && is_out(Kind::mdl, mdl)) return true;
  violation(std::string(function) + " with what is no MDL, or was freed");
  return false;
}

void unmap(PMDL mdl) {
  if ((mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0) return;
  give_back(Kind::mapping, mdl);
  mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags & ~MDL_MAPPED_TO_SYSTEM_VA);
  mdl->MappedSystemVa = nullptr;
}

}  // namespace
}  // namespace wintun::kernel

using namespace wintun::kernel;

namespace wintun::kernel {

NTSTATUS lock_pages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation, const char* function) {
  require_irql_at_most(APC_LEVEL, function);
  if (!is_mdl(mdl, function)) return STATUS_SUCCESS;
  if ((mdl->MdlFlags & MDL_PAGES_LOCKED) != 0) violation("MmProbeAndLockPages of pages that this MDL has locked");
  NTSTATUS status = STATUS_SUCCESS;
  void* const address = MmGetMdlVirtualAddress(mdl);
  if (should_fail(function)) {
    status = STATUS_WORKING_SET_QUOTA;
  } else if (mode == KernelMode) {
    if (current_thread().previous_mode == UserMode && !is_nonpaged_pool(address, mdl->ByteCount)) {
      violation("MmProbeAndLockPages trusts a program's address: its access mode must be the request's");
    }
  } else {
    auto region = find_memory(current_process(), address, mdl->ByteCount, operation != IoReadAccess);
    if (region == nullptr) {
      status = STATUS_ACCESS_VIOLATION;
    } else {
      const std::lock_guard guard(locked_pages().lock);
      locked_pages().pages[mdl] = std::move(region);
    }
  }
  if (status != STATUS_SUCCESS) return status;
  mdl->Process = reinterpret_cast<PEPROCESS>(&current_process());
  mdl->MdlFlags =
      static_cast<CSHORT>(mdl->MdlFlags | MDL_PAGES_LOCKED | (operation != IoReadAccess ? MDL_WRITE_OPERATION : 0));
  take(Kind::locked_pages, mdl, function);
  return STATUS_SUCCESS;
}

}  // namespace wintun::kernel

extern "C" {

PMDL NTAPI IoAllocateMdl(PVOID address, ULONG bytes, BOOLEAN secondary, BOOLEAN, PIRP irp) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (secondary || irp != nullptr) violation("IoAllocateMdl for a request: not modelled");
  if (should_fail(__func__)) return nullptr;
  const SIZE_T size = sizeof(MDL) + sizeof(ULONG_PTR) * ADDRESS_AND_SIZE_TO_SPAN_PAGES(address, bytes);
  auto* const mdl = static_cast<PMDL>(::operator new(size));
  std::memset(static_cast<void*>(mdl), 0xcd, size);
  MmInitializeMdl(mdl, address, bytes);
  mdl->MdlFlags = 0;
  mdl->Process = nullptr;
  mdl->MappedSystemVa = nullptr;
  take(Kind::mdl, mdl, __func__);
  return mdl;
}

VOID NTAPI IoFreeMdl(PMDL mdl) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_mdl(mdl, __func__)) return;
  if ((mdl->MdlFlags & MDL_PAGES_LOCKED) != 0) violation("IoFreeMdl of locked pages");
  if ((mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) != 0) violation("IoFreeMdl of mapped pages");
  give_back(Kind::mdl, mdl);
  ::operator delete(static_cast<void*>(mdl));
}

VOID NTAPI MmBuildMdlForNonPagedPool(PMDL mdl) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_mdl(mdl, __func__)) return;
  if (!is_nonpaged_pool(MmGetMdlVirtualAddress(mdl), mdl->ByteCount)) {
    violation("MmBuildMdlForNonPagedPool of what is no non-paged pool");
  }
  mdl->MappedSystemVa = MmGetMdlVirtualAddress(mdl);
  mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags | MDL_SOURCE_IS_NONPAGED_POOL);
}

VOID NTAPI MmProbeAndLockPages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation) {
  const NTSTATUS status = lock_pages(mdl, mode, operation, __func__);
  if (status != STATUS_SUCCESS) ExRaiseStatus(status);
}

VOID NTAPI MmUnlockPages(PMDL mdl) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_mdl(mdl, __func__)) return;
  if (!give_back(Kind::locked_pages, mdl)) {
    violation("MmUnlockPages of pages that are not locked");
    return;
  }
  unmap(mdl);  // published: a mapping to system space goes with it
  mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags & ~(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION));
  std::shared_ptr<Region> region;
  const std::lock_guard guard(locked_pages().lock);
  const auto found = locked_pages().pages.find(mdl);
  if (found == locked_pages().pages.end()) return;
  region = std::move(found->second);
  locked_pages().pages.erase(found);
}

PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL mdl, KPROCESSOR_MODE mode, MEMORY_CACHING_TYPE, PVOID, ULONG bug_check,
                                         MM_PAGE_PRIORITY priority) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_mdl(mdl, __func__)) return nullptr;
  if ((static_cast<ULONG>(priority) & MdlMappingNoExecute) != 0 && !knows_no_execute()) {
    violation("MmMapLockedPagesSpecifyCache with a flag that Windows 7 lacks");
  }
  if (mode != KernelMode) violation("MmMapLockedPagesSpecifyCache into a program: not modelled");
  if (bug_check) violation("MmMapLockedPagesSpecifyCache that stops the system when it fails");
  if ((mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) != 0) {
    violation("MmMapLockedPagesSpecifyCache of what is mapped already");
    return mdl->MappedSystemVa;
  }
  if ((mdl->MdlFlags & MDL_PAGES_LOCKED) == 0) {
    violation("MmMapLockedPagesSpecifyCache of pages that are not locked");
    return nullptr;
  }
  if (should_fail(__func__)) return nullptr;
  mdl->MappedSystemVa = MmGetMdlVirtualAddress(mdl);
  mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags | MDL_MAPPED_TO_SYSTEM_VA);
  take(Kind::mapping, mdl, __func__);
  return mdl->MappedSystemVa;
}

VOID NTAPI MmUnmapLockedPages(PVOID address, PMDL mdl) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!is_mdl(mdl, __func__)) return;
  if (!is_out(Kind::mapping, mdl) || address != mdl->MappedSystemVa) {
    violation("MmUnmapLockedPages of what is not mapped there");
    return;
  }
  unmap(mdl);
}

}  // extern "C"
