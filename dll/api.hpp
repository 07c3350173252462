// The functions of wintun.h over any family of drivers: arguments checked, handles looked up, failures turned into
// last errors and lines for the logger. exports.cpp gives the names to one instance; another family of drivers is
// another instance, with a table of its own. Nothing throws; no lock is held when a line is logged.
#pragma once

#include <string>

#include "adapter.hpp"
#include "last_error.hpp"
#include "log.hpp"
#include "names.hpp"
#include "version.hpp"
#include "wintun.h"

namespace wintun {

template <Backend B>
class Api {
  using Sessions = typename Adapter<B>::Sessions;
  using Session = typename Adapter<B>::Session;

 public:
  static WINTUN_ADAPTER_HANDLE WINAPI create_adapter(LPCWSTR name, LPCWSTR tunnel_type, const GUID*) noexcept {
    std::string who;
    return guarded<WINTUN_ADAPTER_HANDLE>("making", who, [&] {
      who = checked(name, "name");
      const std::string type = checked(tunnel_type, "tunnel type");
      const HandleValue handle = adapters().create(who);
      tell(WINTUN_LOG_INFO, "adapter \"" + who + "\" (" + type + ") is made: interface " + B::interface_name(who));
      return reinterpret_cast<WINTUN_ADAPTER_HANDLE>(handle);
    });
  }

  static WINTUN_ADAPTER_HANDLE WINAPI open_adapter(LPCWSTR name) noexcept {
    std::string who;
    return guarded<WINTUN_ADAPTER_HANDLE>("opening", who, [&] {
      who = checked(name, "name");
      const HandleValue handle = adapters().open(who);
      tell(WINTUN_LOG_INFO, "adapter \"" + who + "\" is opened: interface " + B::interface_name(who));
      return reinterpret_cast<WINTUN_ADAPTER_HANDLE>(handle);
    });
  }

  static void WINAPI close_adapter(WINTUN_ADAPTER_HANDLE adapter) noexcept {
    if (adapter == nullptr) return;
    std::string who;
    guarded<bool>("closing", who, [&] {
      bool last = false;
      const auto closed = adapters().close(value_of(adapter), sessions(), last);
      if (closed == nullptr) throw Failure(ERROR_INVALID_HANDLE, kStale);
      if (last) tell(WINTUN_LOG_INFO, "adapter \"" + closed->name() + "\" is closed");
      return true;
    });
  }

  static BOOL WINAPI delete_driver() noexcept {
    if (adapters().is_empty()) return TRUE;
    return fail(ERROR_BUSY, "deleting the driver: this process has adapters open, close them first"), FALSE;
  }

  static void WINAPI get_adapter_luid(WINTUN_ADAPTER_HANDLE adapter, NET_LUID* luid) noexcept {
    if (luid != nullptr) luid->Value = 0;
    with_adapter("asking for the LUID of", adapter, luid, [&](const auto& user) {
      luid->Info.NetLuidIndex = user->driver().interface_index() & 0xFFFFFF;
      luid->Info.IfType = kProprietaryVirtual;
    });
  }

  static DWORD WINAPI get_running_driver_version() noexcept {
    if (B::is_present()) return kVersion;
    return fail(ERROR_FILE_NOT_FOUND, "asking for the driver's version: no driver is loaded"), 0;
  }

  static void WINAPI set_logger(WINTUN_LOGGER_CALLBACK logger) noexcept { wintun::set_logger(logger); }

  static HANDLE WINAPI open_adapter_device_object(WINTUN_ADAPTER_HANDLE adapter) noexcept {
    WaitHandle object = kNoWaitHandle;  // which is INVALID_HANDLE_VALUE too
    with_adapter("opening the device object of", adapter, &object, [&](const auto& user) {
      const WaitHandle device = user->driver().wait_handle();
      if (device == kNoWaitHandle) throw Failure(ERROR_NOT_SUPPORTED, "its driver has none");
      object = duplicate_handle(device);
    });
    return reinterpret_cast<HANDLE>(object);
  }

