// Broken rules and the ledger of what is out. Two mutexes of its own, below everything else: nothing is called with
// them held.
#include "tests/kernel/nt/checker.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "tests/kernel/kernel.hpp"

namespace wintun::kernel {
namespace {

constexpr const char* kNames[] = {"pool memory",
                                  "MDL",
                                  "locked pages",
                                  "mapping",
                                  "handle",
                                  "object reference",
                                  "system thread",
                                  "I/O request",
                                  "device",
                                  "symbolic link",
                                  "notify routine",
                                  "net buffer list pool",
                                  "net buffer list",
                                  "reader-writer lock",
                                  "miniport driver",
                                  "adapter",
                                  "rundown protection"};

struct Entry {
  const char* function;
  std::string note;
  Stack stack;
};

struct Books {
  std::mutex violations_lock;
  std::vector<std::string> violations;
  std::mutex ledger_lock;
  std::map<std::pair<Kind, const void*>, std::vector<Entry>> ledger;
  std::atomic<bool> abort{false};
};

Books& books() {
  static Books* const all = new Books;  // never destroyed: threads may outlive main()
  return *all;
}

}  // namespace

void set_abort_on_violation(bool abort) { books().abort = abort; }

void violation(const std::string& text) {
  std::string line = text + " [" + describe_stack(capture_stack(1)) + "]";
  if (books().abort) {
    std::fprintf(stderr, "kernel rule broken: %s\n", line.c_str());
    std::abort();
  }
  const std::lock_guard locked(books().violations_lock);
  books().violations.push_back(std::move(line));
}

std::string take_violations() {
  const std::lock_guard locked(books().violations_lock);
  std::string text;
  for (const std::string& line : books().violations) text += line + "\n";
  books().violations.clear();
  return text;
}

void take(Kind kind, const void* what, const char* function, std::string note) {
  // Of packets there are too many to say of each where it comes from.
  Entry entry{function, std::move(note), kind == Kind::net_buffer_list ? Stack{} : capture_stack(1)};
  const std::lock_guard locked(books().ledger_lock);
  books().ledger[{kind, what}].push_back(std::move(entry));
}

bool give_back(Kind kind, const void* what) {
  const std::lock_guard locked(books().ledger_lock);
  const auto found = books().ledger.find({kind, what});
  if (found == books().ledger.end()) return false;
  found->second.pop_back();
  if (found->second.empty()) books().ledger.erase(found);
  return true;
}

bool is_out(Kind kind, const void* what) {
  const std::lock_guard locked(books().ledger_lock);
  return books().ledger.count({kind, what}) != 0;
}

std::size_t count_out() {
  const std::lock_guard locked(books().ledger_lock);
  return books().ledger.size();
}

std::size_t outstanding() { return count_out(); }

void expect_nothing_out(const std::string& when) {
  decltype(Books::ledger) left;
  {
    const std::lock_guard locked(books().ledger_lock);
    left.swap(books().ledger);
  }
  for (const auto& [key, entries] : left) {
    for (const Entry& entry : entries) {
      violation(when + ": " + kNames[static_cast<std::size_t>(key.first)] + " left, taken by " + entry.function +
                (entry.note.empty() ? "" : " (" + entry.note + ")") + " at " + describe_stack(entry.stack));
    }
  }
}

}  // namespace wintun::kernel
