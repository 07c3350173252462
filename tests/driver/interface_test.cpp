// platform/interface on the real kernel, on a TUN interface in a network namespace of the test's own.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tun_scene.hpp"

namespace wintun {
namespace {

class InterfaceTest : public TunScene {
 protected:
  void SetUp() override {
    TunScene::SetUp();
    if (IsSkipped()) return;
    device = std::make_unique<LinuxDevice>("Demo", true);
    interface = std::make_unique<Interface>(device->interface_index());
  }

  // In a thread in a namespace of its own, with the interface there that has the index of ours.
  void elsewhere(const std::function<void(const Interface& foreign)>& act) {
    std::thread([&] {
      ASSERT_EQ(enter_own_network(), "");
      const LinuxDevice other("Other", true);
      const Interface foreign = Interface::find("Other");
      ASSERT_EQ(foreign.index(), interface->index()) << "each is the first of its namespace";
      act(foreign);
    }).join();
  }

  Program program;  // outlives the device
  std::unique_ptr<LinuxDevice> device;
  std::unique_ptr<Interface> interface;
};

void expect_text(const Failure& failure, const std::string& part) {
  EXPECT_NE(failure.text.find(part), std::string::npos) << failure.text;
}

TEST_F(InterfaceTest, it_is_found_by_name_and_by_index) {
  EXPECT_EQ(Interface::find("Demo").index(), device->interface_index());
  EXPECT_EQ(interface->name(), "Demo");
}

TEST_F(InterfaceTest, what_is_not_there_is_no_device_and_named) {
  const Failure by_name = failure_of([] { (void)Interface::find("nothing"); });
  EXPECT_EQ(by_name.code, ENODEV);
  expect_text(by_name, "'nothing'");
  EXPECT_EQ(failure_of([] { (void)Interface::find(""); }).code, ENODEV);
  EXPECT_EQ(failure_of([] { (void)Interface::find("a name of many more bytes"); }).code, ENODEV);
  for (const std::uint32_t index : {0u, 77777u}) {
    const Interface none(index);
    EXPECT_EQ(failure_of([&] { (void)none.mtu(); }).code, ENODEV);
    EXPECT_EQ(failure_of([&] { (void)none.is_up(); }).code, ENODEV);
    EXPECT_EQ(failure_of([&] { none.set_up(true); }).code, ENODEV);
    const Failure failure = failure_of([&] { none.set_mtu(1400); });
    EXPECT_EQ(failure.code, ENODEV);
    expect_text(failure, std::to_string(index));
    EXPECT_EQ(failure_of([&] { none.add_address(address4(1)); }).code, ENODEV);
  }
}

TEST_F(InterfaceTest, the_mtu_is_set_and_read_within_the_kernels_limits) {
  EXPECT_EQ(interface->mtu(), 1500u);
  for (const std::uint32_t mtu : {68u, 1280u, 9000u, 65535u}) {
    interface->set_mtu(mtu);
    EXPECT_EQ(interface->mtu(), mtu);
  }
  for (const std::uint32_t mtu : {0u, 67u, 65536u, 0xFFFFFFFFu}) {
    const Failure failure = failure_of([&] { interface->set_mtu(mtu); });
    EXPECT_EQ(failure.code, EINVAL) << mtu;
    expect_text(failure, "MTU");
    expect_text(failure, "Demo");
  }
  EXPECT_EQ(interface->mtu(), 65535u);
}

TEST_F(InterfaceTest, it_goes_up_and_down) {
  EXPECT_FALSE(interface->is_up());
  interface->set_up(true);
  EXPECT_TRUE(interface->is_up());
  interface->set_up(true);
  interface->set_up(false);
  EXPECT_FALSE(interface->is_up());
}

TEST_F(InterfaceTest, addresses_of_both_families_are_added_listed_and_removed) {
  EXPECT_TRUE(interface->addresses().empty());
  const std::vector<IpAddress> wanted = {address4(1), address4(2, 32), address6(1), address6(2, 128)};
  for (const IpAddress& address : wanted) interface->add_address(address);
  const std::vector<IpAddress> found = interface->addresses();
  EXPECT_EQ(found.size(), wanted.size());
  for (const IpAddress& address : wanted) {
    EXPECT_EQ(std::count(found.begin(), found.end(), address), 1);
    interface->remove_address(address);
  }
  EXPECT_TRUE(interface->addresses().empty());
}

TEST_F(InterfaceTest, another_interfaces_addresses_are_not_listed) {
  const LinuxDevice second("Second", true);
  Interface(second.interface_index()).add_address(address4(9));
  EXPECT_TRUE(interface->addresses().empty());
}

TEST_F(InterfaceTest, an_address_of_the_kernels_own_is_not_listed_and_one_of_the_users_is) {
  device->connect(program.rings());  // up and with carrier the kernel gives it a link-local address
  IpAddress link_local = address6(1);
  link_local.bytes[0] = 0xFE;
  link_local.bytes[1] = 0x80;
  interface->add_address(link_local);
  EXPECT_EQ(interface->addresses(), std::vector<IpAddress>{link_local});
}

TEST_F(InterfaceTest, an_address_added_to_a_running_interface_is_reached_at_once) {
  device->connect(program.rings());
  for (int i = 0; i < 20; ++i) {
    interface->add_address(address6(1));
    {
      UdpSocket socket(6);
      ASSERT_TRUE(program.send(udp_packet(6, numbered(10, 1))));
      EXPECT_EQ(device->pump_to_network(), PumpStatus::ok);
      EXPECT_EQ(socket.receive(), numbered(10, 1));
    }
    interface->remove_address(address6(1));
  }
}

TEST_F(InterfaceTest, an_address_twice_or_not_there_is_told) {
  for (const IpAddress& address : {address4(1), address6(1)}) {
    interface->add_address(address);
    const Failure twice = failure_of([&] { interface->add_address(address); });
    EXPECT_EQ(twice.code, EEXIST);
    expect_text(twice, address.family == 4 ? "10.77.0.1/24" : "fd77::1/64");
    expect_text(twice, "Demo");
    interface->remove_address(address);
    EXPECT_EQ(failure_of([&] { interface->remove_address(address); }).code, EADDRNOTAVAIL);
  }
}

TEST_F(InterfaceTest, an_address_that_is_none_is_refused_before_the_kernel_sees_it) {
  IpAddress address = address4(1);
  address.family = 5;
  EXPECT_EQ(failure_of([&] { interface->add_address(address); }).code, EINVAL);
  EXPECT_EQ(failure_of([&] { interface->add_address(address4(1, 33)); }).code, EINVAL);
  EXPECT_EQ(failure_of([&] { interface->remove_address(address6(1, 129)); }).code, EINVAL);
  EXPECT_TRUE(interface->addresses().empty());
}

TEST_F(InterfaceTest, many_addresses_are_all_listed) {
  for (std::uint8_t last = 1; last < 201; ++last) interface->add_address(address6(last));
  EXPECT_EQ(interface->addresses().size(), 200u);
}

TEST_F(InterfaceTest, drops_of_the_kernel_are_read) {
  EXPECT_EQ(interface->transmit_drops(), 0u);
  interface->add_address(address4(1));
  device->connect(program.rings());
  interface->set_transmit_queue(1);
  UdpSocket socket(4);
  for (int i = 0; i < 50; ++i) (void)socket.send(numbered(10, 1));
  EXPECT_GE(interface->transmit_drops(), 40u);
}

TEST_F(InterfaceTest, it_acts_in_its_own_namespace_from_a_thread_in_another) {
  elsewhere([this](const Interface& foreign) {
    EXPECT_EQ(interface->name(), "Demo");
    interface->set_mtu(1400);
    EXPECT_EQ(interface->mtu(), 1400u);
    interface->set_up(true);
    EXPECT_TRUE(interface->is_up());
    interface->set_transmit_queue(7);
    interface->add_address(address4(1));
    interface->add_address(address6(1));
    EXPECT_EQ(interface->addresses().size(), 2u);
    interface->remove_address(address6(1));
    EXPECT_EQ(interface->addresses(), std::vector<IpAddress>{address4(1)});
    expect_text(failure_of([&] { interface->set_mtu(1); }), "Demo");

    EXPECT_EQ(foreign.name(), "Other");
    EXPECT_EQ(foreign.mtu(), 1500u);
    EXPECT_FALSE(foreign.is_up());
    EXPECT_TRUE(foreign.addresses().empty());
    EXPECT_EQ(failure_of([] { (void)Interface::find("Demo"); }).code, ENODEV);
  });
  EXPECT_EQ(Interface::find("Demo").mtu(), 1400u);
}

TEST_F(InterfaceTest, a_device_goes_up_and_counts_its_drops_by_a_thread_in_another_namespace) {
  interface->add_address(address4(1));
  elsewhere([this](const Interface& foreign) {
    device->connect(program.rings());
    EXPECT_TRUE(interface->is_running());
    EXPECT_FALSE(foreign.is_up());
  });
  interface->set_transmit_queue(1);
  UdpSocket socket(4);
  for (int i = 0; i < 50; ++i) (void)socket.send(numbered(10, 1));
  elsewhere([this](const Interface&) { EXPECT_GE(device->counters().to_user_drops, 40u); });
}

TEST_F(InterfaceTest, copies_are_asked_by_many_threads_at_once) {
  for (std::uint8_t last = 1; last < 101; ++last) interface->add_address(address6(last));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = *interface, i] {
      for (int round = 0; round < 100; ++round) {
        if (i == 0) copy.set_mtu(1400);
        EXPECT_EQ(copy.name(), "Demo");
        EXPECT_EQ(copy.addresses().size(), 100u);
        EXPECT_EQ(failure_of([&] { copy.set_mtu(1); }).code, EINVAL);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(interface->mtu(), 1400u);
}

TEST_F(InterfaceTest, a_forked_child_asks_beside_its_parent_and_is_refused_in_another_namespace) {
  // In the child and here at once: with one socket each would miss answers that the other took, and wait for good.
  const auto ask = [this] {
    for (int i = 0; i < 500; ++i) {
      if (interface->name() != "Demo") return 1;
    }
    return 0;
  };
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = begin_child([&] {
    if (::write(ready[1], "", 1) != 1 || ask() != 0) return 1;
    if (!enter_own_network().empty()) return 4;
    const LinuxDevice other("Other", true);
    if (other.interface_index() != interface->index()) return 2;
    return failure_of([this] { (void)interface->name(); }).code == ENODEV ? 0 : 3;
  });
  (void)::close(ready[1]);
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(ask(), 0);
  EXPECT_EQ(end_of(child), 0);
  (void)::close(ready[0]);
}

}  // namespace
}  // namespace wintun
