// Handles of sessions, and the two locks that each has: one a direction, so that a reader and a writer never touch
// the same line of memory. A lock lives in its slot and outlives its session: who holds it finds the session there or
// not, so nothing more is needed to keep it open during a call. Any thread.
#pragma once

#include <array>
#include <mutex>

#include "handles.hpp"
#include "lock.hpp"

namespace wintun {

template <class Session>
class SessionTable {
  // Zero at start, so that a table takes no room in the file and no memory before it is used.
  struct alignas(64) Side {
    Lock lock;
    HandleValue handle = kNullHandle;  // these two under the lock
    Session* session = nullptr;
  };
  struct Entry {
    Side receive;
    Side send;
    bool is_taken = false;  // under the table's mutex
  };

 public:
  // Holds one direction's lock while it lives. Test it before use.
  class User {
   public:
    User(Side& side, HandleValue handle) : side_(side) {
      side_.lock.lock();
      session_ = side_.handle == handle ? side_.session : nullptr;
    }
    ~User() { side_.lock.unlock(); }
    User(const User&) = delete;
    User& operator=(const User&) = delete;
    explicit operator bool() const { return session_ != nullptr; }
    Session* operator->() const { return session_; }
    Session& operator*() const { return *session_; }

   private:
    Side& side_;
    Session* session_;
  };

  User receiver(HandleValue handle) { return User(entries_[slot_of(handle)].receive, handle); }
  User sender(HandleValue handle) { return User(entries_[slot_of(handle)].send, handle); }

  // A handle for a session to come, which no call accepts yet. Null: every slot is taken.
  HandleValue reserve() {
    const std::scoped_lock lock(mutex_);
    for (std::size_t tried = 0; tried < kSlots; ++tried) {
      const std::size_t slot = next_++ % kSlots;
      if (entries_[slot].is_taken) continue;
      entries_[slot].is_taken = true;
      return new_handle(slot);
    }
    return kNullHandle;
  }

  void open(HandleValue handle, Session* session) {
    Entry& entry = entries_[slot_of(handle)];
    put(entry.send, handle, session);
    put(entry.receive, handle, session);
  }

  // For one caller the session, which no call is inside and none will enter; null for a handle that is not open.
  Session* close(HandleValue handle) {
    Entry& entry = entries_[slot_of(handle)];
    Session* session = nullptr;
    {
      const std::scoped_lock lock(entry.receive.lock);
      if (entry.receive.handle != handle) return nullptr;
      session = entry.receive.session;
      entry.receive.handle = kNullHandle;
      entry.receive.session = nullptr;
    }
    put(entry.send, kNullHandle, nullptr);
    return session;
  }

  // Nothing happens for a handle that is closed.
  template <class Body>
  void with_both_locks(HandleValue handle, const Body& body) {
    Entry& entry = entries_[slot_of(handle)];
    const std::scoped_lock receive(entry.receive.lock);
    const std::scoped_lock send(entry.send.lock);
    if (entry.receive.handle == handle) body(*entry.receive.session);
  }

  // After close() and when the session is gone, or instead of open().
  void give_back(HandleValue handle) {
    const std::scoped_lock lock(mutex_);
    entries_[slot_of(handle)].is_taken = false;
  }

 private:
  static void put(Side& side, HandleValue handle, Session* session) {
    const std::scoped_lock lock(side.lock);
    side.handle = handle;
    side.session = session;
  }

  std::mutex mutex_;
  std::size_t next_ = 0;
  std::array<Entry, kSlots> entries_{};
};

}  // namespace wintun
