// The adapters of this process: which exist, how many handles each has, and the session that each may have.
// Any thread. Nothing here is on a packet's path, nothing logs; failures are exceptions, which api.hpp turns into
// last errors. Order of locks: Adapters, Adapter, then a session's receive lock and its send lock.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "driver.hpp"
#include "handles.hpp"
#include "last_error.hpp"
#include "ring_session.hpp"
#include "session_table.hpp"

namespace wintun {

// What a family of drivers offers beside its packets.
template <class B>
concept Backend = Driver<typename B::DriverType> && requires(const std::string& name, bool exclusive) {
  // What an adapter of this name is called by the system: two names with one interface are one adapter.
  { B::interface_name(name) } -> std::same_as<std::string>;
  // See Driver. Throws std::system_error.
  { B::make(name, exclusive) } -> std::same_as<std::unique_ptr<typename B::DriverType>>;
  { B::is_present() } -> std::same_as<bool>;
};

// One adapter with all of its handles. Lives until the last of them and its session are closed.
template <Backend B>
class Adapter {
 public:
  using D = typename B::DriverType;
  using Session = RingSession<D>;
  using Sessions = SessionTable<Session>;

  Adapter(std::string name, std::unique_ptr<D> driver) : name_(std::move(name)), driver_(std::move(driver)) {}

  const std::string& name() const { return name_; }  // UTF-8, as it was asked for
  const D& driver() const { return *driver_; }       // only by who holds a handle: close() takes the driver

  HandleValue start_session(Sessions& sessions, std::shared_ptr<Adapter> self, std::uint32_t capacity) {
    const std::scoped_lock lock(mutex_);
    if (session_ != kNullHandle) {
      throw Failure(ERROR_ALREADY_INITIALIZED, "it has a session already, end that one first");
    }
    const HandleValue handle = sessions.reserve();
    if (handle == kNullHandle) throw Failure(ERROR_NO_SYSTEM_RESOURCES, "too many sessions are open in this process");
    try {
      auto session = std::make_unique<Session>(*driver_, capacity);
      session->owner = std::move(self);
      sessions.open(handle, session.release());
    } catch (...) {
      sessions.give_back(handle);
      throw;
    }
    return session_ = handle;
  }

  // The session is closed in its table already; close() may have been here before.
  void disconnect_from(HandleValue session) {
    const std::scoped_lock lock(mutex_);
    if (session_ != session) return;
    session_ = kNullHandle;
    driver_->disconnect();
  }

  // The last handle is closed: the interface is gone when this returns. A session stays without its driver.
  void close(Sessions& sessions) {
    const std::scoped_lock lock(mutex_);
    if (session_ != kNullHandle) {
      sessions.with_both_locks(session_, [](Session& session) { session.detach(); });
      driver_->disconnect();
      session_ = kNullHandle;
    }
    driver_.reset();
  }

 private:
  const std::string name_;
  std::mutex mutex_;
  std::unique_ptr<D> driver_;
  HandleValue session_ = kNullHandle;  // the driver is connected to this one
};

// By interface, so that no two threads make the same one, and a second handle finds the first one's adapter.
template <Backend B>
class Adapters {
 public:
  using Sessions = typename Adapter<B>::Sessions;
  using User = typename HandleTable<Adapter<B>>::User;

  HandleValue create(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    const std::string interface = B::interface_name(name);
    if (open_.contains(interface)) {
      throw Failure(ERROR_ALREADY_EXISTS, "this process has an adapter of this name already");
    }
    return add(interface, std::make_shared<Adapter<B>>(name, B::make(name, true)));
  }

  HandleValue open(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    const std::string interface = B::interface_name(name);
    const auto found = open_.find(interface);
    if (found == open_.end()) return add(interface, std::make_shared<Adapter<B>>(name, B::make(name, false)));
    const HandleValue handle = handle_for(found->second.adapter);
    ++found->second.handles;
    return handle;
  }

  // The adapter whose handle this was, null if it is none; `last`: the adapter is gone.
  std::shared_ptr<Adapter<B>> close(HandleValue handle, Sessions& sessions, bool& last) {
    std::shared_ptr<Adapter<B>> adapter = handles_.remove(handle);
    if (adapter == nullptr) return nullptr;
    const std::scoped_lock lock(mutex_);
    const auto found =
        std::find_if(open_.begin(), open_.end(), [&](const auto& entry) { return entry.second.adapter == adapter; });
    last = --found->second.handles == 0;
    if (last) {
      adapter->close(sessions);
      open_.erase(found);  // only now, so that who makes it again does not find the old interface
    }
    return adapter;
  }

  User user(HandleValue handle) { return User(handles_, handle); }

  bool is_empty() {
    const std::scoped_lock lock(mutex_);
    return open_.empty();
  }

 private:
  struct Open {
    std::shared_ptr<Adapter<B>> adapter;
    std::size_t handles = 1;
  };

  HandleValue handle_for(const std::shared_ptr<Adapter<B>>& adapter) {
    const HandleValue handle = handles_.add(adapter);
    if (handle == kNullHandle) {
      throw Failure(ERROR_NO_SYSTEM_RESOURCES, "too many handles of adapters are open in this process");
    }
    return handle;
  }

  HandleValue add(const std::string& interface, std::shared_ptr<Adapter<B>> adapter) {
    const auto [place, is_new] = open_.try_emplace(interface, Open{adapter});
    try {
      return handle_for(adapter);
    } catch (...) {
      open_.erase(place);
      throw;
    }
  }

  std::mutex mutex_;
  std::map<std::string, Open> open_;
  HandleTable<Adapter<B>> handles_;
};

}  // namespace wintun
