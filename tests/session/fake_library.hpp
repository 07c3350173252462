// A Wintun library that is no library: its functions follow a script, so that a session meets a foreign library's
// habits - no batches, any error, slow calls, a packet's memory gone when its session ends. One world at a time,
// since the ABI's functions carry no context; FakeTest makes it anew for each test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "platform/event.hpp"
#include "session/library.hpp"

namespace wintun {

using Bytes = std::vector<std::uint8_t>;

struct FakeWorld {
  std::mutex mutex;  // of everything that follows

  // The script. An error that is 0 lets the call pass.
  std::deque<DWORD> create_errors, open_errors, start_errors, wait_event_errors;
  DWORD receive_error = ERROR_NO_MORE_ITEMS;  // of an empty queue
  std::size_t room = 1000;                    // packets that can be allocated before `full`
  bool frees_room_on_send = true;
  DWORD driver_version = 14;
  std::wstring complaint;  // is logged as an error by each call that fails
  std::function<void()> in_receive, in_end, in_close, in_start, in_allocate;  // run in the call, without the mutex
  WINTUN_STATISTICS driver{};

  // What happened.
  WINTUN_LOGGER_CALLBACK logger = nullptr;
  std::set<std::wstring> names;
  std::vector<GUID> guids;
  std::wstring tunnel_type;
  int adapters = 0, opened = 0, sessions = 0, sessions_ended = 0;
  DWORD capacity = 0;
  std::deque<Bytes> inbound;
  std::list<Bytes> lent;       // received and not released
  std::list<Bytes> allocated;  // not sent yet
  std::vector<Bytes> sent;
  int strangers = 0;  // given back without being lent
  int batch_calls = 0, calls_after_end = 0;
  std::unique_ptr<Event> read_event;
  bool session_open = false;

  // From any thread: a packet from the network.
  void deliver(Bytes packet);
  void log(WINTUN_LOGGER_LEVEL level, const wchar_t* text);
};

FakeWorld& world();

class FakeLibrary : public Library {
 public:
  explicit FakeLibrary(bool batches);
};

class FakeTest : public testing::Test {
 protected:
  FakeTest();
  ~FakeTest() override;
  std::shared_ptr<const Library> library = std::make_shared<FakeLibrary>(true);
  std::shared_ptr<const Library> foreign = std::make_shared<FakeLibrary>(false);
};

Bytes ipv4_packet(std::size_t size, std::uint8_t mark);

}  // namespace wintun
