// What happens when the kernel has no more: each call that can fail does so once from each place, run after run. The
// scenarios go on as far as they get; each run must break no rule and leave nothing behind, whatever failed.
#include <algorithm>
#include <thread>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

constexpr std::u16string_view kDevice = u"\\\\.\\Device\\RINGTUN1";
constexpr std::uint32_t kBytes = 0x20000;

class FaultTest : public testing::Test {
 protected:
  static void expect_survived(const std::function<void()>& scenario, std::size_t at_least) {
    kernel::Kernel kernel;
    std::size_t runs = 0;
    const std::size_t faults = kernel::with_every_fault([&] {
      ++runs;
      scenario();
      EXPECT_EQ(kernel::take_violations(), "") << "in run " << runs;
      EXPECT_EQ(kernel::outstanding(), 0U) << "in run " << runs;
    });
    EXPECT_GE(faults, at_least);
    EXPECT_EQ(runs, faults + 1);  // the last has nothing left to fail
    RecordProperty("faults", static_cast<int>(faults));
  }
};

// A loaded driver with a started adapter, if it gets so far.
struct Machine {
  Machine() : driver(DriverEntry) {
    if (!driver.is_loaded()) return;
    adapter.emplace(driver);
    is_started = adapter->start() == kSuccess;
  }
  kernel::Driver driver;
  std::optional<kernel::Adapter> adapter;
  bool is_started = false;
};

// A machine that started, a program on it, and a file of the device's.
using Use = std::function<void(Machine&, kernel::Process&, HANDLE)>;
void with_a_file(const kernel::Process::Kind& kind, const Use& use) {
  Machine machine;
  if (!machine.is_started) return;
  kernel::Process program(kind);
  const auto opened = program.open(kDevice);
  if (opened.status == kSuccess) use(machine, program, opened.handle);
}

// Both directions; packets in pieces whose mapping can fail, lists that come back late.
void move_packets(kernel::Adapter& adapter, ProgramRings& rings) {
  kernel::SendOptions options;
  options.is_mapped = false;
  options.mdl_bytes = 30;
  const std::vector<Bytes> sent = {packet_of(100, 1), packet_of(50, 2), packet_of(70, 3)};
  adapter.send({{sent[0], sent[1]}, {sent[2]}}, options);
  adapter.wait_for_sends();
  Slot slot;
  while (rings.consumer().next(slot) == RingStatus::ok) {  // what comes is whole
    EXPECT_NE(std::find(sent.begin(), sent.end(), Bytes(slot.data, slot.data + slot.size)), sent.end());
    rings.consumer().release(slot.end);
  }
  adapter.on_receive([](const kernel::Received& received) { return received.id % 2 == 0; });
  for (std::uint32_t number = 0; number < 4; ++number) {
    if (rings.send(packet_of(60, number)) != RingStatus::ok) break;
  }
  // Taken out of the ring or, for want of memory, dropped.
  while (__atomic_load_n(&rings.down()->head, __ATOMIC_ACQUIRE) != 4 * slot_bytes(60)) {
    adapter.give_back_all();
    std::this_thread::yield();
  }
  adapter.on_receive({});
  adapter.give_back_all();
}

std::uint32_t one_packet_bundle(std::uint8_t* into) {
  const Bytes bundle = bundle_of({packet_of(60, 1)});
  std::memcpy(into, bundle.data(), bundle.size());
  return static_cast<std::uint32_t>(bundle.size());
}

TEST_F(FaultTest, a_session_with_rings_from_loading_to_unloading) {
  expect_survived(
      [] {
        with_a_file({}, [](Machine& machine, kernel::Process& program, HANDLE file) {
          ProgramRings rings(program);
          if (enroll(file, rings) == kSuccess) move_packets(*machine.adapter, rings);
          (void)program.close(file);
          machine.adapter->stop();
        });
      },
      20);
}

TEST_F(FaultTest, a_session_of_a_32_bit_program_that_sleeps_and_ends_without_closing) {
  expect_survived(
      [] {
        with_a_file({true, kernel::kElevated}, [](Machine& machine, kernel::Process& program, HANDLE file) {
          ProgramRings rings(program);
          if (enroll(program, file, rings.registration<std::uint32_t>()) != kSuccess) return;
          for (const unsigned deep : {1U, 2U, 3U, 0U}) (void)machine.adapter->set_power(deep);
          move_packets(*machine.adapter, rings);
          program.exit();
        });
      },
      20);
}

