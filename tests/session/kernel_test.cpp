// Devices on the real driver: the kernel's TUN, each test in a network namespace of its own, which the kernel removes
// with everything in it. What is counted, who is woken, and what is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <filesystem>
#include <system_error>

#include "../abi/network.hpp"
#include "session/device.hpp"
#include "session/log.hpp"
#include "threads.hpp"

namespace wintun {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

// Long for a packet, and short for a test that waits in vain.
Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(10); }
const Deadline kPast = std::chrono::steady_clock::time_point{};

// The payload of the next UDP packet; empty when there is none in time.
Bytes next_payload(Device& device) {
  Packet packet;
  IoStatus status = IoStatus::empty;
  while ((status = device.receive(packet)) == IoStatus::empty) {
    if (device.wait(soon()) != IoStatus::ok) return {};
  }
  if (status != IoStatus::ok) return {};
  Bytes payload(packet.data + std::min(packet.size, 28u), packet.data + packet.size);
  device.release(packet);
  return payload;
}

bool interface_exists(const std::string& name) { return if_nametoindex(name.c_str()) != 0; }

std::size_t descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{}));
}

// A TUN made by hand, as another program would; it lives as long as this, or for good when it is persistent.
class ForeignTun {
 public:
  explicit ForeignTun(const char* name, bool persistent) {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    EXPECT_EQ(ioctl(tun_, TUNSETIFF, &request), 0) << std::strerror(errno);
    EXPECT_EQ(ioctl(tun_, TUNSETPERSIST, persistent ? 1ul : 0ul), 0) << std::strerror(errno);
  }
  ~ForeignTun() { ::close(tun_); }
  ForeignTun(const ForeignTun&) = delete;
  ForeignTun& operator=(const ForeignTun&) = delete;

 private:
  const int tun_ = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
};

std::system_error error_of_making(const std::string& name) {
  try {
    Device device({.name = name});
  } catch (const std::system_error& error) {
    return error;
  }
  ADD_FAILURE() << "made " << name;
  return std::system_error({}, "");
}

// Every test runs on the library that is linked, and on the same one loaded by its path.
class KernelTest : public testing::TestWithParam<bool> {
 protected:
  DeviceOptions options(const std::string& name = "Demo") {
    return {.name = name, .ring_capacity = 0x20000, .library = GetParam() ? Library::load(WINTUN_LIBRARY) : nullptr};
  }
};

INSTANTIATE_TEST_SUITE_P(Library, KernelTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "loaded" : "linked"; });

TEST_P(KernelTest, packets_go_both_ways_unchanged_and_are_counted) {
  in_own_network([this] {
    Device device(options());
    EXPECT_EQ(device.index(), if_nametoindex("Demo"));
    device.up();
    KernelSocket kernel(device.index());
    for (std::uint8_t i = 1; i <= 100; ++i) {
      kernel.send(i * 10u, i);
      ASSERT_THAT(next_payload(device), ElementsAreArray(Bytes(i * 10u, i)));
      ASSERT_EQ(device.write(packet_to_kernel(i, i)), IoStatus::ok);
      ASSERT_THAT(kernel.receive(), ElementsAreArray(Bytes(i, i)));
    }
    Packet packet;
    EXPECT_EQ(device.receive(packet), IoStatus::empty);
    const Statistics statistics = device.statistics();
    EXPECT_EQ(statistics.received_packets, 100u);
    EXPECT_EQ(statistics.received_bytes, 100u * 28 + 10 * 5050);
    EXPECT_EQ(statistics.received_drops, 0u);
    EXPECT_EQ(statistics.sent_packets, 100u);
    EXPECT_EQ(statistics.sent_bytes, 100u * 28 + 5050);
    EXPECT_EQ(statistics.sent_drops, 0u);
  });
}

TEST_P(KernelTest, batches_go_both_ways_in_order) {
  in_own_network([this] {
    Device device(options());
    device.up();
    KernelSocket kernel(device.index());
    for (std::uint8_t i = 0; i < 150; ++i) kernel.send(100, i);
    std::vector<Packet> packets(200);
    std::size_t got = 0;
    while (got < 150) {
      std::size_t count = 0;
      ASSERT_EQ(device.receive_many(std::span(packets).subspan(got), count), IoStatus::ok);
      got += count;
    }
    for (std::uint8_t i = 0; i < 150; ++i) EXPECT_EQ(packets[i].data[28], i);
    device.release_many(std::span(packets).first(got));

    std::vector<Bytes> out;
    for (std::uint8_t i = 0; i < 150; ++i) out.push_back(packet_to_kernel(50, i));
    const std::vector<std::span<const std::uint8_t>> spans(out.begin(), out.end());
    std::size_t written = 0;
    EXPECT_EQ(device.write_many(spans, written), IoStatus::ok);
    EXPECT_EQ(written, 150u);
    for (std::uint8_t i = 0; i < 150; ++i) ASSERT_THAT(kernel.receive(), ElementsAreArray(Bytes(50, i)));
  });
}

