// The older device: reads that pend, writes, their limits, and the two kinds of owners.
#include <atomic>
#include <thread>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

constexpr std::uint32_t kLeast = kMaxBundleSlot;

class BundlesTest : public NdisTest {
 protected:
  void SetUp() override {
    NdisTest::SetUp();
    ASSERT_EQ(adapter().start(), kSuccess);
    device_ = open();
    buffer_ = program().allocate(kBytes);
  }

  std::int32_t write(const Bytes& bundle) { return write(device_, bundle); }
  std::int32_t write(HANDLE device, const Bytes& bundle) { return write(*program_, device, bundle); }
  static std::int32_t write(kernel::Process& process, HANDLE device, const Bytes& bundle) {
    std::uint8_t* const memory = process.allocate(bundle.size());
    std::memcpy(memory, bundle.data(), bundle.size());
    const kernel::Result result = process.write(device, memory, static_cast<ULONG>(bundle.size()));
    EXPECT_EQ(result.information, result.status == kSuccess ? bundle.size() : 0);
    process.free(memory);
    return result.status;
  }
  // The packets of the next read.
  std::vector<Bytes> read(std::uint32_t room = kBytes) { return cut(program().read(device_, buffer_, room)); }
  std::vector<Bytes> cut(const kernel::Result& result) {
    EXPECT_EQ(result.status, kSuccess);
    std::vector<Bytes> packets;
    const std::uint32_t bytes = static_cast<std::uint32_t>(result.information);
    for (std::uint32_t offset = 0; offset < bytes;) {
      Slot slot;
      if (!next_in_bundle(buffer_, bytes, offset, slot)) {
        ADD_FAILURE() << "a bundle that is not whole";
        break;
      }
      packets.emplace_back(slot.data, slot.data + slot.size);
    }
    return packets;
  }

  static constexpr std::uint32_t kBytes = 0x40000;
  HANDLE device_ = nullptr;
  std::uint8_t* buffer_ = nullptr;
};

TEST_F(BundlesTest, a_read_pends_until_a_packet_comes) {
  const kernel::Request request = program().start_read(device_, buffer_, kBytes);
  EXPECT_FALSE(request.is_done());
  EXPECT_TRUE(adapter().is_connected());
  adapter().send_packet(packet_of(77, 1));
  EXPECT_EQ(cut(request.wait()), std::vector<Bytes>{packet_of(77, 1)});
}

TEST_F(BundlesTest, a_read_takes_all_that_wait_up_to_256) {
  ASSERT_EQ(write(bundle_of({packet_of(40, 0)})), kSuccess);  // begins the session
  std::vector<Bytes> packets;
  for (std::uint32_t number = 0; number < 300; ++number) packets.push_back(packet_of(20 + number, number));
  adapter().send({packets});
  adapter().wait_for_sends();
  const std::vector<Bytes> first = read();
  ASSERT_EQ(first.size(), 256U);
  const std::vector<Bytes> second = read();
  ASSERT_EQ(second.size(), 44U);
  for (std::uint32_t number = 0; number < 300; ++number) {
    ASSERT_EQ(number < 256 ? first[number] : second[number - 256], packets[number]);
  }
}

TEST_F(BundlesTest, a_packet_that_does_not_fit_any_more_comes_with_the_next_read) {
  ASSERT_EQ(write(bundle_of({packet_of(40, 0)})), kSuccess);
  const std::vector<Bytes> packets = {packet_of(0x8000, 1), packet_of(0x8000, 2), packet_of(kLeast - 16, 3)};
  adapter().send({packets});
  adapter().wait_for_sends();
  EXPECT_EQ(read(kLeast), std::vector<Bytes>{packets[0]});
  EXPECT_EQ(read(kLeast), std::vector<Bytes>{packets[1]});
  EXPECT_EQ(read(kLeast), std::vector<Bytes>{packets[2]});
}

TEST_F(BundlesTest, a_packet_that_no_bundle_can_hold_is_dropped_and_counted) {
  ASSERT_EQ(write(bundle_of({packet_of(40, 0)})), kSuccess);
  adapter().send({{packet_of(kLeast - 15, 1), packet_of(0xFFFF, 2), packet_of(60, 3)}});
  EXPECT_EQ(read(), std::vector<Bytes>{packet_of(60, 3)});
  EXPECT_EQ(statistics().ifOutDiscards, 2U);
}

TEST_F(BundlesTest, a_write_sends_its_packets_in_order) {
  std::vector<Bytes> packets;
  for (std::uint32_t number = 0; number < 256; ++number) packets.push_back(packet_of(20 + number * 3, number));
  ASSERT_EQ(write(bundle_of(packets)), kSuccess);
  ASSERT_TRUE(adapter().wait_received(256, kLong));
  EXPECT_EQ(adapter().received(), packets);
}

TEST_F(BundlesTest, the_largest_bundle_is_taken_whole) {
  const std::vector<Bytes> packets(256, packet_of(kLeast - 16, 1));
  const Bytes bundle = bundle_of(packets);
  ASSERT_EQ(bundle.size(), kMaxBundleBytes);
  ASSERT_EQ(write(bundle), kSuccess);
  ASSERT_TRUE(adapter().wait_received(256, kLong));
}