  static BOOL WINAPI get_statistics(WINTUN_ADAPTER_HANDLE adapter, WINTUN_STATISTICS* statistics) noexcept {
    return with_adapter("asking for the statistics of", adapter, statistics, [&](const auto& user) {
      const DriverCounters counted = user->driver().counters();
      *statistics = {counted.to_user_packets,    counted.to_user_bytes,    counted.to_user_drops,
                     counted.to_network_packets, counted.to_network_bytes, counted.to_network_drops};
    });
  }

  static WINTUN_SESSION_HANDLE WINAPI start_session(WINTUN_ADAPTER_HANDLE adapter, DWORD capacity) noexcept {
    std::string who;
    return guarded<WINTUN_SESSION_HANDLE>("starting the session of", who, [&] {
      if (adapter == nullptr) throw Failure(ERROR_INVALID_PARAMETER, "the handle is null");
      HandleValue handle = kNullHandle;
      {
        const auto user = adapters().user(value_of(adapter));
        if (!user) throw Failure(ERROR_INVALID_HANDLE, kStale);
        who = user->name();
        if (!is_valid_capacity(capacity)) {
          throw Failure(ERROR_INVALID_PARAMETER, "a capacity of " + std::to_string(capacity) +
                                                     " bytes is no power of two from 0x20000 to 0x4000000");
        }
        handle = (*user)->start_session(sessions(), *user, capacity);
      }
      tell(WINTUN_LOG_INFO,
           "adapter \"" + who + "\": a session is started, " + std::to_string(capacity) + " bytes a ring");
      return reinterpret_cast<WINTUN_SESSION_HANDLE>(handle);
    });
  }

  static void WINAPI end_session(WINTUN_SESSION_HANDLE session) noexcept {
    if (session == nullptr) return;
    std::string who;
    guarded<bool>("ending a session of", who, [&] {
      const HandleValue handle = value_of(session);
      const std::unique_ptr<Session> ended(sessions().close(handle));
      if (ended == nullptr) throw Failure(ERROR_INVALID_HANDLE, kStale);
      ended->wake();
      const auto owner = std::static_pointer_cast<Adapter<B>>(ended->owner);
      who = owner->name();
      owner->disconnect_from(handle);
      sessions().give_back(handle);
      tell(WINTUN_LOG_INFO, "adapter \"" + who + "\": the session is ended");
      return true;
    });
  }

  static HANDLE WINAPI get_read_wait_event(WINTUN_SESSION_HANDLE session) noexcept {
    DWORD code = ERROR_INVALID_PARAMETER;
    if (session != nullptr) {
      const auto user = sessions().receiver(value_of(session));
      if (user) return reinterpret_cast<HANDLE>(user->wait_handle());
      code = ERROR_INVALID_HANDLE;
    }
    return fail(code, "asking for the event of a session: its handle is null or no longer valid"), nullptr;
  }

  // ---- packets ----

  static BYTE* WINAPI receive_packet(WINTUN_SESSION_HANDLE session, DWORD* size) noexcept {
    Slot slot;
    const DWORD code = receiving(session, size != nullptr, [&](Session& user) { return user.receive(slot); });
    if (code != ERROR_SUCCESS) return set_last_error(code), nullptr;
    *size = slot.size;
    return slot.data;
  }

  static void WINAPI release_receive_packet(WINTUN_SESSION_HANDLE session, const BYTE* packet) noexcept {
    const DWORD code = receiving(session, true, [&](Session& user) { return user.release(packet); });
    if (code != ERROR_SUCCESS) set_last_error(code);
  }

  static BYTE* WINAPI allocate_send_packet(WINTUN_SESSION_HANDLE session, DWORD size) noexcept {
    Slot slot;
    const DWORD code =
        sending(session, is_packet_size(size), [&](Session& user) { return user.allocate(size, slot); });
    if (code != ERROR_SUCCESS) return set_last_error(code), nullptr;
    return slot.data;
  }

  static void WINAPI send_packet(WINTUN_SESSION_HANDLE session, const BYTE* packet) noexcept {
    const DWORD code = sending(session, true, [&](Session& user) {
      const DWORD submitted = user.submit(packet);
      if (submitted == ERROR_SUCCESS) user.pump_to_network();
      return submitted;
    });
    if (code != ERROR_SUCCESS) set_last_error(code);
  }

