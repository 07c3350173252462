// Files, as a program opens, uses and closes them: how each call becomes an I/O request. Buffers go as the device
// says (buffered, direct or neither), control codes as their method says.
#include <cstring>

#include "tests/kernel/nt/files.hpp"

namespace wintun::kernel {

Calling::Calling(_EPROCESS& process)
    : before_(current_thread().attached), mode_before_(current_thread().previous_mode) {
  current_thread().attached = &process;
  current_thread().previous_mode = UserMode;
}

Calling::~Calling() {
  current_thread().attached = before_;
  current_thread().previous_mode = mode_before_;
}

namespace {

void close_file(void* body) {
  auto* const file = static_cast<File*>(body);
  // The request takes a reference of its own; so this one is made whole again first.
  header_of(file).references = 1;
  const PDEVICE_OBJECT device = file->object.DeviceObject;
  if (device->DriverObject->MajorFunction[IRP_MJ_CLOSE] != nullptr && file->object.FinalStatus == STATUS_SUCCESS) {
    const Calling calling(system_process());
    const auto state = send_request(system_process(), *file, IRP_MJ_CLOSE, nullptr);
    wait_for_request(*state);
  }
  Device& of = device_of(device);
  forget_file(of);
  dereference(&of);
  file->~File();
  free_body(file);
}

void destroy_file(void* body) {
  if (this_level().irql == PASSIVE_LEVEL && this_level().held.empty()) {
    close_file(body);
  } else {
    run_later([body] { close_file(body); });
  }
}

// What a read or a control with a direct method gives the driver: the program's pages, locked.
NTSTATUS lock_buffer(Request::State& state, IRP& irp, void* buffer, ULONG size, bool writes) {
  if (size == 0) return STATUS_SUCCESS;
  if (find_memory(*state.process, buffer, size, writes) == nullptr) return STATUS_ACCESS_VIOLATION;
  state.mdl = IoAllocateMdl(buffer, size, FALSE, FALSE, nullptr);
  if (state.mdl == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
  const NTSTATUS status = lock_pages(state.mdl, UserMode, writes ? IoWriteAccess : IoReadAccess, __func__);
  if (!NT_SUCCESS(status)) {
    IoFreeMdl(state.mdl);
    state.mdl = nullptr;
    return status;
  }
  irp.MdlAddress = state.mdl;
  return STATUS_SUCCESS;
}

void give_system_buffer(Request::State& state, IRP& irp, const void* in, ULONG size) {
  if (size == 0) return;
  state.system_buffer = std::make_unique<char[]>(size);
  if (in != nullptr) std::memcpy(state.system_buffer.get(), in, state.in_size);
  irp.AssociatedIrp.SystemBuffer = state.system_buffer.get();
}

std::shared_ptr<Request::State> refused(NTSTATUS status) {
  auto state = std::make_shared<Request::State>();
  state->result = {status, 0};
  state->is_completed = true;
  state->returned = status;
  return state;
}

std::shared_ptr<Request::State> transfer(_EPROCESS& process, HANDLE handle, UCHAR major, void* buffer, ULONG size) {
  const bool is_read = major == IRP_MJ_READ;
  void* body = nullptr;
  ACCESS_MASK granted = 0;
  const NTSTATUS found =
      find_handle(process, handle, is_read ? FILE_READ_DATA : FILE_WRITE_DATA, &file_type, UserMode, body, granted);
  if (!NT_SUCCESS(found)) return refused(found);
  File& file = *static_cast<File*>(body);
  const Calling calling(process);
  auto state = send_request(process, file, major, [&](Request::State& of, IRP& irp, IO_STACK_LOCATION& stack) {
    of.in_size = is_read ? 0 : size;
    of.out_size = is_read ? size : 0;
    of.out = buffer;
    stack.Parameters.Read.Length = size;  // Write's is the same place
    irp.UserBuffer = buffer;
    const ULONG flags = file.object.DeviceObject->Flags;
    if ((flags & DO_DIRECT_IO) != 0) return lock_buffer(of, irp, buffer, size, is_read);
    if ((flags & DO_BUFFERED_IO) != 0) {
      of.copies_out = is_read;
      give_system_buffer(of, irp, is_read ? nullptr : buffer, size);
    }
    return STATUS_SUCCESS;
  });
  dereference(&file);
  return state;
}

}  // namespace

_OBJECT_TYPE file_type{"File", destroy_file};

void file_handle_closed(void* body) {
  auto* const file = static_cast<File*>(body);
  if (--file->handles != 0) return;
  if (file->object.DeviceObject->DriverObject->MajorFunction[IRP_MJ_CLEANUP] == nullptr) return;
  const auto state = send_request(current_process(), *file, IRP_MJ_CLEANUP, nullptr);
  wait_for_request(*state);
}

Process::Opened Process::open(std::u16string_view name, ACCESS_MASK access) {
  _EPROCESS& process = *reinterpret_cast<_EPROCESS*>(object());
  const Calling calling(process);
  Device* const device = find_device(name);
  if (device == nullptr) return {STATUS_OBJECT_NAME_NOT_FOUND, nullptr};
  ACCESS_MASK granted = 0;
  const NTSTATUS allowed = check_access(acl_of(*device), process.kind.account, access, granted);
  if (!NT_SUCCESS(allowed) || (device->object.Flags & DO_DEVICE_INITIALIZING) != 0) {
    dereference(device);
    return {NT_SUCCESS(allowed) ? STATUS_NO_SUCH_DEVICE : allowed, nullptr};
  }
  auto* const file = make_object<File>(&file_type);  // the device's reference is the file's now
  file->object.DeviceObject = &device->object;
  file->object.ReadAccess = (granted & FILE_READ_DATA) != 0 ? TRUE : FALSE;
  file->object.WriteAccess = (granted & FILE_WRITE_DATA) != 0 ? TRUE : FALSE;
  ++device->files;
  const auto state = send_request(process, *file, IRP_MJ_CREATE,
                                  [&](Request::State&, IRP&, IO_STACK_LOCATION&) { return STATUS_SUCCESS; });
  const Result result = wait_for_request(*state);
  if (!NT_SUCCESS(result.status)) {
    file->object.FinalStatus = result.status;  // was never open: no IRP_MJ_CLEANUP, no IRP_MJ_CLOSE
    dereference(file);
    return {result.status, nullptr};
  }
  ++file->handles;
  const HANDLE handle = insert_handle(process, file, granted);
  dereference(file);
  return {STATUS_SUCCESS, handle};
}

Request Process::start_read(HANDLE file, void* buffer, ULONG size) {
  return Request(transfer(*reinterpret_cast<_EPROCESS*>(object()), file, IRP_MJ_READ, buffer, size));
}

Request Process::start_write(HANDLE file, const void* buffer, ULONG size) {
  return Request(
      transfer(*reinterpret_cast<_EPROCESS*>(object()), file, IRP_MJ_WRITE, const_cast<void*>(buffer), size));
}

Request Process::start_control(HANDLE handle, ULONG code, const void* in, ULONG in_size, void* out, ULONG out_size) {
  _EPROCESS& process = *reinterpret_cast<_EPROCESS*>(object());
  // The code's own access bits, which the I/O manager checks.
  const ULONG access = (code >> 14) & 3;
  void* body = nullptr;
  ACCESS_MASK granted = 0;
  const NTSTATUS found = find_handle(process, handle, access, &file_type, UserMode, body, granted);
  if (!NT_SUCCESS(found)) return Request(refused(found));
  File& file = *static_cast<File*>(body);
  const Calling calling(process);
  auto state =
      send_request(process, file, IRP_MJ_DEVICE_CONTROL, [&](Request::State& of, IRP& irp, IO_STACK_LOCATION& stack) {
        of.in_size = in_size;
        of.out_size = out_size;
        of.out = out;
        stack.Parameters.DeviceIoControl.IoControlCode = code;
        stack.Parameters.DeviceIoControl.InputBufferLength = in_size;
        stack.Parameters.DeviceIoControl.OutputBufferLength = out_size;
        irp.UserBuffer = out;
        if ((code & 3) == METHOD_NEITHER) {
          stack.Parameters.DeviceIoControl.Type3InputBuffer = const_cast<void*>(in);
          return STATUS_SUCCESS;
        }
        const bool buffered = (code & 3) == METHOD_BUFFERED;
        of.copies_out = buffered;
        give_system_buffer(of, irp, in, buffered && out_size > in_size ? out_size : in_size);
        return buffered ? STATUS_SUCCESS : lock_buffer(of, irp, out, out_size, (code & 3) == METHOD_OUT_DIRECT);
      });
  dereference(&file);
  return Request(std::move(state));
}

bool Request::is_done() const {
  const std::lock_guard locked(state_->lock);
  return state_->is_done();
}

Result Request::wait() const { return wait_for_request(*state_); }

std::optional<Result> Request::wait_for(std::chrono::milliseconds limit) const {
  std::unique_lock locked(state_->lock);
  if (!state_->changed.wait_for(locked, limit, [&] { return state_->is_done(); })) return std::nullopt;
  return state_->result;
}

bool Request::cancel() const { return cancel_request(*state_); }

Result Process::control(HANDLE file, ULONG code, const void* in, ULONG in_size, void* out, ULONG out_size) {
  return start_control(file, code, in, in_size, out, out_size).wait();
}

Result Process::read(HANDLE file, void* buffer, ULONG size) { return start_read(file, buffer, size).wait(); }

Result Process::write(HANDLE file, const void* buffer, ULONG size) { return start_write(file, buffer, size).wait(); }

}  // namespace wintun::kernel
