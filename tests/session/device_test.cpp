// A device on a scripted library: how it is made, what its errors say, and what its states allow.
#include "session/device.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "fake_library.hpp"
#include "session/log.hpp"

namespace wintun {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::size_t open_descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{}));
}

class DeviceTest : public FakeTest {
 protected:
  DeviceOptions options(const std::string& name = "Demo") const { return {.name = name, .library = library}; }

  void refuses_text(const std::string& name, const std::string& reason) {
    try {
      Device device(options(name));
      ADD_FAILURE() << "took the name " << testing::PrintToString(name);
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
    EXPECT_EQ(world().adapters, 0);
  }

  // What an operation throws: its errno, and its text with the device's name.
  template <class Operation>
  void expect_error(std::errc code, const std::vector<std::string>& words, Operation operation) {
    try {
      operation();
      ADD_FAILURE() << "no error of " << testing::PrintToString(words);
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("\"Demo\""));
      for (const std::string& word : words) EXPECT_THAT(error.what(), HasSubstr(word));
    }
  }
};

TEST_F(DeviceTest, a_device_is_an_adapter_with_what_was_asked_for) {
  const Guid guid{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
  Device device(
      {.name = "Demö", .tunnel_type = "tunnel", .ring_capacity = 0x40000, .guid = guid, .library = library});
  EXPECT_EQ(device.name(), "Demö");
  EXPECT_EQ(device.tunnel_type(), "tunnel");
  EXPECT_EQ(device.guid(), guid);
  EXPECT_EQ(device.index(), 77u);
  EXPECT_EQ(device.luid() >> 48, 53u);
  EXPECT_FALSE(device.is_up());
  EXPECT_FALSE(device.is_closed());
  EXPECT_THAT(world().names, testing::ElementsAre(L"Dem\u00f6"));
  EXPECT_EQ(world().tunnel_type, L"tunnel");
  ASSERT_EQ(world().guids.size(), 1u);
  EXPECT_EQ(world().guids[0].Data1, 0x00112233u);
  EXPECT_EQ(world().guids[0].Data2, 0x4455u);
  EXPECT_EQ(world().guids[0].Data3, 0x6677u);
  EXPECT_EQ(world().guids[0].Data4[7], 0xFFu);
}

TEST_F(DeviceTest, the_guid_comes_from_the_name_unless_it_is_given) {
  const Guid first = Device(options()).guid();
  EXPECT_EQ(Device(options()).guid(), first);
  EXPECT_NE(Device(options("Demo2")).guid(), first);
  EXPECT_EQ(first, guid_of_name("Demo"));
}

TEST_F(DeviceTest, a_name_has_1_to_127_characters_of_utf_8) {
  refuses_text("", "0 characters: give it 1 to 127");
  refuses_text(std::string(128, 'x'), "128 characters");
  refuses_text(std::string("a\0b", 3), "zero character");
  refuses_text("\xFF", "UTF-8");
  refuses_text("\xC3", "UTF-8");
  refuses_text("\xED\xA0\x80", "UTF-8");
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "\xF0\x9F\x90\x8D";
  EXPECT_EQ(Device(options(longest)).name(), longest);
}

TEST_F(DeviceTest, a_tunnel_type_is_checked_as_a_name) {
  EXPECT_THROW(Device({.name = "Demo", .tunnel_type = "", .library = library}), std::invalid_argument);
  EXPECT_THROW(Device({.name = "Demo", .tunnel_type = std::string(128, 'x'), .library = library}),
               std::invalid_argument);
  EXPECT_EQ(world().adapters, 0);
}

TEST_F(DeviceTest, a_ring_capacity_is_a_power_of_two_in_range) {
  Device device(options());
  for (const std::uint32_t capacity : {0u, 1u, 0x10000u, 0x20001u, 0x30000u, 0x8000000u, 0xFFFFFFFFu}) {
    EXPECT_THROW(Device({.name = "Other", .ring_capacity = capacity, .library = library}), std::invalid_argument);
    try {
      device.set_ring_capacity(capacity);
      ADD_FAILURE() << capacity;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr(std::to_string(capacity)), HasSubstr("131072"), HasSubstr("67108864")));
    }
    EXPECT_EQ(device.ring_capacity(), 0x400000u);
  }
  device.set_ring_capacity(0x20000);
  device.set_ring_capacity(0x4000000);
  EXPECT_EQ(device.ring_capacity(), 0x4000000u);
}

