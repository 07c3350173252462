// The ABI over a driver that misbehaves on request: what a kernel's TUN cannot be made to do.
#include <gmock/gmock.h>
#include <poll.h>

#include <thread>
#include <utility>

#include "fake_driver.hpp"
#include "log_lines.hpp"

namespace wintun {
namespace {

using Abi = Api<FakeBackend<false>>;
using PushAbi = Api<FakeBackend<true>>;

bool is_readable(HANDLE event, int milliseconds = 0) {
  pollfd watched{static_cast<int>(reinterpret_cast<std::intptr_t>(event)), POLLIN, 0};
  return poll(&watched, 1, milliseconds) == 1;
}

template <class A>
class OpenSession {
 public:
  explicit OpenSession(DWORD capacity = WINTUN_MIN_RING_CAPACITY) {
    reset_world();
    set_last_error(ERROR_SUCCESS);
    adapter = A::create_adapter(L"fake", L"test", nullptr);
    session = A::start_session(adapter, capacity);
    EXPECT_NE(session, nullptr);
  }
  ~OpenSession() {
    A::end_session(session);
    A::close_adapter(adapter);
    EXPECT_EQ(world().connected, 0);
  }
  OpenSession(const OpenSession&) = delete;
  OpenSession& operator=(const OpenSession&) = delete;

  BYTE* receive() {
    set_last_error(ERROR_SUCCESS);
    return A::receive_packet(session, &size);
  }
  BYTE* allocate(DWORD bytes) {
    set_last_error(ERROR_SUCCESS);
    return A::allocate_send_packet(session, bytes);
  }
  bool readable() const { return is_readable(A::get_read_wait_event(session)); }

