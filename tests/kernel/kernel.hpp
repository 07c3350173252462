// What a test does with the kernel that runs in this process: start it, load a driver, be the programs that use the
// driver's devices, let calls fail, and ask what rules were broken. tests/kernel/adapter.hpp is the network's side.
// One kernel at a time in a process; any thread of the test may call anything here, at PASSIVE_LEVEL. A call that
// belongs to a process runs in it (PsGetCurrentProcess) for its duration. docs/kernel.md says what is checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "driver/ndis/nt.hpp"

namespace wintun::kernel {

class Kernel {
 public:
  struct Options {
    bool abort_on_violation = false;          // for fuzzers: the first one ends this process, with its text
    std::uint32_t ndis_version = 0x00060053;  // 6.83, as NdisGetVersion says it
  };
  Kernel() : Kernel(Options{}) {}
  explicit Kernel(const Options& options);
  // Whatever still lives is a violation; violations that nobody has taken end this process.
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
};

// The rules broken since the last call, one a line, empty if none: EXPECT_EQ(take_violations(), "").
std::string take_violations();
// How many allocations, MDLs, handles, threads, requests... the kernel holds for drivers; zero when all is given
// back.
std::size_t outstanding();

// ---- faults ----

// Runs the scenario again and again. In each run the first call that can fail and has not yet failed with the same
// stack fails, until a run has nothing left to fail. Gives the number of faults. The scenario must not fail a test by
// an error it is handed; leaks and broken rules do.
std::size_t with_every_fault(const std::function<void()>& scenario);
// Lets the call number `nth` (from 1) of this function, made from now on, fail once: fail_call("IoAllocateMdl", 2).
void fail_call(std::string_view function, unsigned nth = 1);
// Forgets what fail_call has set and has not happened; false if there was something.
bool no_failure_left();

// ---- drivers ----

// A driver that is linked into this process. The constructor calls its entry; the destructor unloads it.
class Driver {
 public:
  explicit Driver(PDRIVER_INITIALIZE entry, std::u16string_view service = u"ringtun");
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  NTSTATUS status() const { return status_; }  // what the entry returned
  bool is_loaded() const { return loaded_; }
  // Calls the driver's unload function in a system thread. Files that are open on its devices, adapters that are not
  // removed, and all that it has not given back are violations.
  void unload();
  PDRIVER_OBJECT object() const { return object_; }

 private:
  PDRIVER_OBJECT object_ = nullptr;
  NTSTATUS status_;
  bool loaded_ = false;
};

// ---- programs ----

struct Result {
  NTSTATUS status;
  std::uintptr_t information;
};

// An I/O request that may still be pending. Dropping this does not cancel it; its buffers must outlive it.
class Request {
 public:
  struct State;
  explicit Request(std::shared_ptr<State> state) : state_(std::move(state)) {}
  bool is_done() const;
  Result wait() const;
  std::optional<Result> wait_for(std::chrono::milliseconds limit) const;
  // Asks for cancellation and does not wait: CancelIoEx. False: it was done already, or has no cancel routine.
  bool cancel() const;

 private:
  std::shared_ptr<State> state_;
};

enum class Integrity : std::uint32_t { low = 0x1000, medium = 0x2000, high = 0x3000, system = 0x4000 };

struct Account {
  bool is_system = false;
  bool is_administrator = true;  // elevated: the group is enabled in the token
  Integrity integrity = Integrity::high;
};
inline constexpr Account kElevated{};
inline constexpr Account kUser{false, false, Integrity::medium};
inline constexpr Account kSystem{true, true, Integrity::system};

enum class Access { none, read, read_write };

class Process {
 public:
  struct Kind {
    bool is_32_bit = false;  // memory and handles below 4 GiB, IoIs32bitProcess is true
    Account account = kElevated;
  };
  Process() : Process(Kind{}) {}
  explicit Process(const Kind& kind);
  ~Process();  // exit() if it has not
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Ends as the system does it: requests of its threads are cancelled, notify routines run, handles are closed, the
  // requests that are left are waited for, the memory goes.
  void exit();

  // Memory that driver and program share, from a page's start, zeroed. Addresses that are not from here are bad ones.
  std::uint8_t* allocate(std::size_t bytes, Access access = Access::read_write);
  void protect(std::uint8_t* memory, Access access);  // all of an allocation
  void free(std::uint8_t* memory);                    // locked pages live on until they are unlocked

  HANDLE create_event(bool manual_reset = false, bool set = false);
  HANDLE create_semaphore();                            // a handle of another kind
  HANDLE duplicate(HANDLE handle, ACCESS_MASK access);  // with fewer rights, say
  HANDLE duplicate(HANDLE handle, Process& into);       // the same rights, in another process
  void set_event(HANDLE event);
  bool wait_event(HANDLE event, std::chrono::milliseconds limit);  // false: it was not set in time
  NTSTATUS close(HANDLE handle);  // STATUS_INVALID_HANDLE if it is none, or was taken away
  std::size_t open_handles() const;

  struct Opened {
    NTSTATUS status;
    HANDLE handle;
  };
  // \\.\Device\X, \\.\Global\X and \\.\X, as a program writes them, or \Device\X itself.
  Opened open(std::u16string_view name, ACCESS_MASK access = GENERIC_READ | GENERIC_WRITE);

  // Null buffers are allowed with size 0. METHOD_BUFFERED and direct I/O copy or lock as the system does.
  Request start_control(HANDLE file, ULONG code, const void* in, ULONG in_size, void* out = nullptr,
                        ULONG out_size = 0);
  Request start_read(HANDLE file, void* buffer, ULONG size);
  Request start_write(HANDLE file, const void* buffer, ULONG size);
  Result control(HANDLE file, ULONG code, const void* in, ULONG in_size, void* out = nullptr, ULONG out_size = 0);
  Result read(HANDLE file, void* buffer, ULONG size);
  Result write(HANDLE file, const void* buffer, ULONG size);
  void cancel(HANDLE file);  // all requests of a file: CancelIoEx without one

  PEPROCESS object() const;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

// This thread is in that process while this lives, for tests that call kernel functions themselves.
class InProcess {
 public:
  explicit InProcess(const Process& process);
  ~InProcess();
  InProcess(const InProcess&) = delete;
  InProcess& operator=(const InProcess&) = delete;

 private:
  KAPC_STATE before_;
};

// What KeRaiseIrql and KeLowerIrql do, which real headers define inline with instructions that only a kernel may use.
KIRQL raise_irql(KIRQL irql);
void lower_irql(KIRQL irql);

// This thread is at DISPATCH_LEVEL while this lives.
class AtDispatch {
 public:
  AtDispatch() : before_(raise_irql(DISPATCH_LEVEL)) {}
  ~AtDispatch() { lower_irql(before_); }
  AtDispatch(const AtDispatch&) = delete;
  AtDispatch& operator=(const AtDispatch&) = delete;

 private:
  KIRQL before_;
};

}  // namespace wintun::kernel
