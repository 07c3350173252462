// What a session counts, by whoever reads and writes, without a lock: each number is right, and two numbers read
// together may be a packet apart. Readers' and writers' counters stand on cache lines of their own.
#pragma once

#include <atomic>
#include <cstdint>

namespace wintun {

struct Statistics {
  std::uint64_t received_packets = 0, received_bytes = 0;  // read by the program
  std::uint64_t received_drops = 0;                        // came from the network stack and could not be delivered
  std::uint64_t sent_packets = 0, sent_bytes = 0;          // written by the program
  std::uint64_t sent_drops = 0;                            // refused by a full ring or by the network stack
  std::uint64_t waits = 0, wakes = 0;                      // calls of wait(); those that a packet ended
};

class Counter {
 public:
  void add(std::uint64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Traffic {
  Counter packets, bytes, drops;
};

struct SessionCounters {
  alignas(64) Traffic received;
  Counter waits, wakes;
  alignas(64) Traffic sent;
};

}  // namespace wintun
