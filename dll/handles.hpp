// What a handle is: a number that was given out once in this process and never again, with a slot's index below it.
// So a stale handle, or one of another library's table, is told from a good one without a look at its memory.
// On a 32-bit platform the numbers return after 2^20 handles.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "platform/gate.hpp"

namespace wintun {

using HandleValue = std::uintptr_t;
inline constexpr HandleValue kNullHandle = 0;
inline constexpr std::size_t kSlots = 4096;

// One counter for all tables: what kind a handle is of, and whose, need not be said.
inline HandleValue new_handle(std::size_t slot) {
  static std::atomic<HandleValue> generation{1};
  return generation.fetch_add(1, std::memory_order_relaxed) * kSlots + slot;
}
constexpr std::size_t slot_of(HandleValue handle) { return handle % kSlots; }

// Gates before objects that several threads use at once: adapters. Any thread; nothing here is on a packet's path.
template <class T>
class HandleTable {
  struct Entry {
    Gate gate;
    std::atomic<HandleValue> handle{kNullHandle};
    std::shared_ptr<T> object;  // written under the mutex while the gate is closed and empty
  };

 public:
  // Null: every slot is taken.
  HandleValue add(std::shared_ptr<T> object) {
    const std::scoped_lock lock(mutex_);
    for (std::size_t tried = 0; tried < kSlots; ++tried) {
      const std::size_t slot = next_++ % kSlots;
      Entry& entry = entries_[slot];
      if (entry.object != nullptr) continue;
      const HandleValue handle = new_handle(slot);
      entry.object = std::move(object);
      entry.handle.store(handle, std::memory_order_relaxed);
      entry.gate.open();
      return handle;
    }
    return kNullHandle;
  }

  // Closes: returns when nobody is inside, with the object, for one caller; null for a handle that is not open.
  std::shared_ptr<T> remove(HandleValue handle) {
    Entry& entry = entries_[slot_of(handle)];
    {
      const GateUser user(entry.gate);
      if (!user || entry.handle.load(std::memory_order_relaxed) != handle || !entry.gate.close()) return nullptr;
    }
    entry.gate.wait_until_empty();
    const std::scoped_lock lock(mutex_);
    return std::move(entry.object);
  }

  // Keeps the object open while it lives. Test it before use.
  class User {
   public:
    User(HandleTable& table, HandleValue handle) : entry_(table.entries_[slot_of(handle)]), inside_(entry_.gate) {
      is_open_ = inside_ && entry_.handle.load(std::memory_order_relaxed) == handle;
    }
    explicit operator bool() const { return is_open_; }
    const std::shared_ptr<T>& operator*() const { return entry_.object; }
    T* operator->() const { return entry_.object.get(); }

   private:
    Entry& entry_;
    GateUser inside_;
    bool is_open_ = false;
  };

 private:
  std::mutex mutex_;
  std::size_t next_ = 0;
  std::unique_ptr<Entry[]> entries_ = std::make_unique<Entry[]>(kSlots);
};

}  // namespace wintun
