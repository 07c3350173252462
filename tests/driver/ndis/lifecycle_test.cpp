// The life of an adapter and of a session, and that no packet moves where none may: before restart, after pause,
// asleep, without a session, after removal.
#include <atomic>
#include <thread>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

class LifecycleTest : public NdisTest {
 protected:
  // The status of one packet that is sent now.
  std::int32_t send_one() {
    (void)adapter().completions();
    adapter().send_packet(packet_of(50, 1));
    adapter().wait_for_sends();
    const auto completions = adapter().completions();
    return completions.size() == 1 ? completions[0].status : -1;
  }
  void connect() {
    rings_.emplace(program());
    device_ = open();
    ASSERT_EQ(enroll(device_, *rings_), kSuccess);
  }
  // The stack has one of the program's packets, until the test gives it back.
  void lend_one() {
    ASSERT_EQ(adapter().start(), kSuccess);
    connect();
    adapter().on_receive([](const kernel::Received&) { return false; });
    ASSERT_EQ(rings_->send(packet_of(60, 1)), RingStatus::ok);
    ASSERT_EQ(wait_kept(1).size(), 1U);
  }

  HANDLE device_ = nullptr;
  std::optional<ProgramRings> rings_;
};

TEST_F(LifecycleTest, loads_and_unloads_without_an_adapter) {}

TEST_F(LifecycleTest, starts_stops_and_starts_again) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(adapter().start(), kSuccess);
    connect();
    EXPECT_EQ(send_one(), kSuccess);
    adapter().stop();
  }
}

// Windows 7 has NDIS 6.20, and no memory that is not executable.
TEST_F(LifecycleTest, both_front_ends_serve_on_the_oldest_ndis) {
  program_.reset();
  adapter_.reset();
  driver_.reset();
  kernel_.reset();
  kernel_.emplace(kernel::Kernel::Options{false, 0x00060014});
  driver_.emplace(DriverEntry);
  adapter_.emplace(*driver_);
  program_.emplace();
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  EXPECT_EQ(send_one(), kSuccess);
  EXPECT_EQ(program().close(device_), kSuccess);
  std::uint8_t* const buffer = program().allocate(kMaxBundleSlot);
  const kernel::Request read = program().start_read(open(), buffer, kMaxBundleSlot);
  EXPECT_EQ(send_one(), kSuccess);
  EXPECT_EQ(read.wait().status, kSuccess);
}

TEST_F(LifecycleTest, the_oldest_ndis_is_6_20) {
  program_.reset();
  adapter_.reset();
  driver_.reset();
  for (const std::uint32_t version : {0x00060000U, 0x00060001U, 0x00060013U}) {
    kernel_.reset();
    kernel_.emplace(kernel::Kernel::Options{false, version});
    kernel::Driver refused(DriverEntry);
    EXPECT_FALSE(refused.is_loaded());
    EXPECT_EQ(refused.status(), kBadVersion);
  }
  for (const std::uint32_t version : {0x00060014U, 0x0006001EU, 0x00060050U, 0x00060053U, 0x00060059U}) {
    kernel_.reset();
    kernel_.emplace(kernel::Kernel::Options{false, version});
    kernel::Driver driver(DriverEntry);
    EXPECT_TRUE(driver.is_loaded()) << std::hex << version;
    kernel::Adapter adapter(driver);
    EXPECT_EQ(adapter.start(), kSuccess);
  }
}

TEST_F(LifecycleTest, each_adapter_has_a_device_by_the_index_of_its_luid) {
  kernel::Adapter::Options options;
  options.luid_index = 0xFFFFFF;
  kernel::Adapter other(*driver_, options);
  ASSERT_EQ(other.start(), kSuccess);
  ASSERT_EQ(adapter().start(), kSuccess);
  EXPECT_EQ(program().open(u"\\\\.\\Device\\RINGTUN1").status, kSuccess);
  const auto opened = program().open(u"\\\\.\\Global\\RINGTUN16777215");
  ASSERT_EQ(opened.status, kSuccess);
  ProgramRings rings(program());
  EXPECT_EQ(enroll(opened.handle, rings), kSuccess);
  EXPECT_TRUE(other.is_connected());
  EXPECT_FALSE(adapter().is_connected());
}