TEST_F(BundlesTest, a_write_that_is_no_bundle_is_refused_and_begins_nothing) {
  EXPECT_EQ(program().write(device_, nullptr, 0).status, kBufferSize);
  EXPECT_EQ(write(Bytes(kMaxBundleBytes + 16)), kBufferSize);
  const Bytes whole = bundle_of({packet_of(40, 1), packet_of(64, 2)});
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    if (bytes == bundle_slot(40)) continue;
    EXPECT_EQ(write(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes))), kInvalidParameter);
  }
  EXPECT_EQ(write(bundle_of(std::vector<Bytes>(257, packet_of(20, 1)))), kInvalidParameter);
  for (const std::uint32_t size : {kLeast - 15, 0xFFFFU, 0x7FFFFFF0U, 0xFFFFFFF0U, 0xFFFFFFFFU}) {
    Bytes wrong = whole;
    wrong.resize(0x20000);
    std::memcpy(wrong.data(), &size, sizeof(size));
    EXPECT_EQ(write(wrong), kInvalidParameter) << size;
  }
  EXPECT_FALSE(adapter().is_connected());
  EXPECT_EQ(write(whole), kSuccess);
  ASSERT_TRUE(adapter().wait_received(2, kLong));
  EXPECT_EQ(adapter().received(), (std::vector<Bytes>{packet_of(40, 1), packet_of(64, 2)}));
}

TEST_F(BundlesTest, a_read_with_too_little_room_or_another_address_is_refused) {
  EXPECT_EQ(program().read(device_, buffer_, kLeast - 1).status, kTooSmall);
  EXPECT_EQ(program().read(device_, nullptr, 0).status, kTooSmall);
  EXPECT_FALSE(adapter().is_connected());
  const kernel::Request first = program().start_read(device_, buffer_, kLeast);
  const kernel::Request other = program().start_read(device_, buffer_ + 16, kLeast);
  ASSERT_TRUE(other.is_done());  // refused, not pending
  EXPECT_EQ(other.wait().status, kOtherBuffer);
  adapter().send_packet(packet_of(30, 1));
  EXPECT_EQ(cut(first.wait()), std::vector<Bytes>{packet_of(30, 1)});
  EXPECT_EQ(program().read(device_, buffer_ + 16, kLeast).status, kOtherBuffer);
}

TEST_F(BundlesTest, a_pending_read_can_be_cancelled_and_loses_no_packet) {
  const kernel::Request one = program().start_read(device_, buffer_, kBytes);
  EXPECT_TRUE(one.cancel());
  EXPECT_EQ(one.wait().status, kCancelled);
  adapter().send_packet(packet_of(30, 1));
  EXPECT_EQ(read(), std::vector<Bytes>{packet_of(30, 1)});
}

TEST_F(BundlesTest, reads_that_pend_when_their_file_is_closed_are_cancelled) {
  const HANDLE other = open();
  const kernel::Request one = program().start_read(device_, buffer_, kBytes);
  const kernel::Request two = program().start_read(device_, buffer_, kBytes);
  auto* const memory = program().allocate(kBytes);
  const kernel::Request third = program().start_read(other, memory, kBytes);
  EXPECT_EQ(program().close(device_), kSuccess);
  EXPECT_EQ(one.wait().status, kCancelled);
  EXPECT_EQ(two.wait().status, kCancelled);
  EXPECT_FALSE(third.is_done());
  EXPECT_TRUE(adapter().is_connected());  // the other file has read
  EXPECT_EQ(program().close(other), kSuccess);
  EXPECT_EQ(third.wait().status, kCancelled);
  EXPECT_FALSE(adapter().is_connected());
}

TEST_F(BundlesTest, reads_that_pend_when_the_adapter_goes_are_completed) {
  const kernel::Request one = program().start_read(device_, buffer_, kBytes);
  adapter().surprise_remove();
  EXPECT_EQ(one.wait().status, kDeviceRemoved);
}

TEST_F(BundlesTest, the_other_kind_of_owner_is_refused_until_the_first_has_gone) {
  const HANDLE other = open();
  ProgramRings rings(program());
  const kernel::Request pending = program().start_read(device_, buffer_, kBytes);
  EXPECT_EQ(enroll(other, rings), kAlreadyInitialized);
  EXPECT_EQ(program().close(device_), kSuccess);
  EXPECT_EQ(pending.wait().status, kCancelled);
  ASSERT_EQ(enroll(other, rings), kSuccess);
  device_ = open();
  EXPECT_EQ(program().read(device_, buffer_, kBytes).status, kAlreadyInitialized);
  EXPECT_EQ(write(bundle_of({packet_of(40, 1)})), kAlreadyInitialized);
  EXPECT_EQ(program().close(other), kSuccess);
  EXPECT_EQ(write(bundle_of({packet_of(40, 1)})), kSuccess);
  EXPECT_TRUE(adapter().is_connected());
}

TEST_F(BundlesTest, both_directions_at_once_by_two_files_lose_nothing) {
  constexpr std::uint32_t kPackets = 2000;
  const HANDLE writing = open();
  ASSERT_EQ(write(writing, bundle_of({packet_of(40, 0)})), kSuccess);
  std::thread stack([this] {
    for (std::uint32_t number = 0; number < kPackets; ++number) adapter().send_packet(packet_of(50, number));
  });
  std::thread writer([&] {
    for (std::uint32_t number = 1; number < kPackets; number += 4) {
      std::vector<Bytes> packets;
      for (std::uint32_t one = number; one < number + 4 && one < kPackets; ++one)
        packets.push_back(packet_of(40, one));
      EXPECT_EQ(write(writing, bundle_of(packets)), kSuccess);
    }
  });
  std::uint32_t came = 0;
  while (came < kPackets) {
    for (const Bytes& packet : read()) {
      EXPECT_EQ(packet, packet_of(50, came));
      ++came;
    }
    if (HasFailure()) break;
  }
  stack.join();
  writer.join();
  EXPECT_TRUE(adapter().wait_received(kPackets, kLong));
  const auto received = adapter().received();
  ASSERT_EQ(received.size(), kPackets);
  for (std::uint32_t number = 0; number < kPackets; ++number) ASSERT_EQ(received[number], packet_of(40, number));
}

}  // namespace
}  // namespace wintun::ndis_test
