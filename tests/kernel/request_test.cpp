// Devices, files and requests: a small driver that makes one mistake at a time, and who may open what.
#include <cstring>
#include <optional>

#include "tests/kernel/expect.hpp"

extern "C" NTSTATUS NTAPI IoCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name,
                                               DEVICE_TYPE type, ULONG characteristics, BOOLEAN exclusive,
                                               PCUNICODE_STRING sddl, const GUID* group, PDEVICE_OBJECT* device);

namespace wintun::kernel {
namespace {

constexpr ULONG kCode = CTL_CODE(FILE_DEVICE_NETWORK, 0x800, METHOD_BUFFERED, FILE_READ_DATA);
std::function<NTSTATUS(PIRP)> behaviour;  // of the control code, of reads and of writes
PDEVICE_OBJECT device;
ULONG flags;
int closes;

NTSTATUS finish(PIRP irp, NTSTATUS status, ULONG_PTR information = 0) {
  irp->IoStatus.Status = status;
  irp->IoStatus.Information = information;
  IoCompleteRequest(irp, IO_NO_INCREMENT);
  return status;
}

NTSTATUS NTAPI agree(PDEVICE_OBJECT, PIRP irp) {
  if (IoGetCurrentIrpStackLocation(irp)->MajorFunction == IRP_MJ_CLOSE) ++closes;
  return finish(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI behave(PDEVICE_OBJECT, PIRP irp) { return behaviour(irp); }

VOID NTAPI unload(PDRIVER_OBJECT) { IoDeleteDevice(device); }

NTSTATUS NTAPI enter(PDRIVER_OBJECT driver, PUNICODE_STRING) {
  UNICODE_STRING name, access;
  RtlInitUnicodeString(&name, L"\\Device\\SMALL");
  RtlInitUnicodeString(&access, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)S:(ML;;NWNRNX;;;HI)");
  const NTSTATUS status = IoCreateDeviceSecure(driver, 0, &name, FILE_DEVICE_NETWORK, FILE_DEVICE_SECURE_OPEN, FALSE,
                                               &access, nullptr, &device);
  if (!NT_SUCCESS(status)) return status;
  for (PDRIVER_DISPATCH& function : driver->MajorFunction) function = agree;
  driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = behave;
  driver->MajorFunction[IRP_MJ_READ] = behave;
  driver->MajorFunction[IRP_MJ_WRITE] = behave;
  driver->DriverUnload = unload;
  device->Flags = (device->Flags & ~DO_DEVICE_INITIALIZING) | flags;
  return STATUS_SUCCESS;
}

class KernelRequests : public ::testing::Test {
 protected:
  void start(ULONG device_flags = 0) {
    flags = device_flags;
    closes = 0;
    kernel_.emplace();
    driver_.emplace(enter);
    program_.emplace();
    const auto opened = program_->open(u"\\Device\\SMALL");
    ASSERT_EQ(opened.status, STATUS_SUCCESS);
    file_ = opened.handle;
  }
  void TearDown() override {
    program_.reset();
    driver_.reset();
    EXPECT_EQ(take_violations(), "");
    kernel_.reset();
    behaviour = nullptr;
  }
  Result control() { return program_->control(file_, kCode, nullptr, 0); }

  std::optional<Kernel> kernel_;
  std::optional<Driver> driver_;
  std::optional<Process> program_;
  HANDLE file_ = nullptr;
};

TEST_F(KernelRequests, a_request_completed_twice_is_a_violation) {
  start();
  behaviour = [](PIRP irp) {
    finish(irp, STATUS_SUCCESS);
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
  };
  expect_violation("completed already", [&] { EXPECT_EQ(control().status, STATUS_SUCCESS); });
}

TEST_F(KernelRequests, a_status_unlike_the_completed_one_is_a_violation) {
  start();
  behaviour = [](PIRP irp) {
    finish(irp, STATUS_ACCESS_DENIED);
    return STATUS_SUCCESS;
  };
  expect_violation("another status", [&] { EXPECT_EQ(control().status, STATUS_ACCESS_DENIED); });
}

TEST_F(KernelRequests, pending_without_the_mark_is_a_violation) {
  start();
  PIRP kept = nullptr;
  behaviour = [&](PIRP irp) {
    kept = irp;
    return STATUS_PENDING;
  };
  const Request request = program_->start_control(file_, kCode, nullptr, 0);
  EXPECT_FALSE(request.is_done());
  expect_violation("without IoMarkIrpPending", [&] { finish(kept, STATUS_SUCCESS); });
  EXPECT_EQ(request.wait().status, STATUS_SUCCESS);
}

TEST_F(KernelRequests, a_cancel_routine_left_at_completion_is_a_violation) {
  start();
  behaviour = [](PIRP irp) {
    IoSetCancelRoutine(irp, [](PDEVICE_OBJECT, PIRP) {});
    return finish(irp, STATUS_SUCCESS);
  };
  expect_violation("cancel routine still set", [&] { control(); });
}

TEST_F(KernelRequests, more_bytes_than_the_buffer_has_are_a_violation) {
  start(DO_BUFFERED_IO);
  behaviour = [](PIRP irp) { return finish(irp, STATUS_SUCCESS, 9); };
  char buffer[8];
  expect_violation("more bytes", [&] { EXPECT_EQ(program_->read(file_, buffer, 8).information, 8u); });
}

TEST_F(KernelRequests, a_routine_that_comes_back_raised_is_a_violation) {
  start();
  behaviour = [](PIRP irp) {
    raise_irql(DISPATCH_LEVEL);
    return finish(irp, STATUS_SUCCESS);
  };
  expect_violation("raised IRQL", [&] { control(); });
}

TEST_F(KernelRequests, a_pended_request_is_cancelled_once) {
  start();
  behaviour = [](PIRP irp) {
    IoMarkIrpPending(irp);
    IoSetCancelRoutine(irp, [](PDEVICE_OBJECT, PIRP cancelled) {
      IoReleaseCancelSpinLock(cancelled->CancelIrql);
      finish(cancelled, STATUS_CANCELLED);
    });
    return STATUS_PENDING;
  };
  const Request request = program_->start_read(file_, nullptr, 0);
  EXPECT_FALSE(request.is_done());
  EXPECT_TRUE(request.cancel());
  EXPECT_EQ(request.wait().status, STATUS_CANCELLED);
  EXPECT_FALSE(request.cancel());
  EXPECT_EQ(take_violations(), "");
}

TEST_F(KernelRequests, direct_reads_go_into_the_programs_pages) {
  start(DO_DIRECT_IO);
  behaviour = [](PIRP irp) {
    auto* const to = static_cast<char*>(MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority));
    std::memcpy(to, "abc", 3);
    return finish(irp, STATUS_SUCCESS, 3);
  };
  std::uint8_t* const memory = program_->allocate(PAGE_SIZE);
  const Result result = program_->read(file_, memory + 10, 100);
  EXPECT_EQ(result.status, STATUS_SUCCESS);
  EXPECT_EQ(std::memcmp(memory + 10, "abc", 3), 0);
  char elsewhere[8];
  EXPECT_EQ(program_->read(file_, elsewhere, 8).status, STATUS_ACCESS_VIOLATION);
}

TEST_F(KernelRequests, unloading_with_an_open_file_is_a_violation) {
  start();
  expect_violation("files open", [&] { driver_->unload(); });
  program_->exit();
  EXPECT_EQ(closes, 1);
}

TEST_F(KernelRequests, a_file_is_closed_when_its_process_ends) {
  start();
  program_->duplicate(file_, GENERIC_READ | FILE_READ_DATA);
  program_->close(file_);
  EXPECT_EQ(closes, 0);
  program_->exit();
  EXPECT_EQ(closes, 1);
}

TEST_F(KernelRequests, only_elevated_accounts_open_the_device) {
  start();
  const auto status_of = [](Account account) {
    Process other({false, account});
    return other.open(u"\\Device\\small").status;
  };
  EXPECT_EQ(status_of(kSystem), STATUS_SUCCESS);
  EXPECT_EQ(status_of(kElevated), STATUS_SUCCESS);
  EXPECT_EQ(status_of(kUser), STATUS_ACCESS_DENIED);
  EXPECT_EQ(status_of({false, true, Integrity::medium}), STATUS_ACCESS_DENIED);
  EXPECT_EQ(status_of({false, false, Integrity::high}), STATUS_ACCESS_DENIED);
  EXPECT_EQ(program_->open(u"\\Device\\OTHER").status, STATUS_OBJECT_NAME_NOT_FOUND);
}

TEST_F(KernelRequests, a_control_code_needs_the_rights_it_names) {
  start();
  behaviour = [](PIRP irp) { return finish(irp, STATUS_SUCCESS); };
  const HANDLE writes_only = program_->open(u"\\Device\\SMALL", FILE_WRITE_DATA).handle;
  EXPECT_EQ(program_->control(writes_only, kCode, nullptr, 0).status, STATUS_ACCESS_DENIED);
}

}  // namespace
}  // namespace wintun::kernel
