// A Wintun library: a table of the published functions, linked into this program or found in a file. Any thread.
// Which driver is behind it is the library's affair. Batch functions are ours: null where a library lacks them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "wintun.h"

namespace wintun {

struct Functions {
  WINTUN_CREATE_ADAPTER_FUNC* create_adapter;
  WINTUN_OPEN_ADAPTER_FUNC* open_adapter;
  WINTUN_CLOSE_ADAPTER_FUNC* close_adapter;
  WINTUN_DELETE_DRIVER_FUNC* delete_driver;
  WINTUN_GET_ADAPTER_LUID_FUNC* get_adapter_luid;
  WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC* get_running_driver_version;
  WINTUN_SET_LOGGER_FUNC* set_logger;
  WINTUN_START_SESSION_FUNC* start_session;
  WINTUN_END_SESSION_FUNC* end_session;
  WINTUN_GET_READ_WAIT_EVENT_FUNC* get_read_wait_event;
  WINTUN_RECEIVE_PACKET_FUNC* receive_packet;
  WINTUN_RELEASE_RECEIVE_PACKET_FUNC* release_receive_packet;
  WINTUN_ALLOCATE_SEND_PACKET_FUNC* allocate_send_packet;
  WINTUN_SEND_PACKET_FUNC* send_packet;
  // Ours, each may be null (wintun.h says what they do).
  WINTUN_RECEIVE_PACKETS_FUNC* receive_packets;
  WINTUN_RELEASE_RECEIVE_PACKETS_FUNC* release_receive_packets;
  WINTUN_ALLOCATE_SEND_PACKETS_FUNC* allocate_send_packets;
  WINTUN_SEND_PACKETS_FUNC* send_packets;
  WINTUN_GET_STATISTICS_FUNC* get_statistics;
  // Outside Windows a library that was loaded keeps the last error itself. Null: GetLastError of this program.
  DWORD(WINAPI* get_last_error)(void);
  // Of generations 0.8 to 0.13, and ours.
  WINTUN_OPEN_ADAPTER_DEVICE_OBJECT_FUNC* open_adapter_device_object;
};

class Library {
 public:
  virtual ~Library() = default;  // cold: one object a library, never on a packet's path
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  static std::shared_ptr<const Library> linked();                       // ours, in this program
  static std::shared_ptr<const Library> load(const std::string& path);  // stays loaded; throws std::system_error

  const Functions& functions() const { return functions_; }
  const std::string& path() const { return path_; }  // empty for the linked one
  // Whether its adapters are interfaces of the operating system.
  bool has_interfaces() const { return has_interfaces_; }

  // The version of the loaded driver, major << 16 | minor; std::system_error (not found) without one.
  std::uint32_t driver_version() const;

 protected:
  Library() = default;
  Functions functions_{};
  std::string path_;
  bool has_interfaces_ = true;
};

}  // namespace wintun