TEST_F(LifecycleTest, without_a_session_a_packet_is_told_that_the_media_is_disconnected) {
  ASSERT_EQ(adapter().start(), kSuccess);
  EXPECT_EQ(send_one(), NDIS_STATUS_MEDIA_DISCONNECTED);
}

TEST_F(LifecycleTest, a_session_made_before_restart_drops_until_then) {
  ASSERT_EQ(adapter().initialize(), kSuccess);
  connect();
  ASSERT_EQ(rings_->send(packet_of(60, 1)), RingStatus::ok);
  // Dropped, not kept: the ring never stands still.
  while (statistics().ifInDiscards == 0) std::this_thread::yield();
  ASSERT_EQ(adapter().restart(), kSuccess);
  EXPECT_EQ(send_one(), kSuccess);
  EXPECT_TRUE(adapter().received().empty());
}

TEST_F(LifecycleTest, pause_waits_for_the_packets_that_the_stack_has) {
  ASSERT_NO_FATAL_FAILURE(lend_one());
  std::atomic<bool> is_paused = false;
  std::thread pausing([&] {
    adapter().pause();
    is_paused = true;
  });
  // Not paused while one is out: the ring drops from now on, which shows that the pause has begun.
  while (statistics().ifInDiscards == 0) {
    (void)rings_->send(packet_of(60, 2));
    std::this_thread::yield();
  }
  EXPECT_FALSE(is_paused);
  adapter().give_back_all();
  pausing.join();
  EXPECT_TRUE(is_paused);
  ASSERT_EQ(adapter().restart(), kSuccess);
  EXPECT_EQ(send_one(), kSuccess);
}

TEST_F(LifecycleTest, sleeping_keeps_the_session_and_moves_nothing) {
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  for (const unsigned deep : {1U, 2U, 3U}) {
    EXPECT_EQ(adapter().set_power(deep), kSuccess);
    EXPECT_TRUE(adapter().is_connected());
    EXPECT_EQ(adapter().set_power(0), kSuccess);
    EXPECT_EQ(send_one(), kSuccess);
    ASSERT_EQ(rings_->receive(), packet_of(50, 1));
  }
}

TEST_F(LifecycleTest, closing_waits_for_the_packets_that_the_stack_has) {
  ASSERT_NO_FATAL_FAILURE(lend_one());
  std::atomic<bool> is_closed = false;
  std::thread closing([&] {
    program().close(device_);
    is_closed = true;
  });
  while (send_one() != NDIS_STATUS_MEDIA_DISCONNECTED) std::this_thread::yield();       // it has begun
  for (int i = 0; i < 100; ++i) EXPECT_EQ(send_one(), NDIS_STATUS_MEDIA_DISCONNECTED);  // and goes on, if it is wrong
  EXPECT_FALSE(is_closed);
  EXPECT_NE(__atomic_load_n(&rings_->down()->head, __ATOMIC_ACQUIRE), kEnded);
  adapter().give_back_all();
  closing.join();
  EXPECT_EQ(rings_->down()->head, kEnded);
}

TEST_F(LifecycleTest, a_query_for_removal_ends_the_session_and_takes_the_handles) {
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  kernel::Process other;
  const HANDLE idle = open(other);
  EXPECT_TRUE(adapter().query_remove());
  EXPECT_FALSE(adapter().is_connected());
  EXPECT_EQ(rings_->receive(), std::nullopt);
  EXPECT_EQ(program().close(device_), status(0xC0000008));
  EXPECT_EQ(other.close(idle), status(0xC0000008));
  connect();  // called off: it stays, and takes a new session
  EXPECT_EQ(send_one(), kSuccess);
}

