// Runs a program of several threads in every way that the memory model allows: all interleavings, all sources of
// each load, all places of each store. The threads are ordinary functions over the operations below; each is run
// again from its start for every step, so it must do the same whenever it reads the same (no clock, no static).
// All on one real thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/execution.hpp"

namespace wintun::model {

// Atomic memory, with the builtins' signatures.
std::uint32_t load(const std::uint32_t* location, int order);
void store(std::uint32_t* location, std::uint32_t value, int order);

// Memory that is no atomic.
std::uint32_t read_plain(const void* location);
void write_plain(const void* location, std::uint32_t value);

// A kernel's event: its operations happen one after another, as under the kernel's lock.
void set_event(const void* event);
void reset_event(const void* event);
void wait_event(const void* event);            // returns only while it is set, and leaves it so
void wait_and_reset_event(const void* event);  // as an auto-reset event

// This turn of a loop changed nothing and the next one may find more: it is no execution of its own.
[[noreturn]] void try_again();
// A promise of the program.
void require(bool holds, const char* promise);
// Adds to what this execution is known by in Findings::outcomes.
void note(std::uint32_t value);

struct Program {
  std::vector<std::function<void()>> threads;
  // Replaces the order of an access: (location, is it a store, the order that the code asks for).
  std::function<int(const void*, bool, int)> reorder{};
  std::map<const void*, std::string> names{};  // of locations, for people
};

struct Findings {
  std::uint64_t states = 0;
  std::uint64_t executions = 0;                     // complete ones
  std::set<std::vector<std::uint32_t>> outcomes{};  // what was noted, thread by thread
  std::uint64_t stuck = 0;                          // ends where a thread waits for what will never come
  std::uint64_t races = 0;
  std::uint64_t broken = 0;  // promises
  std::string example{};     // of the first of these

  bool clean() const { return stuck == 0 && races == 0 && broken == 0; }
};

[[nodiscard]] Findings explore(const Program& program);

}  // namespace wintun::model