  static DWORD WINAPI receive_packets(WINTUN_SESSION_HANDLE session, BYTE** packets, DWORD* sizes,
                                      DWORD count) noexcept {
    DWORD got = 0;
    const bool is_valid = packets != nullptr && sizes != nullptr && count != 0;
    const DWORD code = receiving(session, is_valid, [&](Session& user) {
      return user.receive_many(count, got, [&](DWORD index, const Slot& slot) {
        packets[index] = slot.data;
        sizes[index] = slot.size;
      });
    });
    if (code != ERROR_SUCCESS) set_last_error(code);
    return got;
  }

  static void WINAPI release_receive_packets(WINTUN_SESSION_HANDLE session, BYTE* const* packets,
                                             DWORD count) noexcept {
    const DWORD code = receiving(session, packets != nullptr || count == 0, [&](Session& user) {
      return for_each(packets, count, [&](const BYTE* packet) { return user.release(packet); });
    });
    if (code != ERROR_SUCCESS) set_last_error(code);
  }

  static DWORD WINAPI allocate_send_packets(WINTUN_SESSION_HANDLE session, const DWORD* sizes, BYTE** packets,
                                            DWORD count) noexcept {
    DWORD got = 0;
    bool is_valid = packets != nullptr && sizes != nullptr && count != 0;
    for (DWORD i = 0; is_valid && i < count; ++i) is_valid = is_packet_size(sizes[i]);
    const DWORD code = sending(session, is_valid, [&](Session& user) {
      for (Slot slot; got < count; ++got) {
        const DWORD allocated = user.allocate(sizes[got], slot);
        if (allocated != ERROR_SUCCESS) return got == 0 ? allocated : DWORD{ERROR_SUCCESS};
        packets[got] = slot.data;
      }
      return DWORD{ERROR_SUCCESS};
    });
    if (code != ERROR_SUCCESS) set_last_error(code);
    return got;
  }

  static void WINAPI send_packets(WINTUN_SESSION_HANDLE session, BYTE* const* packets, DWORD count) noexcept {
    const DWORD code = sending(session, packets != nullptr || count == 0, [&](Session& user) {
      const DWORD submitted = for_each(packets, count, [&](const BYTE* packet) { return user.submit(packet); });
      user.pump_to_network();
      return submitted;
    });
    if (code != ERROR_SUCCESS) set_last_error(code);
  }

 private:
  static constexpr std::uint16_t kProprietaryVirtual = 53;  // the interface type of IANA's list
  static constexpr const char* kStale = "the handle is closed already, or is none of ours";

  // Never destroyed: threads may be inside until the process is gone.
  static Adapters<B>& adapters() {
    static Adapters<B>& all = *new Adapters<B>;
    return all;
  }
  static Sessions& sessions() { return sessions_; }
  inline static constinit Sessions sessions_;

  static HandleValue value_of(WINTUN_ADAPTER_HANDLE handle) { return reinterpret_cast<HandleValue>(handle); }
  static HandleValue value_of(WINTUN_SESSION_HANDLE handle) { return reinterpret_cast<HandleValue>(handle); }

  // An empty packet is no IP packet.
  static bool is_packet_size(DWORD size) { return size - 1 < kMaxPacketSize; }

  static void tell(WINTUN_LOGGER_LEVEL level, const std::string& text) noexcept { log(level, text); }
  static void fail(DWORD code, const char* text) noexcept {
    log(WINTUN_LOG_ERR, text);
    set_last_error(code);
  }

  static std::string checked(LPCWSTR text, const char* what) {
    if (text == nullptr) throw Failure(ERROR_INVALID_PARAMETER, std::string("the ") + what + " is null");
    auto utf8 = utf8_from_wide(text, WINTUN_MAX_ADAPTER_NAME - 1);
    if (!utf8) {
      throw Failure(ERROR_INVALID_PARAMETER,
                    std::string("the ") + what + " is longer than 127 characters, or is no Unicode text");
    }
    if (utf8->empty()) throw Failure(ERROR_INVALID_PARAMETER, std::string("the ") + what + " is empty");
    return *std::move(utf8);
  }