  WINTUN_ADAPTER_HANDLE adapter = nullptr;
  WINTUN_SESSION_HANDLE session = nullptr;
  DWORD size = 0;
};
using Pulled = OpenSession<Abi>;
using Pushed = OpenSession<PushAbi>;

TEST(FakeDriverTest, errors_of_the_driver_become_last_errors_and_leave_nothing_behind) {
  const struct {
    int platform;
    DWORD windows;
  } kCases[] = {
      {EPERM, ERROR_ACCESS_DENIED},      {EACCES, ERROR_ACCESS_DENIED},       {ENOENT, ERROR_FILE_NOT_FOUND},
      {ENODEV, ERROR_FILE_NOT_FOUND},    {EEXIST, ERROR_ALREADY_EXISTS},      {EBUSY, ERROR_ALREADY_EXISTS},
      {ENOMEM, ERROR_NOT_ENOUGH_MEMORY}, {EMFILE, ERROR_TOO_MANY_OPEN_FILES}, {EIO, ERROR_GEN_FAILURE}};
  reset_world();
  for (const auto& c : kCases) {
    world().make_error = c.platform;
    EXPECT_EQ(Abi::create_adapter(L"fake", L"test", nullptr), nullptr);
    EXPECT_EQ(last_error(), c.windows) << c.platform;
    world().make_error = c.platform;
    EXPECT_EQ(Abi::open_adapter(L"fake"), nullptr);
    EXPECT_EQ(last_error(), c.windows) << c.platform;
  }
  const auto adapter = Abi::create_adapter(L"fake", L"test", nullptr);
  ASSERT_NE(adapter, nullptr);
  for (const auto& c : kCases) {
    world().connect_error = c.platform;
    EXPECT_EQ(Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
    EXPECT_EQ(last_error(), c.windows) << c.platform;
  }
  const auto session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
  EXPECT_NE(session, nullptr);
  Abi::end_session(session);
  Abi::close_adapter(adapter);
}

TEST(FakeDriverTest, a_missing_driver_has_no_version) {
  reset_world();
  EXPECT_EQ(Abi::get_running_driver_version(), kVersion);
  world().is_present = false;
  EXPECT_EQ(Abi::get_running_driver_version(), 0u);
  EXPECT_EQ(last_error(), ERROR_FILE_NOT_FOUND);
}

TEST(FakeDriverTest, a_driver_without_a_descriptor_has_no_device_object) {
  Pushed abi;
  EXPECT_EQ(PushAbi::open_adapter_device_object(abi.adapter), INVALID_HANDLE_VALUE);
  EXPECT_EQ(last_error(), ERROR_NOT_SUPPORTED);
}

TEST(FakeDriverTest, a_packet_is_pumped_only_when_one_is_wanted) {
  Pulled abi;
  for (std::uint8_t i = 1; i <= 3; ++i) network_sends(Bytes(i, i));
  BYTE* const first = abi.receive();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(abi.size, 1u);
  EXPECT_EQ(world().from_network.size(), 2u);
  Abi::release_receive_packet(abi.session, first);
}

TEST(FakeDriverTest, the_event_stays_readable_while_a_burst_is_in_the_ring_alone) {
  Pulled abi;
  EXPECT_FALSE(abi.readable());
  world().brings_a_burst = true;
  for (int i = 0; i < 3; ++i) network_sends(Bytes(20, 0x45));
  EXPECT_TRUE(abi.readable());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(abi.readable()) << i;
    BYTE* const packet = abi.receive();
    ASSERT_NE(packet, nullptr);
    EXPECT_TRUE(world().from_network.empty());
    Abi::release_receive_packet(abi.session, packet);
  }
  EXPECT_EQ(abi.receive(), nullptr);
  EXPECT_EQ(last_error(), ERROR_NO_MORE_ITEMS);
  EXPECT_FALSE(abi.readable());
}

TEST(FakeDriverTest, a_pushing_driver_is_heard_and_its_event_falls_when_all_is_read) {
  Pushed abi;
  EXPECT_FALSE(abi.readable());
  EXPECT_TRUE(FakeBackend<true>::made->push(Bytes(20, 1)));
  EXPECT_TRUE(FakeBackend<true>::made->push(Bytes(21, 2)));
  for (DWORD size = 20; size <= 21; ++size) {
    EXPECT_TRUE(abi.readable());
    BYTE* const packet = abi.receive();
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(abi.size, size);
    PushAbi::release_receive_packet(abi.session, packet);
  }
  EXPECT_EQ(abi.receive(), nullptr);
  EXPECT_EQ(last_error(), ERROR_NO_MORE_ITEMS);
  EXPECT_FALSE(abi.readable());
}

TEST(FakeDriverTest, the_event_of_a_single_pushed_packet_falls_too) {
  Pushed abi;
  EXPECT_TRUE(FakeBackend<true>::made->push(Bytes(20, 1)));
  BYTE* const packet = abi.receive();
  ASSERT_NE(packet, nullptr);
  PushAbi::release_receive_packet(abi.session, packet);
  EXPECT_EQ(abi.receive(), nullptr);
  EXPECT_FALSE(abi.readable());
}

TEST(FakeDriverTest, packets_that_come_while_the_event_falls_are_not_forgotten) {
  Pushed abi;
  world().at_pump = [] {
    EXPECT_TRUE(FakeBackend<true>::made->push(Bytes(20, 1)));
    EXPECT_TRUE(FakeBackend<true>::made->push(Bytes(21, 2)));
  };
  BYTE* const first = abi.receive();
  world().at_pump = nullptr;
  ASSERT_NE(first, nullptr);
  EXPECT_TRUE(abi.readable());
  BYTE* const second = abi.receive();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(abi.size, 21u);
}

TEST(FakeDriverTest, a_reader_that_waits_for_a_pushing_driver_misses_nothing) {
  Pushed abi;
  constexpr int kPackets = 20000;
  std::thread pusher([&] {
    for (int i = 0; i < kPackets;) {
      if (FakeBackend<true>::made->push(Bytes(20, 1))) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  const HANDLE event = PushAbi::get_read_wait_event(abi.session);
  for (int got = 0; got < kPackets;) {
    if (BYTE* const packet = abi.receive(); packet != nullptr) {
      ++got;
      PushAbi::release_receive_packet(abi.session, packet);
    } else {
      ASSERT_TRUE(is_readable(event, 60000)) << got;
    }
  }
  pusher.join();
}

TEST(FakeDriverTest, a_full_ring_is_told_and_goes_on_when_the_network_takes_again) {
  Pulled abi;
  world().takes_packets = false;
  int sent = 0;
  while (BYTE* const packet = abi.allocate(1000)) {
    packet[0] = 0x45;
    Abi::send_packet(abi.session, packet);
    ++sent;
  }
  EXPECT_EQ(last_error(), ERROR_BUFFER_OVERFLOW);
  EXPECT_GT(sent, 100);
  world().takes_packets = true;
  BYTE* const packet = abi.allocate(1000);
  ASSERT_NE(packet, nullptr);
  Abi::send_packet(abi.session, packet);
  EXPECT_EQ(world().to_network.size(), static_cast<std::size_t>(sent) + 1);
}

TEST(FakeDriverTest, a_ring_full_of_lent_packets_holds_the_rest_back_in_the_driver) {
  Pulled abi;
  for (int i = 0; i < 4; ++i) network_sends(Bytes(0xFFFF, 0x45));
  BYTE* const first = abi.receive();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(abi.receive(), nullptr);  // 0x20000 bytes hold one of 0x10004 and no second
  EXPECT_EQ(last_error(), ERROR_NO_MORE_ITEMS);
  EXPECT_EQ(world().from_network.size(), 3u);
  Abi::release_receive_packet(abi.session, first);
  BYTE* const second = abi.receive();
  EXPECT_NE(second, nullptr);
  Abi::release_receive_packet(abi.session, second);
}

TEST(FakeDriverTest, packets_in_the_ring_come_before_the_drivers_end) {
  Pulled abi;
  world().brings_a_burst = true;
  network_sends(Bytes(20, 1));
  network_sends(Bytes(20, 2));
  BYTE* const first = abi.receive();
  world().is_gone = true;
  BYTE* const second = abi.receive();
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  Abi::release_receive_packet(abi.session, second);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(abi.receive(), nullptr);
    EXPECT_EQ(last_error(), ERROR_HANDLE_EOF);
  }
  EXPECT_EQ(first[0], 1);
  Abi::release_receive_packet(abi.session, first);
  EXPECT_EQ(last_error(), ERROR_HANDLE_EOF);  // not touched by a release that succeeds
  EXPECT_TRUE(abi.readable());
  EXPECT_EQ(abi.allocate(20), nullptr);
  EXPECT_EQ(last_error(), ERROR_HANDLE_EOF);
}

TEST(FakeDriverTest, a_send_that_finds_the_driver_gone_ends_the_session) {
  Pulled abi;
  BYTE* const packet = abi.allocate(20);
  ASSERT_NE(packet, nullptr);
  world().is_gone = true;
  Abi::send_packet(abi.session, packet);
  EXPECT_EQ(last_error(), ERROR_SUCCESS);
  EXPECT_TRUE(abi.readable());
  EXPECT_EQ(abi.receive(), nullptr);
  EXPECT_EQ(last_error(), ERROR_HANDLE_EOF);
}

TEST(FakeDriverTest, a_ring_that_cannot_be_ends_the_session_for_good) {
  for (const std::uint32_t tail : {2u, 0x1FFFEu}) {
    Pulled abi;
    const LogLines lines(&Abi::set_logger);
    world().rings.to_user->tail = tail;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(abi.receive(), nullptr);
      EXPECT_EQ(last_error(), ERROR_INVALID_DATA);
    }
    world().rings.to_user->tail = 0;
    EXPECT_EQ(abi.receive(), nullptr);
    EXPECT_EQ(last_error(), ERROR_INVALID_DATA);
    EXPECT_TRUE(abi.readable());
    EXPECT_EQ(abi.allocate(20), nullptr);
    EXPECT_EQ(last_error(), ERROR_INVALID_DATA);
    EXPECT_EQ(lines.count(WINTUN_LOG_ERR, L"\"fake\""), 1u) << "told once";
  }
}

TEST(FakeDriverTest, the_first_reason_of_a_sessions_end_stays) {
  Pulled abi;
  world().rings.to_user->tail = 2;
  EXPECT_EQ(abi.receive(), nullptr);
  Abi::close_adapter(std::exchange(abi.adapter, nullptr));
  EXPECT_EQ(abi.receive(), nullptr);
  EXPECT_EQ(last_error(), ERROR_INVALID_DATA);
}

TEST(FakeDriverTest, a_name_is_taken_in_the_process_wherever_its_interface_is) {
  Pulled abi;
  world().interfaces.clear();  // as a thread in another network namespace sees it
  EXPECT_EQ(Abi::create_adapter(L"fake", L"test", nullptr), nullptr);
  EXPECT_EQ(last_error(), ERROR_ALREADY_EXISTS);
}

TEST(FakeDriverTest, sessions_that_cannot_start_use_nothing_up) {
  reset_world();
  const auto adapter = Abi::create_adapter(L"fake", L"test", nullptr);
  for (std::size_t i = 0; i <= kSlots; ++i) {
    world().connect_error = EIO;
    ASSERT_EQ(Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
  }
  const auto session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
  EXPECT_NE(session, nullptr);
  Abi::end_session(session);
  Abi::close_adapter(adapter);
}

TEST(FakeDriverTest, a_stale_handle_is_none_of_those_that_came_after_it) {
  reset_world();
  const auto adapter = Abi::create_adapter(L"fake", L"test", nullptr);
  const auto stale_adapter = Abi::open_adapter(L"fake");
  Abi::close_adapter(stale_adapter);
  const auto stale_session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
  Abi::end_session(stale_session);
  DWORD size = 0;
  for (std::size_t i = 0; i <= kSlots; ++i) {  // every slot is used again
    const auto other = Abi::open_adapter(L"fake");
    const auto session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
    WINTUN_STATISTICS statistics;
    ASSERT_FALSE(Abi::get_statistics(stale_adapter, &statistics));
    ASSERT_EQ(last_error(), ERROR_INVALID_HANDLE);
    ASSERT_EQ(Abi::receive_packet(stale_session, &size), nullptr);
    ASSERT_EQ(last_error(), ERROR_INVALID_HANDLE);
    Abi::end_session(session);
    Abi::close_adapter(other);
  }
  Abi::close_adapter(adapter);
}

TEST(FakeDriverTest, a_head_that_cannot_be_ends_the_session) {
  Pulled abi;
  world().takes_packets = false;
  while (BYTE* const packet = abi.allocate(0xFFFF)) Abi::send_packet(abi.session, packet);
  EXPECT_EQ(last_error(), ERROR_BUFFER_OVERFLOW);
  world().rings.to_network->head = 6;
  EXPECT_EQ(abi.allocate(0xFFFF), nullptr);
  EXPECT_EQ(last_error(), ERROR_INVALID_DATA);
}

TEST(FakeDriverTest, a_consumer_that_has_ended_is_the_end_of_file) {
  Pulled abi;
  world().takes_packets = false;
  while (BYTE* const packet = abi.allocate(0xFFFF)) Abi::send_packet(abi.session, packet);
  world().rings.to_network->head = kEnded;
  EXPECT_EQ(abi.allocate(0xFFFF), nullptr);
  EXPECT_EQ(last_error(), ERROR_HANDLE_EOF);
}

TEST(FakeDriverTest, a_handle_of_another_family_of_drivers_is_refused) {
  Pulled abi;
  EXPECT_EQ(PushAbi::receive_packet(reinterpret_cast<WINTUN_SESSION_HANDLE>(abi.session), &abi.size), nullptr);
  EXPECT_EQ(last_error(), ERROR_INVALID_HANDLE);
  EXPECT_EQ(PushAbi::start_session(abi.adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
  EXPECT_EQ(last_error(), ERROR_INVALID_HANDLE);
}

TEST(FakeDriverTest, too_many_handles_are_refused_and_none_is_lost) {
  reset_world();
  std::vector<WINTUN_ADAPTER_HANDLE> handles{Abi::create_adapter(L"fake", L"test", nullptr)};
  while (const auto handle = Abi::open_adapter(L"fake")) handles.push_back(handle);
  EXPECT_EQ(last_error(), ERROR_NO_SYSTEM_RESOURCES);
  EXPECT_EQ(handles.size(), kSlots);
  for (const auto handle : handles) Abi::close_adapter(handle);
  EXPECT_TRUE(world().interfaces.empty());
  const auto again = Abi::create_adapter(L"fake", L"test", nullptr);
  EXPECT_NE(again, nullptr);
  Abi::close_adapter(again);
}

TEST(FakeDriverTest, a_persistent_interface_is_opened_and_stays) {
  reset_world();
  EXPECT_EQ(Abi::open_adapter(L"old"), nullptr);
  EXPECT_EQ(last_error(), ERROR_FILE_NOT_FOUND);
  world().interfaces = {"old", "other"};
  world().persistent = {"old"};
  EXPECT_EQ(Abi::create_adapter(L"old", L"test", nullptr), nullptr);
  EXPECT_EQ(last_error(), ERROR_ALREADY_EXISTS);
  EXPECT_EQ(Abi::open_adapter(L"other"), nullptr);
  EXPECT_EQ(last_error(), ERROR_ALREADY_EXISTS);
  const auto adapter = Abi::open_adapter(L"old");
  ASSERT_NE(adapter, nullptr);
  Abi::close_adapter(adapter);
  EXPECT_TRUE(world().interfaces.contains("old"));
}

TEST(FakeDriverTest, statistics_are_the_drivers) {
  Pulled abi;
  WINTUN_STATISTICS statistics{};
  EXPECT_TRUE(Abi::get_statistics(abi.adapter, &statistics));
  EXPECT_EQ(statistics.ToUserPackets, 1u);
  EXPECT_EQ(statistics.ToUserBytes, 2u);
  EXPECT_EQ(statistics.ToUserDrops, 3u);
  EXPECT_EQ(statistics.ToNetworkPackets, 4u);
  EXPECT_EQ(statistics.ToNetworkBytes, 5u);
  EXPECT_EQ(statistics.ToNetworkDrops, 6u);
}

}  // namespace
}  // namespace wintun
