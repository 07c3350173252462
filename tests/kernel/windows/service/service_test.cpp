// The driver's file under a service manager, from a program's side: create the service, start it, open the device by
// its name, bad control codes and buffers, a read that pends and is cancelled, a written bundle, close, stop, delete.
// Rings cannot be shared here: Wine's drivers live in a process of their own, so a registration is only seen refused.
// Arguments: the driver's file. Exit code 0: all of it went well; the first that did not is said.
#include <windows.h>
#include <winioctl.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "driver/ndis/protocol.hpp"
#include "ring/bundle.hpp"

namespace {

constexpr const char* kService = "ringtun";
constexpr const char* kDevice = "\\\\.\\Global\\RINGTUN1";
constexpr DWORD kLimit = 30'000;  // never waited out unless something hangs

SC_HANDLE manager = nullptr;
SC_HANDLE service = nullptr;

void expect(bool is_so, const char* what) {
  const DWORD error = GetLastError();
  std::printf("%s: %s", what, is_so ? "ok\n" : "FAILED");
  if (is_so) return;
  std::printf(", error %lu\n", error);
  SERVICE_STATUS status;
  if (service != nullptr) {
    ControlService(service, SERVICE_CONTROL_STOP, &status);
    DeleteService(service);
  }
  std::exit(1);
}

void expect_state(DWORD wanted, const char* what) {
  SERVICE_STATUS status{};
  for (DWORD waited = 0; waited < kLimit; waited += 50) {
    if (QueryServiceStatus(service, &status) != 0 && status.dwCurrentState == wanted) break;
    Sleep(50);
  }
  expect(status.dwCurrentState == wanted, what);
}

DWORD control(HANDLE device, DWORD code, void* in, DWORD bytes) {
  DWORD got = 0;
  return DeviceIoControl(device, code, in, bytes, nullptr, 0, &got, nullptr) != 0 ? ERROR_SUCCESS : GetLastError();
}

void try_control_codes(HANDLE device) {
  wintun::Registration<std::uint64_t> registration{};
  expect(control(device, wintun::kRegisterRings + 4, &registration, sizeof(registration)) == ERROR_INVALID_FUNCTION,
         "an unknown control code is refused");
  expect(
      control(device, wintun::kRegisterRings, &registration, sizeof(registration) - 1) == ERROR_INVALID_USER_BUFFER,
      "a registration of another length is refused");
  expect(control(device, wintun::kRegisterRings, &registration, sizeof(registration)) == ERROR_INVALID_PARAMETER,
         "a registration without rings is refused");
}

void try_reads(HANDLE device) {
  std::vector<char> buffer(0x1000000);
  OVERLAPPED read{};
  read.hEvent = CreateEventA(nullptr, TRUE, FALSE, nullptr);
  DWORD got = 0;
  expect(ReadFile(device, buffer.data(), static_cast<DWORD>(buffer.size()), nullptr, &read) == 0 &&
             GetLastError() == ERROR_IO_PENDING,
         "a read pends");
  expect(CancelIoEx(device, &read) != 0, "and is cancelled");
  expect(WaitForSingleObject(read.hEvent, kLimit) == WAIT_OBJECT_0, "and ends");
  expect(GetOverlappedResult(device, &read, &got, FALSE) == 0 && GetLastError() == ERROR_OPERATION_ABORTED,
         "with the status that says so");
  CloseHandle(read.hEvent);
}

DWORD write(HANDLE device, const std::vector<std::uint8_t>& bundle) {
  OVERLAPPED write{};
  write.hEvent = CreateEventA(nullptr, TRUE, FALSE, nullptr);
  DWORD wrote = 0;
  if (WriteFile(device, bundle.data(), static_cast<DWORD>(bundle.size()), nullptr, &write) == 0) {
    if (GetLastError() != ERROR_IO_PENDING) return GetLastError();
  }
  if (GetOverlappedResult(device, &write, &wrote, TRUE) == 0) return GetLastError();
  CloseHandle(write.hEvent);
  return wrote == bundle.size() ? ERROR_SUCCESS : ERROR_WRITE_FAULT;
}

void try_writes(HANDLE device) {
  std::vector<std::uint8_t> bundle(wintun::bundle_slot(40));
  std::uint8_t* const packet = wintun::lay_out_slot(bundle.data(), 40);
  packet[0] = 0x45;
  expect(write(device, bundle) == ERROR_SUCCESS, "a bundle is written");
  bundle.resize(bundle.size() - 1);
  expect(write(device, bundle) != ERROR_SUCCESS, "a bundle that is cut short is refused");
}

}  // namespace

int main(int count, char** arguments) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  expect(count == 2, "one argument is given, the driver's file");
  manager = OpenSCManagerA(nullptr, nullptr, SC_MANAGER_ALL_ACCESS);
  expect(manager != nullptr, "the service manager opens");
  service =
      CreateServiceA(manager, kService, kService, SERVICE_ALL_ACCESS, SERVICE_KERNEL_DRIVER, SERVICE_DEMAND_START,
                     SERVICE_ERROR_NORMAL, arguments[1], nullptr, nullptr, nullptr, nullptr, nullptr);
  expect(service != nullptr, "the service is created");
  expect(StartServiceA(service, 0, nullptr) != 0, "the service starts");
  expect_state(SERVICE_RUNNING, "the service runs");

  HANDLE device = CreateFileA(kDevice, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                              OPEN_EXISTING, FILE_FLAG_OVERLAPPED, nullptr);
  expect(device != INVALID_HANDLE_VALUE, "the device opens by its name");
  try_control_codes(device);
  try_reads(device);
  try_writes(device);
  expect(CloseHandle(device) != 0, "the device closes");

  SERVICE_STATUS status{};
  expect(ControlService(service, SERVICE_CONTROL_STOP, &status) != 0, "the service is told to stop");
  expect_state(SERVICE_STOPPED, "the service has stopped");
  expect(DeleteService(service) != 0, "the service is deleted");
  return 0;
}
