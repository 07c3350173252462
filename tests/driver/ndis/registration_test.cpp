// Registering rings: who may, from which programs, and that bad input gets its status (docs/driver-ndis.md) and
// changes nothing.
#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

class RegistrationTest : public NdisTest {
 protected:
  using Wide = Registration<std::uint64_t>;

  void SetUp() override {
    NdisTest::SetUp();
    ASSERT_EQ(adapter().start(), kSuccess);
    device_ = open();
    rings_.emplace(program());
    (void)adapter().indications();
  }

  // What is refused leaves everything as it was: the good registration succeeds afterwards.
  void expect_refused(const Wide& registration, std::int32_t expected) {
    const std::size_t before = kernel::outstanding();
    EXPECT_EQ(enroll(program(), device_, registration), expected);
    EXPECT_EQ(kernel::outstanding(), before);
    EXPECT_FALSE(adapter().is_connected());
    EXPECT_TRUE(adapter().indications().empty());
  }
  // The same mistake in each of the two rings.
  void expect_either_refused(std::int32_t expected,
                             const std::function<void(RegisteredRing<std::uint64_t>&)>& spoil) {
    for (const auto ring : {&Wide::to_user, &Wide::to_network}) {
      Wide registration = good();
      spoil(registration.*ring);
      expect_refused(registration, expected);
    }
  }
  void expect_accepted() {
    ASSERT_EQ(enroll(device_, *rings_), kSuccess);
    EXPECT_TRUE(adapter().is_connected());
    adapter().send_packet(packet_of(77, 5));
    EXPECT_EQ(rings_->receive(), packet_of(77, 5));
  }
  Wide good() const { return rings_->registration(); }

  HANDLE device_ = nullptr;
  std::optional<ProgramRings> rings_;
};

