#include "fake_library.hpp"

#include <algorithm>

namespace wintun {
namespace {

std::unique_ptr<FakeWorld> the_world;
thread_local DWORD error_of_thread = 0;

const auto kSession = reinterpret_cast<WINTUN_SESSION_HANDLE>(0x5E55);

WINTUN_ADAPTER_HANDLE new_adapter() {
  return reinterpret_cast<WINTUN_ADAPTER_HANDLE>(static_cast<std::intptr_t>(0x100 + ++world().adapters));
}

DWORD next(std::deque<DWORD>& script) {
  if (script.empty()) return 0;
  const DWORD error = script.front();
  script.pop_front();
  return error;
}

void run(const std::function<void()> FakeWorld::*hook) {
  std::function<void()> copy;
  {
    const std::lock_guard lock(world().mutex);
    copy = world().*hook;
  }
  if (copy) copy();
}

// A failing call of this library says its line before it answers, as the published one does.
std::nullptr_t fail(DWORD error) {
  if (!world().complaint.empty()) world().log(WINTUN_LOG_ERR, world().complaint.c_str());
  error_of_thread = error;
  return nullptr;
}

WINTUN_ADAPTER_HANDLE create_adapter(LPCWSTR name, LPCWSTR type, const GUID* guid) {
  const std::lock_guard lock(world().mutex);
  if (const DWORD error = next(world().create_errors)) return fail(error);
  if (!world().names.insert(name).second) return fail(ERROR_ALREADY_EXISTS);
  world().guids.push_back(*guid);
  world().tunnel_type = type;
  return new_adapter();
}

WINTUN_ADAPTER_HANDLE open_adapter(LPCWSTR) {
  const std::lock_guard lock(world().mutex);
  if (const DWORD error = next(world().open_errors)) return fail(error);
  ++world().opened;
  return new_adapter();
}

void close_adapter(WINTUN_ADAPTER_HANDLE) {
  run(&FakeWorld::in_close);
  const std::lock_guard lock(world().mutex);
  --world().adapters;
  world().names.clear();
}

BOOL delete_driver() { return TRUE; }

void get_adapter_luid(WINTUN_ADAPTER_HANDLE, NET_LUID* luid) {
  luid->Value = 0;
  luid->Info.NetLuidIndex = 77;
  luid->Info.IfType = 53;
}

DWORD get_running_driver_version() {
  const std::lock_guard lock(world().mutex);
  if (world().driver_version == 0) fail(ERROR_FILE_NOT_FOUND);
  return world().driver_version;
}

void set_logger(WINTUN_LOGGER_CALLBACK logger) { world().logger = logger; }

WINTUN_SESSION_HANDLE start_session(WINTUN_ADAPTER_HANDLE, DWORD capacity) {
  run(&FakeWorld::in_start);
  const std::lock_guard lock(world().mutex);
  if (const DWORD error = next(world().start_errors)) return fail(error);
  if (world().session_open) return fail(ERROR_ALREADY_INITIALIZED);
  world().session_open = true;
  world().capacity = capacity;
  world().read_event = std::make_unique<Event>();
  ++world().sessions;
  return kSession;
}

void end_session(WINTUN_SESSION_HANDLE) {
  run(&FakeWorld::in_end);
  const std::lock_guard lock(world().mutex);
  if (!world().session_open) ++world().calls_after_end;
  world().session_open = false;
  ++world().sessions_ended;
  world().lent.clear();
  world().allocated.clear();
  world().inbound.clear();
  world().read_event.reset();
}

HANDLE get_read_wait_event(WINTUN_SESSION_HANDLE) {
  const std::lock_guard lock(world().mutex);
  if (const DWORD error = next(world().wait_event_errors)) return fail(error);
  return reinterpret_cast<HANDLE>(world().read_event->handle());
}

BYTE* receive_locked(DWORD* size) {
  FakeWorld& all = world();
  if (!all.session_open) ++all.calls_after_end;
  if (all.inbound.empty()) return fail(all.receive_error);
  all.lent.push_back(std::move(all.inbound.front()));
  all.inbound.pop_front();
  if (all.inbound.empty()) all.read_event->reset();
  *size = static_cast<DWORD>(all.lent.back().size());
  return all.lent.back().data();
}

BYTE* receive_packet(WINTUN_SESSION_HANDLE, DWORD* size) {
  run(&FakeWorld::in_receive);
  const std::lock_guard lock(world().mutex);
  return receive_locked(size);
}

void release_locked(const BYTE* packet) {
  FakeWorld& all = world();
  if (!all.session_open) ++all.calls_after_end;
  const auto found = std::find_if(all.lent.begin(), all.lent.end(), [=](auto& one) { return one.data() == packet; });
  if (found == all.lent.end()) {
    ++all.strangers;
  } else {
    all.lent.erase(found);
  }
}

void release_receive_packet(WINTUN_SESSION_HANDLE, const BYTE* packet) {
  const std::lock_guard lock(world().mutex);
  release_locked(packet);
}

BYTE* allocate_locked(DWORD size) {
  FakeWorld& all = world();
  if (!all.session_open) ++all.calls_after_end;
  if (all.room == 0) return fail(ERROR_BUFFER_OVERFLOW);
  --all.room;
  all.allocated.emplace_back(size);
  return all.allocated.back().data();
}

BYTE* allocate_send_packet(WINTUN_SESSION_HANDLE, DWORD size) {
  run(&FakeWorld::in_allocate);
  const std::lock_guard lock(world().mutex);
  return allocate_locked(size);
}

void send_locked(const BYTE* packet) {
  FakeWorld& all = world();
  const auto found =
      std::find_if(all.allocated.begin(), all.allocated.end(), [=](auto& one) { return one.data() == packet; });
  if (found == all.allocated.end()) {
    ++all.strangers;
    return;
  }
  all.sent.push_back(std::move(*found));
  all.allocated.erase(found);
  if (all.frees_room_on_send) ++all.room;
}

void send_packet(WINTUN_SESSION_HANDLE, const BYTE* packet) {
  const std::lock_guard lock(world().mutex);
  send_locked(packet);
}

DWORD receive_packets(WINTUN_SESSION_HANDLE, BYTE** packets, DWORD* sizes, DWORD count) {
  const std::lock_guard lock(world().mutex);
  ++world().batch_calls;
  DWORD got = 0;
  while (got < count && (packets[got] = receive_locked(&sizes[got])) != nullptr) ++got;
  return got;
}

void release_receive_packets(WINTUN_SESSION_HANDLE, BYTE* const* packets, DWORD count) {
  const std::lock_guard lock(world().mutex);
  ++world().batch_calls;
  std::for_each(packets, packets + count, release_locked);
}

DWORD allocate_send_packets(WINTUN_SESSION_HANDLE, const DWORD* sizes, BYTE** packets, DWORD count) {
  const std::lock_guard lock(world().mutex);
  ++world().batch_calls;
  DWORD got = 0;
  while (got < count && (packets[got] = allocate_locked(sizes[got])) != nullptr) ++got;
  return got;
}

void send_packets(WINTUN_SESSION_HANDLE, BYTE* const* packets, DWORD count) {
  const std::lock_guard lock(world().mutex);
  ++world().batch_calls;
  std::for_each(packets, packets + count, send_locked);
}

BOOL get_statistics(WINTUN_ADAPTER_HANDLE, WINTUN_STATISTICS* statistics) {
  const std::lock_guard lock(world().mutex);
  *statistics = world().driver;
  return TRUE;
}

DWORD get_last_error() { return error_of_thread; }

}  // namespace

FakeWorld& world() { return *the_world; }

void FakeWorld::deliver(Bytes packet) {
  const std::lock_guard lock(mutex);
  if (!session_open) return;
  inbound.push_back(std::move(packet));
  read_event->set();
}

void FakeWorld::log(WINTUN_LOGGER_LEVEL level, const wchar_t* text) {
  if (logger != nullptr) logger(level, 1, text);
}

FakeLibrary::FakeLibrary(bool batches) {
  functions_ = {create_adapter,
                open_adapter,
                close_adapter,
                delete_driver,
                get_adapter_luid,
                get_running_driver_version,
                set_logger,
                start_session,
                end_session,
                get_read_wait_event,
                receive_packet,
                release_receive_packet,
                allocate_send_packet,
                send_packet,
                batches ? receive_packets : nullptr,
                batches ? release_receive_packets : nullptr,
                batches ? allocate_send_packets : nullptr,
                batches ? send_packets : nullptr,
                batches ? get_statistics : nullptr,
                get_last_error,
                nullptr};
}

FakeTest::FakeTest() { the_world = std::make_unique<FakeWorld>(); }

FakeTest::~FakeTest() {
  // Whatever a test did, no call reached a session that was over.
  EXPECT_EQ(world().calls_after_end, 0);
  the_world.reset();
}

Bytes ipv4_packet(std::size_t size, std::uint8_t mark) {
  Bytes packet(size, mark);
  packet[0] = 0x45;
  return packet;
}

}  // namespace wintun