TEST_P(KernelTest, a_packet_of_the_kernel_wakes_a_blocked_waiter) {
  in_own_network([this] {
    Device device(options());
    device.up();
    KernelSocket kernel(device.index());
    IoStatus answer = IoStatus::failed;
    Threads threads;
    threads.run([&] { answer = device.wait(soon()); });
    until([&] { return device.statistics().waits == 1; });
    kernel.send(10);
    threads.join();
    EXPECT_EQ(answer, IoStatus::ok);
    EXPECT_EQ(device.statistics().wakes, 1u);
    EXPECT_TRUE(is_readable(reinterpret_cast<HANDLE>(device.wait_handle())));
    EXPECT_EQ(next_payload(device).size(), 10u);
    EXPECT_EQ(device.wait(kPast), IoStatus::timed_out);
    EXPECT_FALSE(is_readable(reinterpret_cast<HANDLE>(device.wait_handle())));
  });
}

TEST_P(KernelTest, close_wakes_every_blocked_waiter_and_removes_the_interface) {
  in_own_network([this] {
    Device device(options());
    device.up();
    std::vector<IoStatus> answers(3, IoStatus::failed);
    Threads threads;
    for (IoStatus& answer : answers) threads.run([&] { answer = device.wait(std::nullopt); });
    until([&] { return device.statistics().waits == 3; });
    device.close();
    EXPECT_FALSE(interface_exists("Demo"));
    threads.join();
    EXPECT_THAT(answers, testing::Each(IoStatus::closed));
    Device again(options());
    again.up();
  });
}

TEST_P(KernelTest, the_interface_and_its_addresses_survive_down_and_what_was_unread_is_a_drop) {
  in_own_network([this] {
    Device device(options());
    device.up();
    KernelSocket kernel(device.index());
    for (int i = 0; i < 5; ++i) kernel.send(10);
    Packet packet;
    ASSERT_EQ(device.receive(packet), IoStatus::ok);
    device.release(packet);
    device.down();
    EXPECT_TRUE(interface_exists("Demo"));
    EXPECT_EQ(device.interface().addresses().size(), 1u);
    EXPECT_EQ(device.statistics().received_drops, 4u);
    device.up();
    EXPECT_EQ(device.receive(packet), IoStatus::empty);
    kernel.send(11);
    EXPECT_EQ(next_payload(device).size(), 11u);
    EXPECT_EQ(device.statistics().received_packets, 2u);
    device.close();
    EXPECT_EQ(device.statistics().received_packets, 2u);
    EXPECT_EQ(device.statistics().received_drops, 4u);
  });
}

TEST_P(KernelTest, a_lent_packet_outlives_down_and_close) {
  in_own_network([this] {
    Device device(options());
    device.up();
    KernelSocket kernel(device.index());
    kernel.send(1000, 0xAB);
    Packet packet;
    ASSERT_EQ(device.wait(soon()), IoStatus::ok);
    ASSERT_EQ(device.receive(packet), IoStatus::ok);
    device.down();
    EXPECT_THAT(packet.bytes().subspan(28), ElementsAreArray(Bytes(1000, 0xAB)));
    EXPECT_THROW(device.up(), std::system_error);
    device.close();
    EXPECT_FALSE(interface_exists("Demo"));
    EXPECT_THAT(packet.bytes().subspan(28), ElementsAreArray(Bytes(1000, 0xAB)));
    device.release(packet);
    EXPECT_EQ(device.receive(packet), IoStatus::closed);
  });
}

TEST_P(KernelTest, an_interface_that_somebody_removes_ends_the_session) {
  in_own_network([this] {
    Device device(options());
    device.up();
    IoStatus answer = IoStatus::failed;
    Threads threads;
    threads.run([&] { answer = device.wait(soon()); });
    until([&] { return device.statistics().waits == 1; });
    ASSERT_EQ(std::system("ip link delete dev Demo"), 0);
    threads.join();
    EXPECT_EQ(answer, IoStatus::ok) << "a read says what it is";
    Packet packet;
    EXPECT_EQ(device.receive(packet), IoStatus::ended);
    const Bytes bytes = packet_to_kernel(10, 1);
    (void)device.write(bytes);  // the driver may learn of it by this very write
    EXPECT_EQ(device.write(bytes), IoStatus::ended);
    device.down();
    EXPECT_THROW(device.up(), std::system_error);
    device.close();
    Device again(options());
    again.up();
  });
}

