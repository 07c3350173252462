// driver/linux on the real kernel: packets, link states, errors and ends. Each test has its own network namespace.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tun_scene.hpp"

namespace wintun {
namespace {

using LinuxDeviceTest = TunScene;

bool exists(const std::string& name) {
  return failure_of([&] { (void)Interface::find(name); }).code == 0;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

// A TUN interface that outlives its descriptor, as an administrator makes it.
void make_persistent(const std::string& name, short flags = IFF_TUN | IFF_NO_PI) {
  const int descriptor = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = flags;
  ASSERT_EQ(::ioctl(descriptor, TUNSETIFF, &request), 0);
  ASSERT_EQ(::ioctl(descriptor, TUNSETPERSIST, 1), 0);
  ASSERT_EQ(::close(descriptor), 0);
}

TEST_F(LinuxDeviceTest, datagrams_of_the_kernel_arrive_whole_and_in_order) {
  Program program;
  const auto device = connected(program);
  for (const int family : {4, 6}) {
    UdpSocket socket(family);
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{1400}}) {
      const Bytes payload = numbered(size, static_cast<std::uint8_t>(size));
      ASSERT_TRUE(socket.send(payload));
      const Bytes packet =
          next(*device, program, [&](const Bytes& seen) { return is_udp_packet(seen, family, payload); });
      EXPECT_FALSE(packet.empty()) << "IPv" << family << " " << size;
    }
  }
  EXPECT_GE(device->counters().to_user_packets, 8u);
  EXPECT_EQ(device->counters().to_user_drops, 0u);
}

TEST_F(LinuxDeviceTest, packets_of_the_program_reach_a_socket_of_the_kernel) {
  Program program;
  const auto device = connected(program);
  for (const int family : {4, 6}) {
    UdpSocket socket(family);
    for (const std::size_t size : {std::size_t{1}, std::size_t{64}, std::size_t{1400}}) {
      ASSERT_TRUE(program.send(udp_packet(family, numbered(size, 9))));
      EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
      EXPECT_EQ(socket.receive(), numbered(size, 9)) << "IPv" << family;
    }
  }
  EXPECT_EQ(device->pump_to_network(), PumpStatus::idle);
  const DriverCounters counters = device->counters();
  EXPECT_EQ(counters.to_network_packets, 6u);
  EXPECT_EQ(counters.to_network_bytes, 3 * 28u + 3 * 48u + 2 * (1 + 64 + 1400));
  EXPECT_EQ(counters.to_network_drops, 0u);
}

TEST_F(LinuxDeviceTest, one_pump_sends_all_that_is_in_the_ring) {
  Program program;
  const auto device = connected(program);
  UdpSocket socket(4);
  for (std::uint8_t i = 0; i < 200; ++i) ASSERT_TRUE(program.send(udp_packet(4, numbered(20, i))));
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
  for (std::uint8_t i = 0; i < 200; ++i) EXPECT_EQ(socket.receive(), numbered(20, i));
}

TEST_F(LinuxDeviceTest, packets_as_long_as_the_largest_mtu_go_both_ways) {
  Program program(kMinCapacity * 4);
  const auto device = connected(program);
  Interface(device->interface_index()).set_mtu(65535);
  UdpSocket socket(4);
  const Bytes payload = numbered(65535 - 28, 5);
  ASSERT_TRUE(socket.send(payload));
  EXPECT_FALSE(next(*device, program, [&](const Bytes& seen) { return is_udp_packet(seen, 4, payload); }).empty());
  ASSERT_TRUE(program.send(udp_packet(4, payload)));
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
  EXPECT_EQ(socket.receive(), payload);
}

TEST_F(LinuxDeviceTest, a_limit_leaves_the_rest_in_the_kernel) {
  Program program;
  const auto device = connected(program);
  UdpSocket socket(4);
  for (std::uint8_t i = 0; i < 10; ++i) ASSERT_TRUE(socket.send(numbered(100, i)));
  const std::uint64_t before = device->counters().to_user_packets;
  EXPECT_EQ(device->pump_to_user(3), PumpStatus::ok);
  EXPECT_EQ(device->counters().to_user_packets, before + 3);
  for (std::uint8_t i = 0; i < 10; ++i) {
    EXPECT_FALSE(
        next(*device, program, [&](const Bytes& seen) { return is_udp_packet(seen, 4, numbered(100, i)); }).empty());
  }
}

TEST_F(LinuxDeviceTest, a_full_ring_leaves_packets_in_the_kernel_and_loses_none) {
  Program program;
  const auto device = connected(program);
  Interface(device->interface_index()).set_mtu(65535);
  UdpSocket socket(4);
  const auto large = [](std::uint8_t first) { return numbered(60000, first); };
  for (std::uint8_t i = 0; i < 4; ++i) ASSERT_TRUE(socket.send(large(i)));
  ASSERT_TRUE(eventually([&] { return device->pump_to_user(10) == PumpStatus::full; }));
  EXPECT_EQ(device->pump_to_user(10), PumpStatus::full);
  for (std::uint8_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(next(*device, program, [&](const Bytes& seen) { return is_udp_packet(seen, 4, large(i)); }).empty());
  }
  EXPECT_EQ(device->counters().to_user_drops, 0u);
}

TEST_F(LinuxDeviceTest, what_the_kernel_drops_for_want_of_room_is_counted) {
  Program program;
  const auto device = connected(program);
  Interface(device->interface_index()).set_transmit_queue(8);
  UdpSocket socket(4);
  constexpr std::uint64_t kSent = 100;
  for (std::uint64_t i = 0; i < kSent; ++i) (void)socket.send(numbered(100, 1));
  std::uint64_t arrived = 0;
  while (device->pump_to_user(1) == PumpStatus::ok) {
    if (is_udp_packet(program.take(), 4, numbered(100, 1))) ++arrived;
  }
  EXPECT_LE(arrived, 8u);
  EXPECT_GE(device->counters().to_user_drops, kSent - arrived);
}

TEST_F(LinuxDeviceTest, the_wait_handle_is_readable_while_the_kernel_has_a_packet) {
  Program program;
  const auto device = connected(program);
  pollfd waiting{static_cast<int>(device->wait_handle()), POLLIN, 0};
  while (device->pump_to_user(1) == PumpStatus::ok) (void)program.take();
  UdpSocket socket(4);
  ASSERT_TRUE(socket.send(numbered(10, 1)));
  EXPECT_EQ(::poll(&waiting, 1, 20000), 1);
  EXPECT_EQ(device->pump_to_user(1), PumpStatus::ok);
}

TEST_F(LinuxDeviceTest, the_link_follows_the_session_and_the_interface_stays_up) {
  Program program;
  LinuxDevice device("Demo", true);
  const Interface interface(device.interface_index());
  EXPECT_FALSE(interface.is_up());
  EXPECT_EQ(interface.name(), "Demo");
  EXPECT_EQ(device.interface_name(), "Demo");
  device.connect(program.rings());
  EXPECT_TRUE(interface.is_up());
  EXPECT_TRUE(eventually([] { return has_carrier("Demo"); }));
  device.disconnect();
  EXPECT_TRUE(interface.is_up());
  EXPECT_TRUE(eventually([] { return !has_carrier("Demo"); }));
}

TEST_F(LinuxDeviceTest, the_first_packet_after_each_connect_is_not_lost) {
  Program program;
  const auto device = connected(program);
  for (std::uint8_t i = 0; i < 20; ++i) {
    const int family = i % 2 == 0 ? 4 : 6;
    UdpSocket socket(family);
    ASSERT_TRUE(program.send(udp_packet(family, numbered(10, i))));
    EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
    EXPECT_EQ(socket.receive(), numbered(10, i));
    device->disconnect();
    program.restart();
    device->connect(program.rings());
    ASSERT_TRUE(socket.send(numbered(10, i)));
    EXPECT_FALSE(next(*device, program, [&](const Bytes& seen) {
                   return is_udp_packet(seen, family, numbered(10, i));
                 }).empty());
    device->disconnect();
    program.restart();
    device->connect(program.rings());
  }
}

TEST_F(LinuxDeviceTest, addresses_survive_a_session) {
  Program program;
  const auto device = connected(program);
  device->disconnect();
  EXPECT_EQ(Interface(device->interface_index()).addresses().size(), 2u);
  program.restart();
  device->connect(program.rings());
  UdpSocket socket(6);
  ASSERT_TRUE(socket.send(numbered(10, 1)));
  EXPECT_FALSE(
      next(*device, program, [](const Bytes& seen) { return is_udp_packet(seen, 6, numbered(10, 1)); }).empty());
}

TEST_F(LinuxDeviceTest, what_waits_in_the_kernel_at_a_disconnect_is_drained_and_counted) {
  Program program;
  const auto device = connected(program);
  while (device->pump_to_user(1) == PumpStatus::ok) (void)program.take();
  UdpSocket socket(4);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(socket.send(numbered(100, 1)));
  const std::uint32_t tail = observe_tail(&program.to_user()->tail);
  EXPECT_LT(tail, kMinCapacity);
  device->disconnect();
  EXPECT_GE(device->counters().to_user_drops, 20u);
  program.restart();
  device->connect(program.rings());
  while (device->pump_to_user(1) == PumpStatus::ok) {
    EXPECT_FALSE(is_udp_packet(program.take(), 4, numbered(100, 1)));
  }
}

TEST_F(LinuxDeviceTest, a_disconnect_tells_the_program_by_both_rings_and_the_event) {
  Program program;
  const auto device = connected(program);
  device->disconnect();
  EXPECT_EQ(program.to_user()->tail, kEnded);
  EXPECT_EQ(program.to_network()->head, kEnded);
  const WaitHandle handles[] = {program.moved().handle()};
  EXPECT_EQ(wait_any(handles, std::chrono::steady_clock::now()), WaitStatus::signalled);
  EXPECT_EQ(device->pump_to_user(1), PumpStatus::ended);
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ended);
  device->disconnect();
}