TEST_F(DeviceTest, a_ring_capacity_takes_effect_with_the_next_up) {
  Device device(options());
  device.up();
  EXPECT_EQ(world().capacity, 0x400000u);
  device.set_ring_capacity(0x20000);
  device.up();
  EXPECT_EQ(world().capacity, 0x400000u);
  device.down();
  device.up();
  EXPECT_EQ(world().capacity, 0x20000u);
}

TEST_F(DeviceTest, what_keeps_an_adapter_from_being_made_is_told_with_a_remedy) {
  const std::tuple<DWORD, std::errc, std::vector<std::string>> cases[] = {
      {ERROR_ACCESS_DENIED,
       std::errc::operation_not_permitted,
       {"root", "CAP_NET_ADMIN", "user namespace", "embedded"}},
      {ERROR_FILE_NOT_FOUND, std::errc::no_such_file_or_directory, {"/dev/net/tun", "modprobe tun", "container"}},
      {ERROR_NOT_ENOUGH_MEMORY, std::errc::not_enough_memory, {"make the device"}},
      {ERROR_TOO_MANY_OPEN_FILES, std::errc::too_many_files_open, {"descriptors", "ulimit -n"}},
      {ERROR_INVALID_PARAMETER, std::errc::invalid_argument, {"another name"}},
      {12345, std::errc::io_error, {"12345"}},
  };
  for (const auto& [error, code, words] : cases) {
    world().create_errors = {error};
    expect_error(code, words, [this] { Device device(options()); });
    EXPECT_EQ(world().adapters, 0);
  }
  Device works(options());
}

TEST_F(DeviceTest, an_error_quotes_what_the_library_said_about_it) {
  attach_logger(library->functions());
  world().complaint = L"the disk is full of eels";
  world().create_errors = {ERROR_GEN_FAILURE};
  expect_error(std::errc::io_error, {"the disk is full of eels"}, [this] { Device device(options()); });
}

TEST_F(DeviceTest, a_persistent_interface_of_the_name_is_opened) {
  world().create_errors = {ERROR_ALREADY_EXISTS};
  Device device(options());
  EXPECT_EQ(world().opened, 1);
}

TEST_F(DeviceTest, an_interface_that_was_in_the_way_and_is_gone_does_not_matter) {
  world().create_errors = {ERROR_ALREADY_EXISTS};
  world().open_errors = {ERROR_FILE_NOT_FOUND};
  Device device(options());
  EXPECT_EQ(world().opened, 0);
  EXPECT_EQ(world().adapters, 1);
}

TEST_F(DeviceTest, a_name_that_is_taken_is_told) {
  for (const DWORD why : {ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND}) {
    world().create_errors = {ERROR_ALREADY_EXISTS, ERROR_ALREADY_EXISTS};
    world().open_errors = {why, why};
    expect_error(std::errc::file_exists, {"interface of that name", "another name"},
                 [this] { Device device(options()); });
    world().create_errors.clear();
    world().open_errors.clear();
  }
  world().create_errors = {ERROR_ALREADY_EXISTS};
  world().open_errors = {ERROR_ACCESS_DENIED};
  expect_error(std::errc::operation_not_permitted, {"root"}, [this] { Device device(options()); });
}