  // Runs what may throw. `who` is filled in by it as soon as the adapter's name is known.
  template <class Result, class Body>
  static Result guarded(const char* doing, const std::string& who, const Body& body) noexcept {
    try {
      return body();
    } catch (...) {
      return Result(failed(doing, who));
    }
  }

  static std::nullptr_t failed(const char* doing, const std::string& who) noexcept {
    DWORD code = ERROR_NOT_ENOUGH_MEMORY;
    try {
      std::string why;
      code = code_of_current_exception(why);
      log(WINTUN_LOG_ERR,
          doing + (who.empty() ? std::string(" an adapter") : " adapter \"" + who + "\"") + ": " + why);
    } catch (...) {
      // No memory to say it; the code does.
    }
    set_last_error(code);
    return nullptr;
  }

  template <class Body>
  static bool with_adapter(const char* doing, WINTUN_ADAPTER_HANDLE adapter, const void* result,
                           const Body& body) noexcept {
    std::string who;
    return guarded<bool>(doing, who, [&] {
      if (adapter == nullptr || result == nullptr) {
        throw Failure(ERROR_INVALID_PARAMETER, adapter == nullptr ? "the handle is null" : "the result is null");
      }
      const auto user = adapters().user(value_of(adapter));
      if (!user) throw Failure(ERROR_INVALID_HANDLE, kStale);
      body(user);
      return true;
    });
  }

  template <class Body>
  static DWORD for_each(BYTE* const* packets, DWORD count, const Body& body) {
    DWORD worst = ERROR_SUCCESS;
    for (DWORD i = 0; i < count; ++i) {
      const DWORD code = body(packets[i]);
      if (code != ERROR_SUCCESS) worst = code;
    }
    return worst;
  }

  template <class Body>
  static DWORD receiving(WINTUN_SESSION_HANDLE session, bool is_valid, const Body& body) {
    return in_session("receiving", session, is_valid, body,
                      [](HandleValue handle) { return sessions().receiver(handle); });
  }
  template <class Body>
  static DWORD sending(WINTUN_SESSION_HANDLE session, bool is_valid, const Body& body) {
    return in_session("sending", session, is_valid, body,
                      [](HandleValue handle) { return sessions().sender(handle); });
  }

  // Looks the session up and locks it. What goes wrong beyond an empty or a full ring is told once a session.
  template <class Body, class Enter>
  static DWORD in_session(const char* doing, WINTUN_SESSION_HANDLE session, bool is_valid, const Body& body,
                          const Enter& enter) {
    if (session == nullptr) return ERROR_INVALID_PARAMETER;
    std::shared_ptr<void> owner;
    DWORD code = ERROR_INVALID_PARAMETER;
    {
      const auto user = enter(value_of(session));
      if (!user) return ERROR_INVALID_HANDLE;
      if (is_valid) code = body(*user);
      if (code == ERROR_SUCCESS || code == ERROR_NO_MORE_ITEMS || code == ERROR_BUFFER_OVERFLOW) [[likely]] {
        return code;
      }
      if (!is_logging() || !user->first_time(reason_bit(code))) return code;
      owner = user->owner;
    }
    complain(doing, static_cast<const Adapter<B>*>(owner.get())->name(), code);
    return code;
  }

  static constexpr std::uint32_t reason_bit(DWORD code) {
    return code == ERROR_HANDLE_EOF ? 1 : code == ERROR_INVALID_DATA ? 2 : 4;
  }

  static void complain(const char* doing, const std::string& who, DWORD code) noexcept try {
    const char* why = "a packet that is not lent (released or sent twice?), a size out of range, or a null pointer";
    if (code == ERROR_HANDLE_EOF) why = "the driver has ended: the adapter is closed, or its interface is gone";
    if (code == ERROR_INVALID_DATA) why = "the ring holds what cannot be, so the session is over";
    tell(code == ERROR_HANDLE_EOF ? WINTUN_LOG_WARN : WINTUN_LOG_ERR,
         std::string(doing) + " on adapter \"" + who + "\": " + why);
  } catch (...) {
    // No memory to say it; the code does.
  }
};

}  // namespace wintun