TEST_F(LinuxDeviceTest, rings_are_not_touched_after_a_disconnect_that_meets_pumps) {
  auto program = std::make_unique<Program>();
  const auto device = connected(*program);
  for (int round = 0; round < 30; ++round) {
    std::thread reader([&] {
      while (device->pump_to_user(1) != PumpStatus::ended) std::this_thread::yield();
    });
    std::thread writer([&] {
      while (device->pump_to_network() != PumpStatus::ended) std::this_thread::yield();
    });
    device->disconnect();
    program.reset();  // a sanitizer would see the touch
    reader.join();
    writer.join();
    program = std::make_unique<Program>();
    device->connect(program->rings());
  }
}

TEST_F(LinuxDeviceTest, a_packet_that_the_kernel_refuses_is_a_counted_drop) {
  Program program;
  const auto device = connected(program);
  UdpSocket socket(4);
  Interface(device->interface_index()).set_up(false);
  ASSERT_TRUE(program.send(udp_packet(4, numbered(10, 1))));  // EIO: down
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
  Interface(device->interface_index()).set_up(true);
  ASSERT_TRUE(program.send(Bytes(100, 0x55)));  // no IP
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
  EXPECT_EQ(device->counters().to_network_drops, 2u);
  EXPECT_EQ(device->counters().to_network_packets, 0u);
  ASSERT_TRUE(program.send(udp_packet(4, numbered(10, 2))));
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
  EXPECT_EQ(socket.receive(), numbered(10, 2));
}