TEST_F(DeviceTest, a_second_device_of_a_name_is_an_error_until_the_first_is_closed) {
  Device first(options());
  expect_error(std::errc::file_exists, {"this process", "close"}, [this] { Device device(options()); });
  EXPECT_EQ(world().adapters, 1) << "no second handle was opened";
  first.close();
  Device second(options());
  first.close();
  expect_error(std::errc::file_exists, {}, [this] { Device device(options()); });
}

TEST_F(DeviceTest, a_device_that_could_not_be_made_leaves_its_name_free) {
  world().create_errors = {ERROR_ACCESS_DENIED};
  EXPECT_THROW(Device device(options()), std::system_error);
  Device works(options());
}

TEST_F(DeviceTest, up_down_and_close_may_be_repeated) {
  Device device(options());
  device.down();
  device.up();
  device.up();
  EXPECT_EQ(world().sessions, 1);
  device.down();
  device.down();
  EXPECT_EQ(world().sessions_ended, 1);
  device.up();
  device.close();
  device.close();
  device.down();
  EXPECT_EQ(world().sessions, 2);
  EXPECT_EQ(world().sessions_ended, 2);
  EXPECT_TRUE(device.is_closed());
  EXPECT_FALSE(device.is_up());
}

TEST_F(DeviceTest, the_destructor_closes) {
  {
    Device device(options());
    device.up();
  }
  EXPECT_EQ(world().sessions_ended, 1);
  EXPECT_EQ(world().adapters, 0);
}

TEST_F(DeviceTest, the_destructor_ends_a_session_under_packets_that_were_never_released) {
  {
    Device device(options());
    device.up();
    world().deliver(ipv4_packet(20, 1));
    Packet packet;
    ASSERT_EQ(device.receive(packet), IoStatus::ok);
  }
  EXPECT_EQ(world().sessions_ended, 1);
}

TEST_F(DeviceTest, a_closed_device_is_not_used) {
  Device device(options());
  device.close();
  expect_error(std::errc::bad_file_descriptor, {"closed"}, [&] { device.up(); });
  expect_error(std::errc::bad_file_descriptor, {"closed"}, [&] { (void)device.interface(); });
  Packet packet;
  std::size_t count = 0;
  const Bytes bytes = ipv4_packet(20, 1);
  EXPECT_EQ(device.receive(packet), IoStatus::closed);
  EXPECT_EQ(device.receive_many({&packet, 1}, count), IoStatus::closed);
  EXPECT_EQ(device.write(bytes), IoStatus::closed);
  EXPECT_EQ(device.write_many({}, count), IoStatus::closed);
  EXPECT_EQ(device.allocate(20, packet), IoStatus::closed);
  EXPECT_EQ(device.wait(std::nullopt), IoStatus::closed);
  EXPECT_EQ(device.wait_handle(), kNoWaitHandle);
  device.cancel_read();
  EXPECT_EQ(device.name(), "Demo");
}

TEST_F(DeviceTest, a_device_that_is_down_says_so) {
  Device device(options());
  Packet packet;
  EXPECT_EQ(device.receive(packet), IoStatus::not_up);
  EXPECT_EQ(device.wait(std::nullopt), IoStatus::not_up);
  EXPECT_EQ(device.interface().index(), 77u);
}