TEST_F(LifecycleTest, a_surprise_removal_ends_everything) {
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  adapter().surprise_remove();
  EXPECT_EQ(rings_->receive(), std::nullopt);
  EXPECT_EQ(program().close(device_), status(0xC0000008));
  EXPECT_NE(program().open(kName).status, kSuccess);
}

TEST_F(LifecycleTest, handles_that_cannot_be_listed_do_not_stand_in_the_way_of_removal) {
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  kernel::fail_call("ZwQuerySystemInformation");
  adapter().query_remove();
  EXPECT_FALSE(adapter().is_connected());
  const Registration<std::uint64_t> registration = rings_->registration();
  kernel::fail_call("ZwQuerySystemInformation");
  adapter().stop();
  EXPECT_TRUE(kernel::no_failure_left());
  EXPECT_EQ(enroll(program(), device_, registration), kDeviceRemoved);
  std::uint8_t* const buffer = program().allocate(0xF000);
  EXPECT_EQ(program().read(device_, buffer, 0xF000).status, kDeviceRemoved);
  EXPECT_EQ(program().write(device_, buffer, 0xF000).status, kDeviceRemoved);
  EXPECT_EQ(program().close(device_), kSuccess);
}

TEST_F(LifecycleTest, a_program_that_ends_its_ring_ends_that_direction) {
  ASSERT_EQ(adapter().start(), kSuccess);
  connect();
  __atomic_store_n(&rings_->up()->head, kEnded, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 10; ++i) adapter().send_packet(packet_of(0x4000, 1));  // it looks when its room is used up
  EXPECT_EQ(send_one(), kSuccess);
  adapter().wait_for_sends();
  std::int32_t last = kSuccess;
  while (last == kSuccess) last = send_one();
  EXPECT_EQ(last, NDIS_STATUS_MEDIA_DISCONNECTED);
}

TEST_F(LifecycleTest, a_ring_that_cannot_be_ends_and_nothing_is_read_outside_of_it) {
  ASSERT_EQ(adapter().start(), kSuccess);
  for (const std::uint32_t tail : {kMinCapacity, kMinCapacity + 4, 2U, 0x80000000U, 0xFFFFFFFCU, kEnded}) {
    connect();
    __atomic_store_n(&rings_->down()->tail, tail, __ATOMIC_SEQ_CST);
    program().set_event(rings_->down_moved());
    while (__atomic_load_n(&rings_->down()->head, __ATOMIC_ACQUIRE) != kEnded) std::this_thread::yield();
    ASSERT_EQ(program().close(device_), kSuccess);
  }
  for (const std::uint32_t size : {0x10000U, 97U, 0xFFFFFFFFU, 0x80000010U}) {
    connect();
    *size_word(rings_->down(), 0) = size;
    __atomic_store_n(&rings_->down()->tail, 100, __ATOMIC_SEQ_CST);
    program().set_event(rings_->down_moved());
    while (__atomic_load_n(&rings_->down()->head, __ATOMIC_ACQUIRE) != kEnded) std::this_thread::yield();
    ASSERT_EQ(program().close(device_), kSuccess);
  }
  EXPECT_TRUE(adapter().received().empty());
}

TEST_F(LifecycleTest, removal_under_load_in_both_directions_loses_no_list) {
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(adapter().start(), kSuccess);
    connect();
    std::atomic<bool> stop = false;
    std::thread writer([&] {
      while (!stop && rings_->send(packet_of(300, 1)) != RingStatus::ended) std::this_thread::yield();
    });
    std::thread reader([&] {
      while (rings_->receive()) {
      }
    });
    for (int i = 0; i < 200; ++i) adapter().send({{packet_of(40, 1), packet_of(50, 2)}, {packet_of(60, 3)}});
    if (round % 2 == 0) {
      adapter().query_remove();
      adapter().stop();
    } else {
      adapter().surprise_remove();
    }
    stop = true;
    writer.join();
    reader.join();
    adapter_.emplace(*driver_);
  }
}

}  // namespace
}  // namespace wintun::ndis_test