TEST_F(LinuxDeviceTest, a_ring_that_cannot_be_ends_only_its_direction) {
  Program program;
  const auto device = connected(program);
  publish_tail(&program.to_network()->tail, 3);
  EXPECT_EQ(device->pump_to_network(), PumpStatus::ended);
  EXPECT_EQ(program.to_network()->head, kEnded);
  EXPECT_NE(device->pump_to_user(1), PumpStatus::ended);
}

TEST_F(LinuxDeviceTest, an_interface_removed_under_us_ends_both_directions_at_once) {
  Program program;
  const auto device = connected(program);
  delete_interface(device->interface_index());
  pollfd waiting{static_cast<int>(device->wait_handle()), POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 20000), 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(device->pump_to_user(1), PumpStatus::ended);
  ASSERT_TRUE(program.send(udp_packet(4, numbered(10, 1))));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(device->pump_to_network(), PumpStatus::ended);
  RingStatus status = RingStatus::ok;
  EXPECT_TRUE(program.take(&status).empty());
  EXPECT_EQ(status, RingStatus::ended);
  (void)device->counters();
  device->disconnect();
  EXPECT_EQ(failure_of([&] { device->connect(program.rings()); }).code, ENODEV);
}

TEST_F(LinuxDeviceTest, the_interface_goes_with_its_device) {
  {
    LinuxDevice device("Demo", true);
    EXPECT_TRUE(exists("Demo"));
  }
  EXPECT_FALSE(exists("Demo"));
  LinuxDevice again("Demo", true);
  EXPECT_TRUE(exists("Demo"));
}

