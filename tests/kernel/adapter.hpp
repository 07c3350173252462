// The network's side of the kernel in this process: plugs adapters in, drives a miniport through its life as NDIS
// does, is the protocol above it, and checks what it does. One thread at a time changes an adapter's life (start,
// pause, power, removal, OIDs); any thread sends, gives back and looks, meanwhile too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "tests/kernel/kernel.hpp"

namespace wintun::kernel {

using Bytes = std::vector<std::uint8_t>;
using NdisStatus = std::int32_t;  // NDIS_STATUS

struct SendOptions {
  bool at_dispatch = false;     // the stack calls at DISPATCH_LEVEL, and says so
  std::size_t mdl_bytes = 0;    // cut each packet into MDLs of so many bytes; 0: one MDL
  std::size_t data_offset = 0;  // unused bytes in front of each packet
  bool is_mapped = true;        // false: the miniport's mapping of each MDL can fail
  std::uintptr_t cancel_id = 0;
};

struct Completion {
  std::uint64_t list;  // as send() has numbered it
  NdisStatus status;
  bool at_dispatch;
};

// A packet that the miniport has indicated.
struct Received {
  std::uint64_t id;          // of its net buffer list
  const std::uint8_t* data;  // in the driver's memory, until it is given back
  std::size_t size;
  std::uint16_t protocol;  // network order as indicated: the frame type in the list's information
};

struct Indication {
  NdisStatus status;
  Bytes buffer;
};

struct OidResult {
  NdisStatus status;
  std::uint32_t bytes;   // written or read
  std::uint32_t needed;  // when the buffer was too short
};

class Adapter {
 public:
  struct Options {
    std::uint32_t luid_index = 1;       // 24 bits
    std::uint16_t interface_type = 53;  // IF_TYPE_PROP_VIRTUAL
  };
  explicit Adapter(Driver& driver) : Adapter(driver, Options{}) {}
  Adapter(Driver& driver, const Options& options);  // plugged in, not initialized
  ~Adapter();                                       // remove() if it has not been
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  // ---- life ----
  NdisStatus initialize();
  NdisStatus restart();
  void pause();                      // returns when the miniport is paused: nothing of it is out
  void halt();                       // from paused
  NdisStatus start();                // initialize(), then restart(); what came of the first that failed
  void stop();                       // pause() and halt() as far as they apply
  void remove();                     // stop(), as the device manager's "uninstall" does it: query, then remove
  bool query_remove();               // false: refused
  void surprise_remove();            // the event, then stop()
  NdisStatus set_power(unsigned d);  // 0 to 3; pauses and restarts around as NDIS does without NO_PAUSE_ON_SUSPEND
  void shutdown();                   // the system goes down

  // ---- OIDs ----
  OidResult query(std::uint32_t oid, void* buffer, std::uint32_t size);
  OidResult set(std::uint32_t oid, const void* buffer, std::uint32_t size);

  // ---- from the stack to the program ----
  // A chain of lists, each with its packets. Gives the number of the first list; the others follow it by one.
  std::uint64_t send(const std::vector<std::vector<Bytes>>& lists, const SendOptions& options = {});
  std::uint64_t send_packet(const Bytes& packet) { return send(std::vector<std::vector<Bytes>>{{packet}}); }
  void cancel_sends(std::uintptr_t cancel_id);
  std::size_t sends_outstanding() const;
  void wait_for_sends() const;            // until all are completed; a violation after 30 s
  std::vector<Completion> completions();  // since the last call, in the order they came
  // Called inside the completion, in the miniport's thread and at its level; may send().
  void on_completion(std::function<void(const Completion&)> call);

  // ---- from the program to the stack ----
  // Without a function the stack copies each packet and gives it back inside the indication. With one it asks it
  // inside the indication: false keeps the packet, which is then given back by give_back(). The function may send().
  void on_receive(std::function<bool(const Received&)> call);
  std::vector<Bytes> received();                                             // copies since the last call
  bool wait_received(std::size_t packets, std::chrono::milliseconds limit);  // until so many came since the start
  std::vector<std::uint64_t> kept() const;                                   // in the order they came
  void give_back(const std::vector<std::uint64_t>& ids, bool at_dispatch = false);  // in this order
  void give_back_all();

  // ---- what the miniport has said ----
  bool is_connected() const;                        // the newest link state
  std::uint64_t link_speed() const;                 // bits a second, of the newest link state
  std::vector<Indication> indications();            // since the last call
  const void* attributes(std::size_t& size) const;  // its general attributes, as it gave them
  std::vector<std::uint32_t> supported_oids() const;

  struct Body;

 private:
  void halt_for(int action);
  void notify(int event);
  void check_quiet(const char* function);
  std::unique_ptr<Body> body_;
};

}  // namespace wintun::kernel
