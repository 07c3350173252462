// Devices, files and I/O requests behind nt/device.cpp, irp.cpp and file.cpp. A request's state is the test's side
// and outlives the IRP, which goes when the driver completes it: a driver that looks at it later is caught by ASan.
#pragma once

#include <condition_variable>
#include <optional>
#include <string>
#include <string_view>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {

// ---- security.cpp ----

struct Acl {  // of a device: who may do what, and below which integrity nobody
  struct Entry {
    std::u16string who;
    ACCESS_MASK access;
  };
  std::vector<Entry> allowed;
  Integrity label = Integrity::low;
  bool no_read_up = false;
  bool no_write_up = false;
};
std::optional<Acl> parse_sddl(std::u16string_view text);
NTSTATUS check_access(const Acl& acl, const Account& account, ACCESS_MASK wanted, ACCESS_MASK& granted);

// ---- device.cpp ----

struct Device {  // the body of a device object; what the driver sees comes first
  DEVICE_OBJECT object{};
  std::u16string name;
  Acl acl;
  std::atomic<long> files{0};
  std::unique_ptr<char[]> extension;
};
inline Device& device_of(PDEVICE_OBJECT object) { return *reinterpret_cast<Device*>(object); }
// A reference for the caller, or null.
Device* find_device(std::u16string_view name);
void set_label(Device& device, Integrity label, bool no_read_up, bool no_write_up);
Acl acl_of(Device& device);
void forget_file(Device& device);  // one is closed
std::size_t open_files_of(PDRIVER_OBJECT driver);

// ---- irp.cpp ----

struct File {
  FILE_OBJECT object{};
  std::atomic<long> handles{0};
  std::u16string name;
};
inline File& file_of(PFILE_OBJECT object) { return *reinterpret_cast<File*>(object); }

struct Request::State {
  std::mutex lock;
  std::condition_variable changed;
  PIRP irp = nullptr;  // until it is completed
  bool is_cancelling = false;
  std::unique_ptr<char[]> irp_memory;  // of a completed one, while somebody cancels it
  bool is_completed = false;
  bool was_marked_pending = false;
  std::optional<NTSTATUS> returned;
  Result result{};
  // Of the request.
  _EPROCESS* process = nullptr;
  File* file = nullptr;  // one reference
  UCHAR major = 0;
  ULONG in_size = 0, out_size = 0;
  void* out = nullptr;
  bool copies_out = false;
  std::unique_ptr<char[]> system_buffer;
  PMDL mdl = nullptr;

  bool is_done() const { return is_completed && returned.has_value(); }
};

// Sends one request to the driver and gives its state; the caller's thread is in the process for it.
std::shared_ptr<Request::State> send_request(
    _EPROCESS& process, File& file, UCHAR major,
    const std::function<NTSTATUS(Request::State&, IRP&, IO_STACK_LOCATION&)>& fill);
Result wait_for_request(Request::State& state);
bool cancel_request(Request::State& state);

// ---- file.cpp ----

void file_handle_closed(void* file);

// This thread is in a process, in the mode of a program's call, while this lives.
class Calling {
 public:
  explicit Calling(_EPROCESS& process);
  ~Calling();
  Calling(const Calling&) = delete;
  Calling& operator=(const Calling&) = delete;

 private:
  _EPROCESS* before_;
  KPROCESSOR_MODE mode_before_;
};

}  // namespace wintun::kernel