TEST_F(LinuxDeviceTest, the_interface_goes_with_a_killed_process) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const LinuxDevice device("Demo", true);
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_TRUE(exists("Demo"));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(eventually([] { return !exists("Demo"); }));
  (void)::close(ready[0]);
  (void)::close(ready[1]);
}

TEST_F(LinuxDeviceTest, descriptors_are_not_inherited_and_not_lost) {
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Program program;
    const auto device = connected(program);
    EXPECT_NE(::fcntl(static_cast<int>(device->wait_handle()), F_GETFD) & FD_CLOEXEC, 0);
    (void)failure_of([] { LinuxDevice("Demo", true); });
    (void)failure_of([] { LinuxDevice("Demo", false); });
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(LinuxDeviceTest, a_name_in_use_is_an_error_that_names_it) {
  const LinuxDevice device("Demo", true);
  const Failure own = failure_of([] { LinuxDevice("Demo", true); });
  EXPECT_EQ(own.code, EEXIST);
  EXPECT_NE(own.text.find("'Demo'"), std::string::npos) << own.text;
  EXPECT_EQ(failure_of([] { LinuxDevice("lo", true); }).code, EEXIST);
}

TEST_F(LinuxDeviceTest, a_long_name_is_mapped_and_collides_only_with_itself) {
  const std::string name = "A tunnel with a name longer than fifteen bytes";
  const LinuxDevice device(name, true);
  EXPECT_LE(device.interface_name().size(), 15u);
  EXPECT_EQ(failure_of([&] { LinuxDevice(name, true); }).code, EEXIST);
  const LinuxDevice other(name + "!", true);
  EXPECT_NE(device.interface_name(), other.interface_name());
}

TEST_F(LinuxDeviceTest, opening_tells_nothing_there_from_no_tun_and_from_held) {
  EXPECT_EQ(failure_of([] { LinuxDevice("nothing", false); }).code, ENODEV);
  EXPECT_FALSE(exists("nothing"));
  EXPECT_EQ(failure_of([] { LinuxDevice("lo", false); }).code, EEXIST);
  const LinuxDevice device("Demo", true);
  EXPECT_EQ(failure_of([] { LinuxDevice("Demo", false); }).code, EBUSY);
  make_persistent("tap", IFF_TAP | IFF_NO_PI);
  EXPECT_EQ(failure_of([] { LinuxDevice("tap", false); }).code, EEXIST);
}

TEST_F(LinuxDeviceTest, a_persistent_interface_is_opened_used_and_kept) {
  make_persistent("kept");
  EXPECT_EQ(failure_of([] { LinuxDevice("kept", true); }).code, EEXIST);
  Program program;
  {
    LinuxDevice device("kept", false);
    EXPECT_TRUE(device.is_persistent());
    Interface(device.interface_index()).add_address(address4(1));
    device.connect(program.rings());
    UdpSocket socket(4);
    ASSERT_TRUE(socket.send(numbered(10, 1)));
    EXPECT_FALSE(
        next(device, program, [](const Bytes& seen) { return is_udp_packet(seen, 4, numbered(10, 1)); }).empty());
  }
  EXPECT_TRUE(exists("kept"));
  const LinuxDevice again("kept", false);
}

TEST_F(LinuxDeviceTest, a_renamed_interface_is_known_by_its_new_name) {
  LinuxDevice device("Demo", true);
  EXPECT_FALSE(device.is_persistent());
  ifreq request{};
  std::strcpy(request.ifr_name, "Demo");
  std::strcpy(request.ifr_newname, "other");
  const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::ioctl(descriptor, SIOCSIFNAME, &request), 0);
  (void)::close(descriptor);
  EXPECT_EQ(device.interface_name(), "other");
}

