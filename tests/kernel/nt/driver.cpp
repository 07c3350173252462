// The kernel's life, and a driver's: entry, unload, and what must be gone afterwards.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/kernel/nt/files.hpp"

namespace wintun::kernel {
namespace {

std::atomic<int> kernels{0};

NTSTATUS NTAPI no_such_function(PDEVICE_OBJECT, PIRP irp) {
  irp->IoStatus.Status = STATUS_INVALID_DEVICE_REQUEST;
  irp->IoStatus.Information = 0;
  IofCompleteRequest(irp, IO_NO_INCREMENT);
  return STATUS_INVALID_DEVICE_REQUEST;
}

UNICODE_STRING make_string(std::u16string_view text) {
  const auto bytes = static_cast<USHORT>(text.size() * sizeof(WCHAR));
  return {bytes, bytes, reinterpret_cast<PWSTR>(const_cast<char16_t*>(text.data()))};
}

}  // namespace

Kernel::Kernel(const Options& options) {
  if (kernels++ != 0) {
    std::fprintf(stderr, "a second kernel in one process\n");
    std::abort();
  }
  PsInitialSystemProcess = reinterpret_cast<PEPROCESS>(&system_process());
  set_abort_on_violation(options.abort_on_violation);
  ndis_version = options.ndis_version;
}

Kernel::~Kernel() {
  join_finished_threads();
  expect_nothing_out("when the kernel ended");
  forget_all_locks();
  --kernels;
  const std::string violations = take_violations();
  if (violations.empty()) return;
  std::fprintf(stderr, "kernel rules broken that no test has looked at:\n%s", violations.c_str());
  std::abort();
}

Driver::Driver(PDRIVER_INITIALIZE entry, std::u16string_view service) : object_(new DRIVER_OBJECT{}) {
  std::u16string path = u"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\";
  path += service;
  UNICODE_STRING registry = make_string(path);
  for (PDRIVER_DISPATCH& function : object_->MajorFunction) function = no_such_function;
  object_->Size = sizeof(DRIVER_OBJECT);
  object_->DriverInit = entry;
  status_ = entry(object_, &registry);
  expect_passive_after("DriverEntry");
  loaded_ = NT_SUCCESS(status_);
  if (!loaded_) expect_nothing_out("after DriverEntry had failed");
}

Driver::~Driver() {
  if (loaded_) unload();
  delete object_;
}

void Driver::unload() {
  if (!loaded_) return;
  if (open_files_of(object_) != 0) violation("unloaded with files open on its devices");
  if (object_->DriverUnload == nullptr) {
    violation("the driver has no unload function");
  } else {
    object_->DriverUnload(object_);
    expect_passive_after("DriverUnload");
  }
  loaded_ = false;
  if (running_threads() != 0) violation("unloaded while one of its threads runs");
  join_finished_threads();
  expect_nothing_out("after unload");
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

VOID NTAPI KeEnterCriticalRegion(VOID) { ++current_thread().critical_regions; }

VOID NTAPI KeLeaveCriticalRegion(VOID) {
  if (current_thread().critical_regions-- == 0) violation("KeLeaveCriticalRegion without KeEnterCriticalRegion");
}

}  // extern "C"