TEST_F(RegistrationTest, raises_the_link_and_closing_lowers_it) {
  EXPECT_FALSE(adapter().is_connected());
  expect_accepted();
  EXPECT_EQ(adapter().link_speed(), 100'000'000'000U);
  EXPECT_EQ(program().close(device_), kSuccess);
  EXPECT_FALSE(adapter().is_connected());
  EXPECT_EQ(rings_->receive(), std::nullopt);
  EXPECT_EQ(rings_->up()->tail, kEnded);
  EXPECT_EQ(rings_->down()->head, kEnded);
}

TEST_F(RegistrationTest, of_another_length_is_refused) {
  const Wide registration = good();
  Bytes buffer(sizeof(registration) + 16);
  std::memcpy(buffer.data(), &registration, sizeof(registration));
  for (ULONG bytes = 0; bytes < buffer.size(); ++bytes) {
    if (bytes == sizeof(registration)) continue;
    EXPECT_EQ(program().control(device_, kRegisterRings, bytes == 0 ? nullptr : buffer.data(), bytes).status,
              kBufferSize)
        << bytes;
  }
  std::uint8_t out[8];
  EXPECT_EQ(program().control(device_, kRegisterRings, buffer.data(), sizeof(registration), out, sizeof(out)).status,
            kBufferSize);
  expect_accepted();
}

TEST_F(RegistrationTest, by_another_code_is_refused) {
  const Wide registration = good();
  for (const ULONG code : {0U, kRegisterRings + 4, kRegisterRings | 3U, kRegisterRings & 0x3FFFU}) {
    EXPECT_EQ(program().control(device_, code, &registration, sizeof(registration)).status, kInvalidRequest);
  }
  expect_accepted();
}

TEST_F(RegistrationTest, of_a_size_that_no_ring_has_is_refused) {
  const std::uint32_t sizes[] = {0,
                                 1,
                                 12,
                                 ring_bytes(kMinCapacity) - 1,
                                 ring_bytes(kMinCapacity) + 1,
                                 ring_bytes(kMinCapacity / 2),
                                 ring_bytes(kMinCapacity + 4),
                                 kMinCapacity,
                                 ring_bytes(kMaxCapacity) * 2,
                                 0x7FFFFFFF,
                                 0x80000000,
                                 0xFFFFFFFF,
                                 uint32_t{ring_bytes(0)},
                                 ring_bytes(0x8000000)};
  for (const std::uint32_t size : sizes) {
    expect_either_refused(kInvalidParameter, [size](auto& ring) { ring.size = size; });
  }
  expect_accepted();
}

TEST_F(RegistrationTest, of_an_address_that_is_no_multiple_of_four_is_refused) {
  for (const std::uint64_t shift : {1U, 2U, 3U}) {
    expect_either_refused(kMisaligned, [shift](auto& ring) { ring.ring += shift; });
  }
  expect_accepted();
}

TEST_F(RegistrationTest, of_memory_that_is_not_the_programs_is_refused) {
  const std::uint64_t addresses[] = {0,
                                     4,
                                     0x10000,
                                     ~std::uint64_t{3},
                                     ~std::uint64_t{0} - ring_bytes(kMinCapacity) + 1,
                                     0xFFFF800000000000,
                                     good().to_user.ring + 0x10000};
  for (const std::uint64_t address : addresses) {
    expect_either_refused(kAccessViolation, [address](auto& ring) { ring.ring = address; });
  }
  expect_accepted();
}

TEST_F(RegistrationTest, of_memory_that_cannot_be_written_is_refused) {
  for (const auto access : {kernel::Access::read, kernel::Access::none}) {
    auto* const memory = reinterpret_cast<std::uint8_t*>(rings_->down());
    program().protect(memory, access);
    expect_refused(good(), kAccessViolation);
    program().protect(memory, kernel::Access::read_write);
  }
  expect_accepted();
}

TEST_F(RegistrationTest, of_a_ring_that_was_used_is_refused) {
  for (std::uint32_t* word : {&rings_->up()->head, &rings_->up()->tail, &rings_->down()->head}) {
    for (const std::uint32_t value : {4U, 0x1FFFCU, kMinCapacity, kEnded}) {
      *word = value;
      expect_refused(good(), kInvalidParameter);
    }
    *word = 0;
  }
  for (const std::uint32_t tail : {1U, 2U, 3U, kMinCapacity, kEnded}) {
    rings_->down()->tail = tail;
    expect_refused(good(), kInvalidParameter);
  }
  rings_->down()->tail = 0;
  expect_accepted();
}

TEST_F(RegistrationTest, of_packets_that_wait_already_sends_them) {
  ASSERT_EQ(rings_->send(packet_of(123, 9)), RingStatus::ok);
  ASSERT_EQ(enroll(device_, *rings_), kSuccess);
  ASSERT_TRUE(adapter().wait_received(1, kLong));
  EXPECT_EQ(adapter().received(), std::vector<Bytes>{packet_of(123, 9)});
}

TEST_F(RegistrationTest, with_handles_that_are_no_usable_events_is_refused) {
  const HANDLE semaphore = program().create_semaphore();
  const HANDLE closed = program().create_event();
  ASSERT_EQ(program().close(closed), kSuccess);
  struct Case {
    HANDLE up, down;
    std::int32_t expected;
  };
  const Case cases[] = {
      {semaphore, rings_->down_moved(), kTypeMismatch},
      {rings_->up_moved(), semaphore, kTypeMismatch},
      {device_, rings_->down_moved(), kTypeMismatch},
      {nullptr, rings_->down_moved(), kInvalidHandle},
      {rings_->up_moved(), closed, kInvalidHandle},
      {rings_->up_moved(), reinterpret_cast<HANDLE>(std::uintptr_t{0xFFFFFFFC}), kInvalidHandle},
      {program().duplicate(rings_->up_moved(), SYNCHRONIZE), rings_->down_moved(), kAccessDenied},
      {rings_->up_moved(), program().duplicate(rings_->down_moved(), EVENT_MODIFY_STATE), kAccessDenied},
  };
  for (const Case& one : cases) {
    Wide registration = good();
    registration.to_user.event = reinterpret_cast<std::uintptr_t>(one.up);
    registration.to_network.event = reinterpret_cast<std::uintptr_t>(one.down);
    expect_refused(registration, one.expected);
  }
  expect_accepted();
}

TEST_F(RegistrationTest, a_second_time_is_refused_and_the_first_goes_on) {
  expect_accepted();
  ProgramRings others(program());
  EXPECT_EQ(enroll(device_, others), kAlreadyInitialized);
  EXPECT_EQ(enroll(open(), others), kAlreadyInitialized);
  EXPECT_EQ(enroll(program(), open(), good()), kAlreadyInitialized);
  adapter().send_packet(packet_of(99, 6));
  EXPECT_EQ(rings_->receive(), packet_of(99, 6));
}

TEST_F(RegistrationTest, is_free_again_when_the_owner_closes_and_only_then) {
  expect_accepted();
  const HANDLE second = open();
  EXPECT_EQ(program().close(second), kSuccess);
  EXPECT_TRUE(adapter().is_connected());
  EXPECT_EQ(program().close(device_), kSuccess);
  ProgramRings others(program());
  EXPECT_EQ(enroll(open(), others), kSuccess);
  EXPECT_TRUE(adapter().is_connected());
}

TEST_F(RegistrationTest, from_a_32_bit_program_has_its_own_form) {
  kernel::Process narrow({true, kernel::kElevated});
  ProgramRings rings(narrow);
  const HANDLE device = open(narrow);
  EXPECT_EQ(enroll(narrow, device, rings.registration<std::uint64_t>()), kBufferSize);
  EXPECT_EQ(enroll(narrow, device, rings.registration<std::uint32_t>()), kSuccess);
  adapter().send_packet(packet_of(31, 7));
  EXPECT_EQ(rings.receive(), packet_of(31, 7));
  const auto from_wide = rings_->registration<std::uint32_t>();
  EXPECT_EQ(enroll(program(), device_, from_wide), kBufferSize);
}

TEST_F(RegistrationTest, ends_with_the_process_even_if_another_has_its_handle) {
  kernel::Process other;
  {
    kernel::Process owner;
    ProgramRings rings(owner);
    const HANDLE device = open(owner);
    ASSERT_EQ(enroll(owner, device, rings.registration()), kSuccess);
    ASSERT_NE(owner.duplicate(device, other), nullptr);
    owner.exit();
  }
  EXPECT_EQ(other.open_handles(), 1U);
  EXPECT_FALSE(adapter().is_connected());
  expect_accepted();
}

TEST_F(RegistrationTest, is_for_system_and_administrators_at_high_integrity) {
  using kernel::Account;
  using kernel::Integrity;
  const auto try_to_open = [](const Account& account) {
    kernel::Process process({false, account});
    return process.open(kName).status;
  };
  EXPECT_EQ(try_to_open(kernel::kSystem), kSuccess);
  EXPECT_EQ(try_to_open(kernel::kElevated), kSuccess);
  EXPECT_EQ(try_to_open(kernel::kUser), kAccessDenied);
  EXPECT_EQ(try_to_open(Account{false, true, Integrity::medium}), kAccessDenied);
  EXPECT_EQ(try_to_open(Account{false, true, Integrity::low}), kAccessDenied);
  EXPECT_EQ(try_to_open(Account{false, false, Integrity::high}), kAccessDenied);
}

}  // namespace
}  // namespace wintun::ndis_test