TEST_F(LinuxDeviceTest, without_the_device_node_the_error_names_it) {
  EXPECT_TRUE(LinuxDevice::is_present());
  EXPECT_EQ(in_child([] {
              if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                  ::mount("none", "/dev/net", "tmpfs", 0, nullptr) != 0) {
                return 1;
              }
              const Failure failure = failure_of([] { LinuxDevice("Demo", true); });
              if (failure.code != ENOENT || failure.text.find("/dev/net/tun") == std::string::npos) return 2;
              return LinuxDevice::is_present() ? 3 : 0;
            }),
            0);
}

TEST_F(LinuxDeviceTest, without_the_right_the_error_is_a_refusal_and_nothing_is_made) {
  EXPECT_EQ(in_child([] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              __user_cap_data_struct data[2];
              if (::syscall(SYS_capget, &header, data) != 0) return 1;
              data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective &= ~CAP_TO_MASK(CAP_NET_ADMIN);
              if (::syscall(SYS_capset, &header, data) != 0) return 2;
              const Failure failure = failure_of([] { LinuxDevice("Demo", true); });
              if (failure.code != EPERM || failure.text.find("'Demo'") == std::string::npos) return 3;
              return exists("Demo") ? 4 : 0;
            }),
            0);
}

TEST_F(LinuxDeviceTest, without_a_free_descriptor_the_error_says_so) {
  EXPECT_EQ(in_child([] {
              const rlimit none{3, 3};
              if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
              return failure_of([] { LinuxDevice("Demo", true); }).code == EMFILE ? 0 : 2;
            }),
            0);
}

TEST_F(LinuxDeviceTest, one_that_fails_on_its_way_leaves_no_interface) {
  EXPECT_EQ(in_child([] {
              // Room for /dev/net/tun, and none for the netlink socket that comes next.
              const int next = ::open("/dev/null", O_RDONLY);
              const rlimit one{static_cast<rlim_t>(next) + 1, static_cast<rlim_t>(next) + 1};
              (void)::close(next);
              if (::setrlimit(RLIMIT_NOFILE, &one) != 0) return 1;
              return failure_of([] { LinuxDevice("Demo", true); }).code == EMFILE ? 0 : 2;
            }),
            0);
  EXPECT_FALSE(exists("Demo"));
}

TEST_F(LinuxDeviceTest, an_empty_name_is_refused) {
  EXPECT_EQ(failure_of([] { LinuxDevice("", true); }).code, EINVAL);
  EXPECT_EQ(failure_of([] { LinuxDevice("", false); }).code, EINVAL);
}

}  // namespace
}  // namespace wintun