TEST_F(FaultTest, bundles_written_read_and_cancelled) {
  expect_survived(
      [] {
        with_a_file({}, [](Machine& machine, kernel::Process& program, HANDLE file) {
          std::uint8_t* const writing = program.allocate(kBytes);
          std::uint8_t* const reading = program.allocate(kBytes);
          (void)program.write(file, writing, one_packet_bundle(writing));
          const kernel::Request first = program.start_read(file, reading, kBytes);
          machine.adapter->send({{packet_of(40, 1), packet_of(50, 2)}});
          machine.adapter->wait_for_sends();
          const kernel::Request second = program.start_read(file, reading, kBytes);
          (void)second.cancel();
          (void)second.wait();
          const kernel::Request third = program.start_read(file, reading, kBytes);
          (void)program.close(file);
          (void)first.wait();
          (void)third.wait();
        });
      },
      20);
}

TEST_F(FaultTest, a_second_owner_is_refused_and_then_let_in) {
  expect_survived(
      [] {
        Machine machine;
        if (!machine.is_started) return;
        kernel::Process one, two;
        const auto first = one.open(kDevice);
        const auto second = two.open(kDevice);
        if (first.status != kSuccess || second.status != kSuccess) return;
        ProgramRings rings(one), others(two);
        std::uint8_t* const writing = two.allocate(kBytes);
        const bool is_owner = enroll(first.handle, rings) == kSuccess;
        if (is_owner) {
          EXPECT_NE(enroll(second.handle, others), kSuccess);
          EXPECT_NE(two.write(second.handle, writing, one_packet_bundle(writing)).status, kSuccess);
        }
        (void)one.close(first.handle);
        if (enroll(second.handle, others) != kSuccess) return;
        move_packets(*machine.adapter, others);
        (void)two.close(second.handle);
      },
      20);
}

TEST_F(FaultTest, a_removal_called_off_and_one_by_surprise) {
  expect_survived(
      [] {
        with_a_file({}, [](Machine& machine, kernel::Process& program, HANDLE file) {
          ProgramRings rings(program);
          (void)enroll(file, rings);
          (void)machine.adapter->query_remove();
          const auto again = program.open(kDevice);
          std::uint8_t* const reading = program.allocate(kBytes);
          std::optional<kernel::Request> read;
          if (again.status == kSuccess) read = program.start_read(again.handle, reading, kBytes);
          machine.adapter->surprise_remove();
          if (read) (void)read->wait();
          if (again.status == kSuccess) (void)program.close(again.handle);
          (void)program.close(file);
        });
      },
      20);
}

// A handle that could not be taken from its program when a removal was asked for, and called off: the file begins a
// new session and is its only one; closing an idle one ends nobody else's.
TEST_F(FaultTest, a_file_that_outlives_its_session_counts_once_in_the_next) {
  kernel::Kernel kernel;
  {
    Machine machine;
    ASSERT_TRUE(machine.is_started);
    kernel::Process program;
    std::uint8_t* const writing = program.allocate(kBytes);
    const HANDLE file = program.open(kDevice).handle;
    const HANDLE idle = program.open(kDevice).handle;
    const std::uint32_t bytes = one_packet_bundle(writing);
    const auto ask_for_removal = [&] {
      kernel::fail_call("ZwQuerySystemInformation");
      EXPECT_FALSE(machine.adapter->query_remove());  // two handles are left
      EXPECT_FALSE(machine.adapter->is_connected());
    };
    ASSERT_EQ(program.write(file, writing, bytes).status, kSuccess);
    ask_for_removal();
    EXPECT_EQ(program.write(file, writing, bytes).status, kSuccess);
    EXPECT_TRUE(machine.adapter->is_connected());
    EXPECT_EQ(program.close(file), kSuccess);
    EXPECT_FALSE(machine.adapter->is_connected());

    ASSERT_EQ(program.write(idle, writing, bytes).status, kSuccess);
    ask_for_removal();
    ProgramRings rings(program);
    const HANDLE owner = program.open(kDevice).handle;
    ASSERT_EQ(enroll(owner, rings), kSuccess);
    EXPECT_EQ(program.close(idle), kSuccess);
    EXPECT_TRUE(machine.adapter->is_connected());
    EXPECT_EQ(program.close(owner), kSuccess);
    EXPECT_FALSE(machine.adapter->is_connected());
  }
  EXPECT_EQ(kernel::take_violations(), "");
}

}  // namespace
}  // namespace wintun::ndis_test