TEST_P(KernelTest, a_persistent_interface_is_opened_and_stays) {
  in_own_network([this] {
    { const ForeignTun tun("Demo", true); }
    {
      Device device(options());
      device.up();
      KernelSocket kernel(device.index());
      kernel.send(10);
      EXPECT_EQ(next_payload(device).size(), 10u);
    }
    EXPECT_TRUE(interface_exists("Demo"));
  });
}

TEST_P(KernelTest, an_interface_that_another_holds_is_a_name_that_is_taken) {
  in_own_network([] {
    const ForeignTun tun("Demo", false);
    const auto error = error_of_making("Demo");
    EXPECT_EQ(error.code(), std::errc::file_exists) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("\"Demo\""));
    EXPECT_THAT(error.what(), HasSubstr("another name"));
    EXPECT_EQ(error_of_making("lo").code(), std::errc::file_exists);
    EXPECT_TRUE(interface_exists("Demo"));
  });
}

// Only this thread's, and the thread ends with the test.
void drop_privilege() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  ASSERT_EQ(syscall(SYS_capset, &header, none), 0);
}

TEST_P(KernelTest, without_the_privilege_the_error_says_what_to_do) {
  in_own_network([] {
    drop_privilege();
    const auto error = error_of_making("Demo");
    EXPECT_EQ(error.code(), std::errc::operation_not_permitted) << error.what();
    for (const char* word : {"\"Demo\"", "root", "CAP_NET_ADMIN", "user namespace", "backend='embedded'"}) {
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
    EXPECT_FALSE(interface_exists("Demo"));
  });
}

TEST_P(KernelTest, two_devices_in_one_process_do_not_mix) {
  in_own_network([this] {
    Device first(options("One")), second(options("Two"));
    first.up();
    second.up();
    EXPECT_NE(first.index(), second.index());
    KernelSocket kernel(second.index());
    kernel.send(10);
    EXPECT_EQ(next_payload(second).size(), 10u);
    Packet packet;
    EXPECT_EQ(first.receive(packet), IoStatus::empty);
  });
}

TEST_P(KernelTest, lines_of_the_library_reach_the_logger) {
  in_own_network([this] {
    std::string text;
    set_logger([&](LogLevel, std::uint64_t, std::string_view line) { text += std::string(line) + "\n"; });
    {
      Device device(options());
      device.up();
    }
    set_logger({});
    EXPECT_THAT(text, HasSubstr("\"Demo\""));
  });
}

TEST_P(KernelTest, a_thousand_sessions_leave_no_descriptor) {
  in_own_network([this] {
    const auto use = [](Device& device) {
      device.up();
      (void)device.wait(kPast);
      (void)device.write(packet_to_kernel(10, 1));
      device.down();
    };
    const DeviceOptions chosen = options();
    { Device device(chosen), other({.name = "Other", .library = chosen.library}); }
    const std::size_t before = descriptors();
    for (int i = 0; i < 20; ++i) {
      Device device(chosen);
      for (int j = 0; j < 50; ++j) use(device);
    }
    EXPECT_EQ(descriptors(), before);
  });
}

// Everybody at once on one device that goes up and down all the time.
TEST_P(KernelTest, going_up_and_down_under_readers_and_writers_disturbs_nobody) {
  in_own_network([this] {
    Device device(options());
    device.up();
    KernelSocket kernel(device.index());
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> received = 0, written = 0;
    Threads threads;
    for (int i = 0; i < 2; ++i) {
      threads.run([&] {
        Packet packet;
        while (!stop) {
          if (device.receive(packet) == IoStatus::ok) {
            EXPECT_GE(packet.size, 28u);
            EXPECT_EQ(packet.data[0], 0x45);
            ++received;
            device.release(packet);
          } else {
            (void)device.wait(std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
          }
        }
      });
    }
    threads.run([&] {
      const Bytes bytes = packet_to_kernel(100, 1);
      while (!stop) {
        if (device.write(bytes) == IoStatus::ok) ++written;
        device.cancel_read();
      }
    });
    for (int round = 0; round < 50; ++round) {
      device.down();
      for (bool is_up = false; !is_up;) {
        try {
          device.up();
          is_up = true;
        } catch (const std::system_error& error) {
          ASSERT_EQ(error.code(), std::errc::device_or_resource_busy) << error.what();
        }
      }
      for (int i = 0; i < 20; ++i) kernel.send(100);
    }
    stop = true;
    threads.join();
    EXPECT_EQ(device.statistics().received_packets, received);
    EXPECT_EQ(device.statistics().sent_packets, written);
  });
}

}  // namespace
}  // namespace wintun