TEST_F(DeviceTest, the_interface_costs_one_descriptor_until_close_and_the_last_copy) {
  const std::size_t before = open_descriptors();
  Device device(options());
  const std::size_t with_device = open_descriptors();
  EXPECT_LE(with_device, before + 1);
  {
    const Interface copy = device.interface();
    EXPECT_EQ(open_descriptors(), with_device);
    device.close();
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(DeviceTest, a_device_whose_interface_cannot_be_reached_is_not_made) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  expect_error(std::errc::too_many_files_open, {"\"Demo\"", "interface", "ulimit"},
               [&] { Device device(options()); });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(world().adapters, 0);
  Device again(options());
}

TEST_F(DeviceTest, up_is_busy_while_a_packet_of_the_last_session_is_lent) {
  Device device(options());
  device.up();
  world().deliver(ipv4_packet(20, 1));
  Packet packet;
  ASSERT_EQ(device.receive(packet), IoStatus::ok);
  device.down();
  expect_error(std::errc::device_or_resource_busy, {"still lent", "release"}, [&] { device.up(); });
  device.release(packet);
  device.up();
}

TEST_F(DeviceTest, what_keeps_a_session_from_starting_is_told_with_a_remedy) {
  const std::tuple<DWORD, std::errc, std::vector<std::string>> cases[] = {
      {ERROR_ALREADY_INITIALIZED, std::errc::device_or_resource_busy, {"has a session already"}},
      {ERROR_NOT_ENOUGH_MEMORY, std::errc::not_enough_memory, {"4194304 bytes", "ring_capacity"}},
      {ERROR_FILE_NOT_FOUND, std::errc::no_such_file_or_directory, {"interface is gone"}},
      {ERROR_ACCESS_DENIED, std::errc::operation_not_permitted, {"root"}},
  };
  Device device(options());
  for (const auto& [error, code, words] : cases) {
    world().start_errors = {error};
    expect_error(code, words, [&] { device.up(); });
    EXPECT_FALSE(device.is_up());
  }
  device.up();
}

TEST_F(DeviceTest, a_logger_may_use_the_device_whose_line_it_gets) {
  attach_logger(library->functions());
  Device device(options());
  device.up();
  world().complaint = L"no";
  int lines = 0;
  set_logger([&](LogLevel, std::uint64_t, std::string_view) {
    ++lines;
    device.down();  // would wait for itself if the line came under the device's lock
  });
  device.down();
  world().start_errors = {ERROR_GEN_FAILURE};
  EXPECT_THROW(device.up(), std::system_error);
  EXPECT_EQ(lines, 1);
  set_logger({});
}

TEST_F(DeviceTest, statistics_are_ours_and_the_drivers_and_stay_after_close) {
  Device device(options());
  device.up();
  world().deliver(ipv4_packet(100, 1));
  Packet packet;
  ASSERT_EQ(device.receive(packet), IoStatus::ok);
  device.release(packet);
  EXPECT_EQ(device.write(ipv4_packet(60, 1)), IoStatus::ok);
  world().room = 0;
  EXPECT_EQ(device.write(ipv4_packet(60, 1)), IoStatus::full);
  world().driver.ToUserDrops = 5;
  world().driver.ToNetworkDrops = 7;
  const auto check = [&] {
    const Statistics statistics = device.statistics();
    EXPECT_EQ(statistics.received_packets, 1u);
    EXPECT_EQ(statistics.received_bytes, 100u);
    EXPECT_EQ(statistics.received_drops, 5u);
    EXPECT_EQ(statistics.sent_packets, 1u);
    EXPECT_EQ(statistics.sent_bytes, 60u);
    EXPECT_EQ(statistics.sent_drops, 8u);
  };
  check();
  device.close();
  world().driver = {};
  check();
}

TEST_F(DeviceTest, a_library_without_counters_still_has_ours) {
  Device device({.name = "Demo", .library = foreign});
  device.up();
  EXPECT_EQ(device.write(ipv4_packet(60, 1)), IoStatus::ok);
  EXPECT_EQ(device.statistics().sent_packets, 1u);
  EXPECT_EQ(device.statistics().received_drops, 0u);
}

TEST_F(DeviceTest, the_drivers_version_is_told_or_why_there_is_none) {
  world().driver_version = 0x0000000E;
  EXPECT_EQ(library->driver_version(), 0xEu);
  world().driver_version = 0;
  try {
    (void)library->driver_version();
    ADD_FAILURE();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("no driver"), HasSubstr("modprobe tun")));
  }
}

}  // namespace
}  // namespace wintun
