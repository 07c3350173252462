// What NDIS knows of a driver and of an adapter. Only ndis/ sees this. One mutex an adapter; it is never held while
// the miniport is called, nor while a test's function is.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "tests/kernel/adapter.hpp"
#include "tests/kernel/nt/checker.hpp"

namespace wintun::kernel {

struct MiniportDriver {
  PDRIVER_OBJECT object = nullptr;
  NDIS_HANDLE context = nullptr;
  NDIS_MINIPORT_DRIVER_CHARACTERISTICS functions{};
  std::atomic<int> adapters{0};
  std::atomic<int> open_files{0};  // of its control devices
};
std::shared_ptr<MiniportDriver> driver_of(PDRIVER_OBJECT object);  // null if none is registered

// A list of the stack's on its way to the program, with all its memory: freed when the miniport completes it.
struct SentList {
  ~SentList();
  NET_BUFFER_LIST list;
  std::vector<std::unique_ptr<NET_BUFFER>> buffers;
  std::vector<std::unique_ptr<MDL>> mdls;
  std::vector<std::unique_ptr<std::uint8_t[]>> data;
  bool is_mapped = true;
  std::uint64_t number = 0;
  std::uint64_t epoch = 0;   // in which it was sent
  bool was_admitted = true;  // whether the adapter ran in that epoch
};

enum class Life { unplugged, halted, initializing, paused, restarting, running, pausing };

struct Adapter::Body {
  Options options;
  std::shared_ptr<MiniportDriver> driver;
  NDIS_HANDLE context = nullptr;  // the miniport's
  bool has_registration = false, has_general = false;
  ULONG attribute_flags = 0;
  std::vector<NDIS_OID> supported;
  Bytes general;

  mutable std::mutex lock;  // covers what follows
  mutable std::condition_variable changed;
  Life life = Life::halted;
  std::uint64_t epoch = 0;              // how often life or power has changed
  std::multiset<std::uint64_t> inside;  // calls of the stack's into the miniport, by the epoch they began in
  bool in_d0 = true;
  NDIS_MEDIA_CONNECT_STATE connected = MediaConnectStateUnknown;
  std::uint64_t speed = 0;
  std::vector<Indication> indications;

  std::uint64_t next_sent = 1;
  std::map<PNET_BUFFER_LIST, std::unique_ptr<SentList>> sent;
  std::vector<Completion> completions;
  std::function<void(const Completion&)> completion_call;

  std::uint64_t next_received = 1;
  std::map<PNET_BUFFER_LIST, std::uint64_t> in_stack;
  std::map<std::uint64_t, PNET_BUFFER_LIST> kept;
  std::vector<Bytes> received;
  std::size_t received_count = 0;
  std::function<bool(const Received&)> receive_call;

  // Whether the stack may call the miniport now; if so leave() follows.
  bool enter(std::uint64_t& epoch_now);
  void leave(std::uint64_t epoch_then);
  bool admits() const { return life == Life::running && in_d0; }  // under the lock
  void change_life(Life now);
  Life life_now() const;
};

inline Adapter::Body& adapter_of(NDIS_HANDLE handle) { return *static_cast<Adapter::Body*>(handle); }

// The miniport calls NDIS: no spin lock of its own is held, and the flag that says DISPATCH_LEVEL is true.
void check_call(const char* function, bool says_dispatch);

// Copies bytes of a packet out of its MDLs; false if they are fewer than it says.
bool copy_out(const NET_BUFFER& buffer, std::uint8_t* into, std::size_t bytes);

// What was allocated for an adapter, the miniport's to free before the adapter goes. `Thing` has an `owner`.
template <class Thing>
class Owned {
 public:
  Owned(Kind kind, const char* name) : kind_(kind), name_(name) {}

  void add(Thing* one) {
    const std::lock_guard locked(lock_);
    all_.insert(one);
  }
  void free(Thing* one) {
    const std::lock_guard locked(lock_);
    all_.erase(one);
    delete one;
  }
  // What is left of the owner's is a violation, and freed.
  void forget(NDIS_HANDLE owner, const char* when) {
    const std::lock_guard locked(lock_);
    for (auto one = all_.begin(); one != all_.end();) {
      if ((*one)->owner != owner) {
        ++one;
        continue;
      }
      violation(std::string(when) + ": a " + name_ + " of the adapter is left");
      kernel::give_back(kind_, *one);
      delete *one;
      one = all_.erase(one);
    }
  }

 private:
  const Kind kind_;
  const char* const name_;
  std::mutex lock_;
  std::set<Thing*> all_;
};

void forget_owner(NDIS_HANDLE owner, const char* when);     // locks and pools made for it must be gone
void forget_rw_locks(NDIS_HANDLE owner, const char* when);  // the locks

}  // namespace wintun::kernel
