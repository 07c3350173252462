// Ending against whoever is inside: nobody is cut off, nothing is freed under a caller, and it happens once.
// FakeTest checks after each test that no call reached the library's session when it was over.
#include <gmock/gmock.h>

#include <atomic>

#include "fake_library.hpp"
#include "session/device.hpp"
#include "threads.hpp"

namespace wintun {
namespace {

class CloseTest : public FakeTest {
 protected:
  Device device{{.name = "Close", .library = library}};
};

TEST_F(CloseTest, down_waits_for_a_caller_that_is_inside_the_library) {
  device.up();
  std::atomic<bool> inside = false;
  int ended_meanwhile = -1;
  world().in_receive = [&] {
    inside = true;
    until([&] { return !device.is_up(); });
    const std::lock_guard lock(world().mutex);
    ended_meanwhile = world().sessions_ended;
  };
  Threads threads;
  threads.run([&] {
    Packet packet;
    EXPECT_EQ(device.receive(packet), IoStatus::empty);
  });
  until([&] { return inside.load(); });
  device.down();
  threads.join();
  EXPECT_EQ(ended_meanwhile, 0);
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_F(CloseTest, a_packet_that_comes_while_going_down_is_lent_all_the_same) {
  device.up();
  world().deliver(ipv4_packet(20, 5));
  std::atomic<bool> inside = false;
  world().in_receive = [&] {
    inside = true;
    until([&] { return !device.is_up(); });
  };
  Packet packet;
  Threads threads;
  threads.run([&] { EXPECT_EQ(device.receive(packet), IoStatus::ok); });
  until([&] { return inside.load(); });
  device.down();
  threads.join();
  EXPECT_EQ(world().sessions_ended, 0);
  EXPECT_THAT(packet.bytes(), testing::ElementsAreArray(ipv4_packet(20, 5)));
  device.release(packet);
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_F(CloseTest, closing_from_many_threads_ends_and_closes_once_before_any_returns) {
  device.up();
  std::atomic<int> closes = 0;
  world().in_close = [&] { ++closes; };
  Threads threads;
  for (int i = 0; i < 6; ++i) {
    threads.run([&] {
      device.close();
      EXPECT_EQ(closes.load(), 1);
    });
  }
  threads.join();
  EXPECT_EQ(world().sessions_ended, 1);
  EXPECT_EQ(world().adapters, 0);
}

TEST_F(CloseTest, close_tells_waiters_that_the_device_is_closed_and_down_that_it_is_not_up) {
  for (const bool closing : {false, true}) {
    device.up();
    const std::uint64_t before = device.statistics().waits;
    IoStatus answer = IoStatus::ok;
    Threads threads;
    threads.run([&] { answer = device.wait(std::nullopt); });
    until([&] { return device.statistics().waits == before + 1; });
    closing ? device.close() : device.down();
    threads.join();
    EXPECT_EQ(answer, closing ? IoStatus::closed : IoStatus::not_up);
  }
}

TEST_F(CloseTest, the_adapter_goes_with_close_though_a_packet_is_lent) {
  device.up();
  world().deliver(ipv4_packet(20, 5));
  Packet packet;
  ASSERT_EQ(device.receive(packet), IoStatus::ok);
  device.close();
  EXPECT_EQ(world().adapters, 0);
  EXPECT_EQ(world().sessions_ended, 0);
  EXPECT_THAT(packet.bytes(), testing::ElementsAreArray(ipv4_packet(20, 5)));
  device.release(packet);
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_F(CloseTest, up_waits_for_a_session_that_its_last_packet_is_just_ending) {
  device.up();
  world().deliver(ipv4_packet(20, 5));
  Packet packet;
  ASSERT_EQ(device.receive(packet), IoStatus::ok);
  device.down();
  std::atomic<bool> ending = false, asked = false;
  world().in_end = [&] {
    ending = true;
    until([&] { return asked.load(); });
  };
  Threads threads;
  threads.run([&] { device.release(packet); });
  until([&] { return ending.load(); });
  asked = true;
  device.up();
  EXPECT_TRUE(device.is_up());
  threads.join();
  EXPECT_EQ(world().sessions, 2);
  world().in_end = {};
}

// Readers, writers and waiters go on all the time; another thread brings the device up and down under them.
TEST_F(CloseTest, going_up_and_down_under_everybody_loses_no_session_and_no_packet) {
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> received = 0, written = 0;
  Threads threads;
  for (int i = 0; i < 2; ++i) {
    threads.run([&] {
      std::vector<Packet> packets(8);
      while (!stop) {
        std::size_t count = 0;
        if (device.receive(packets[0]) == IoStatus::ok) {
          ++received;
          device.release(packets[0]);
        }
        if (device.receive_many(packets, count) == IoStatus::ok) {
          received += count;
          device.release_many(std::span(packets).first(count));
        }
        (void)device.wait(std::chrono::steady_clock::now() + std::chrono::microseconds(50));
      }
    });
  }
  threads.run([&] {
    const Bytes bytes = ipv4_packet(100, 1);
    Packet packet;
    while (!stop) {
      if (device.write(bytes) == IoStatus::ok) ++written;
      if (device.allocate(10, packet) == IoStatus::ok && device.send(packet) == IoStatus::ok) ++written;
      device.cancel_read();
      world().deliver(ipv4_packet(20, 1));
      (void)device.statistics();
      (void)device.wait_handle();
    }
  });
  int rounds = 0;
  for (; rounds < 200; ++rounds) {
    for (bool is_up = false; !is_up;) {
      try {
        device.up();
        is_up = true;
      } catch (const std::system_error& error) {  // a packet of the last session is still lent for a moment
        ASSERT_EQ(error.code(), std::errc::device_or_resource_busy);
      }
    }
    std::this_thread::yield();
    device.down();
  }
  stop = true;
  threads.join();
  device.close();
  EXPECT_EQ(world().sessions, rounds);
  EXPECT_EQ(world().sessions_ended, rounds);
  EXPECT_EQ(world().strangers, 0);
  EXPECT_EQ(device.statistics().received_packets, received);
  EXPECT_EQ(device.statistics().sent_packets, written);
  EXPECT_EQ(world().sent.size(), written);
}

// Who brings the last packet back, and who ends the session, is decided between the two in any order: one of them
// ends the library's session, once.
TEST_F(CloseTest, the_last_release_and_the_end_agree_on_who_ends_the_session) {
  for (int round = 0; round < 300; ++round) {
    device.up();
    world().deliver(ipv4_packet(20, 1));
    Packet packet;
    ASSERT_EQ(device.receive(packet), IoStatus::ok);
    std::atomic<int> ready = 0;
    Threads threads;
    threads.run([&] {
      ++ready;
      until([&] { return ready == 2; });
      device.release(packet);
    });
    ++ready;
    until([&] { return ready == 2; });
    device.down();
    threads.join();
    ASSERT_EQ(world().sessions_ended, round + 1);
  }
}

}  // namespace
}  // namespace wintun
