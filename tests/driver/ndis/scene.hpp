// One kernel with the driver, an adapter and programs that use its device: what every test of the miniport begins
// with, and the check that nothing was broken or left behind, which every test ends with. The test's thread only.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "ring/bundle.hpp"
#include "ring/consumer.hpp"
#include "ring/producer.hpp"
#include "tests/driver/ndis/registration.hpp"
#include "tests/kernel/adapter.hpp"

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path);

namespace wintun::ndis_test {

using kernel::Bytes;

inline constexpr std::chrono::milliseconds kLong{30'000};  // never waited out unless a test fails
inline constexpr std::int32_t kSuccess = 0;

// Statuses as the tests expect them, by their numbers: what programs see must not follow a header.
constexpr std::int32_t status(std::uint32_t value) { return static_cast<std::int32_t>(value); }
inline constexpr std::int32_t kAccessDenied = status(0xC0000022);
inline constexpr std::int32_t kAccessViolation = status(0xC0000005);
inline constexpr std::int32_t kAlreadyInitialized = status(0xC0000510);
inline constexpr std::int32_t kBadVersion = status(0xC0010004);
inline constexpr std::int32_t kBufferSize = status(0xC0000206);
inline constexpr std::int32_t kCancelled = status(0xC0000120);
inline constexpr std::int32_t kDeviceRemoved = status(0xC00002B6);
inline constexpr std::int32_t kInvalidHandle = status(0xC0000008);
inline constexpr std::int32_t kInvalidParameter = status(0xC000000D);
inline constexpr std::int32_t kInvalidRequest = status(0xC0000010);
inline constexpr std::int32_t kMisaligned = status(0x80000002);
inline constexpr std::int32_t kOtherBuffer = status(0xC00000E8);
inline constexpr std::int32_t kTooSmall = status(0xC0000023);
inline constexpr std::int32_t kTypeMismatch = status(0xC0000024);

// An IPv4 or IPv6 packet by its first byte, with a number to know it by.
inline Bytes packet_of(std::size_t size, std::uint32_t number, bool is_ipv6 = false) {
  Bytes packet(size);
  for (std::size_t at = 0; at < size; ++at) packet[at] = static_cast<std::uint8_t>(number * 7 + at);
  if (size != 0) packet[0] = is_ipv6 ? 0x60 : 0x45;
  if (size >= 20) std::memcpy(packet.data() + 4, &number, sizeof(number));
  return packet;
}

inline Bytes bundle_of(const std::vector<Bytes>& packets) {
  Bytes bundle;
  for (const Bytes& packet : packets) {
    const std::size_t begin = bundle.size();
    const std::uint32_t size = static_cast<std::uint32_t>(packet.size());
    bundle.resize(begin + bundle_slot(size), 0xEE);
    std::memcpy(lay_out_slot(bundle.data() + begin, size), packet.data(), packet.size());
  }
  return bundle;
}

// The status that registering rings gets.
template <class Pointer = std::uint64_t>
std::int32_t enroll(kernel::Process& process, HANDLE device, const Registration<Pointer>& registration) {
  return process.control(device, kRegisterRings, &registration, sizeof(registration)).status;
}

// A program's two rings in its memory, and its ends of them. Destroyed before its process.
class ProgramRings {
 public:
  explicit ProgramRings(kernel::Process& process, std::uint32_t capacity = kMinCapacity)
      : process_(process),
        capacity_(capacity),
        up_(reinterpret_cast<Ring*>(process.allocate(ring_bytes(capacity)))),
        down_(reinterpret_cast<Ring*>(process.allocate(ring_bytes(capacity)))),
        up_moved_(process.create_event()),
        down_moved_(process.create_event()),
        consumer_(up_, capacity),
        producer_(down_, capacity) {}

  template <class Pointer = std::uint64_t>
  Registration<Pointer> registration() const {
    return registration_of<Pointer>(capacity_, up_, up_moved_, down_, down_moved_);
  }

  // Waits for the next packet. Nothing: the driver has ended its ring.
  std::optional<Bytes> receive() {
    for (;;) {
      Slot slot;
      const RingStatus status = consumer_.next(slot);
      if (status == RingStatus::ok) {
        Bytes packet(slot.data, slot.data + slot.size);
        consumer_.release(slot.end);
        return packet;
      }
      if (status != RingStatus::empty) return std::nullopt;
      if (!process_.wait_event(up_moved_, kLong)) {
        ADD_FAILURE() << "no packet came";
        return std::nullopt;
      }
    }
  }

  RingStatus send(const Bytes& packet) {
    Slot slot;
    const RingStatus status = producer_.reserve(static_cast<std::uint32_t>(packet.size()), slot);
    if (status != RingStatus::ok) return status;
    if (!packet.empty()) std::memcpy(slot.data, packet.data(), packet.size());
    if (producer_.publish(slot.end)) process_.set_event(down_moved_);
    return status;
  }

  kernel::Process& process() const { return process_; }
  Ring* up() const { return up_; }
  Ring* down() const { return down_; }
  HANDLE up_moved() const { return up_moved_; }
  HANDLE down_moved() const { return down_moved_; }
  Consumer& consumer() { return consumer_; }

 private:
  kernel::Process& process_;
  std::uint32_t capacity_;
  Ring* up_;
  Ring* down_;
  HANDLE up_moved_;
  HANDLE down_moved_;
  Consumer consumer_;
  Producer producer_;
};

// From the process whose memory they are.
inline std::int32_t enroll(HANDLE device, const ProgramRings& rings) {
  return enroll(rings.process(), device, rings.registration());
}

class NdisTest : public testing::Test {
 protected:
  static constexpr std::u16string_view kName = u"\\\\.\\Global\\RINGTUN1";

  void SetUp() override {
    kernel_.emplace();
    driver_.emplace(DriverEntry);
    ASSERT_TRUE(driver_->is_loaded());
    adapter_.emplace(*driver_);
    program_.emplace();
  }

  void TearDown() override {
    if (adapter_) {  // a test that fails half-way may hold packets, for which everything would wait
      adapter_->on_receive(nullptr);
      adapter_->give_back_all();
    }
    program_.reset();
    adapter_.reset();
    driver_.reset();
    EXPECT_EQ(kernel::take_violations(), "");
    kernel_.reset();
  }

  kernel::Adapter& adapter() { return *adapter_; }
  kernel::Process& program() { return *program_; }

  // Waits until the stack has kept so many packets.
  std::vector<std::uint64_t> wait_kept(std::size_t packets) {
    EXPECT_TRUE(adapter().wait_received(packets, kLong));
    while (adapter().kept().size() < packets && !HasFailure()) std::this_thread::yield();
    return adapter().kept();
  }

  NDIS_STATISTICS_INFO statistics() {
    NDIS_STATISTICS_INFO info = {};
    EXPECT_EQ(adapter().query(OID_GEN_STATISTICS, &info, sizeof(info)).status, kSuccess);
    return info;
  }

  HANDLE open() { return open(*program_); }
  static HANDLE open(kernel::Process& process) {
    const auto opened = process.open(kName);
    EXPECT_EQ(opened.status, kSuccess);
    return opened.handle;
  }

  std::optional<kernel::Kernel> kernel_;
  std::optional<kernel::Driver> driver_;
  std::optional<kernel::Adapter> adapter_;
  std::optional<kernel::Process> program_;
};

}  // namespace wintun::ndis_test
