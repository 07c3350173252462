// Several devices in one process, and what a device says of itself.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "cable.hpp"
#include "driver/embedded/library.hpp"
#include "driver/embedded/stack.hpp"

namespace wintun {
namespace {

int refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

TEST(devices, equal_addresses_and_ports_of_two_devices_are_kept_apart) {
  Pair first;
  Node c("c", {"10.9.0.1/24", "fd09::1/64"}), d("d", {"10.9.0.2/24", "fd09::2/64"});
  Cable one(first.a, first.b), two(c, d);
  for (const char* host : {"10.9.0.2", "fd09::2"}) {
    const auto listener_b = Listener::listen(first.b.endpoint, at(host, 80));
    const auto listener_d = Listener::listen(d.endpoint, at(host, 80));
    const auto [client_a, server_b] = meet(first.a, *listener_b);
    const auto [client_c, server_d] = meet(c, *listener_d);
    EXPECT_EQ(send_all(*client_a, pattern(64, 1)), 0);
    EXPECT_EQ(send_all(*client_c, pattern(64, 2)), 0);
    std::vector<std::uint8_t> got_b, got_d;
    EXPECT_EQ(receive_all(*server_b, got_b, 64), 0);
    EXPECT_EQ(receive_all(*server_d, got_d, 64), 0);
    EXPECT_TRUE(got_b == pattern(64, 1));
    EXPECT_TRUE(got_d == pattern(64, 2));
  }
}

TEST(devices, changing_or_closing_one_leaves_another_with_the_same_address_alone) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  {
    Node same("same", {"10.9.0.1/24", "fd09::1/64"});
    same.endpoint->remove_address(address("10.9.0.1/24"));
    same.endpoint->add_address(address("10.9.0.1/24"));
  }
  Node same("same", {"10.9.0.2/24"});
  same.device->close();
  EXPECT_EQ(client->error(), 0);
  EXPECT_EQ(send_all(*client, pattern(64, 1)), 0);
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got, 64), 0);
}

TEST(devices, a_packet_for_another_devices_address_is_not_taken) {
  Node a("a", {"10.9.0.1/24"}), b("b", {"10.9.0.2/24"}), other("other", {"10.9.0.3/24"});
  const auto listener = Listener::listen(other.endpoint, at("10.9.0.3", 80));
  Cable cable(a, b);
  const auto client = Connection::connect(a.endpoint, at("10.9.0.3", 80));
  EXPECT_EQ(client->wait(kWritable, in(std::chrono::milliseconds(300))), WaitStatus::timed_out);
  int error = 0;
  EXPECT_EQ(listener->accept(error), nullptr);
}

TEST(devices, a_port_is_listened_on_once_a_device) {
  Node a("a", {"10.9.0.1/24", "fd09::1/64"});
  const auto listener = Listener::listen(a.endpoint, at("10.9.0.1", 80));
  EXPECT_EQ(refusal([&] { (void)Listener::listen(a.endpoint, at("10.9.0.1", 80)); }), EADDRINUSE);
  EXPECT_EQ(refusal([&] { (void)Listener::listen(a.endpoint, at("0.0.0.0", 80)); }), EADDRINUSE);
  EXPECT_EQ(refusal([&] { (void)Listener::listen(a.endpoint, at("fd09::1", 80)); }), 0);
  EXPECT_EQ(refusal([&] { (void)Listener::listen(a.endpoint, at("10.9.0.9", 81)); }), EADDRNOTAVAIL);
  listener->close();
  EXPECT_EQ(refusal([&] { (void)Listener::listen(a.endpoint, at("10.9.0.1", 80)); }), 0);
  EXPECT_NE(Listener::listen(a.endpoint, at("10.9.0.1", 0))->local().port, 0);
}

TEST(devices, addresses_and_mtu_are_given_back_as_they_were_set) {
  Node a("a", {"10.9.0.1/24", "fd09::1/48", "fe80::7/64"});
  const auto addresses = a.endpoint->addresses();
  ASSERT_EQ(addresses.size(), 3U);
  EXPECT_EQ(text_of(addresses[0]), "10.9.0.1");
  EXPECT_EQ(addresses[0].prefix, 24);
  for (const auto& one : {address("10.9.0.1/24"), address("fd09::1/48"), address("fe80::7/64")}) {
    EXPECT_NE(std::find(addresses.begin(), addresses.end(), one), addresses.end()) << text_of(one);
  }
  EXPECT_EQ(refusal([&] { a.endpoint->add_address(address("fd09::1/64")); }), EEXIST);
  EXPECT_EQ(refusal([&] { a.endpoint->add_address(address("10.9.0.2/24")); }), ENOSPC);
  EXPECT_EQ(refusal([&] { a.endpoint->remove_address(address("10.9.0.2/24")); }), EADDRNOTAVAIL);
  a.endpoint->set_mtu(9000);
  EXPECT_EQ(a.endpoint->mtu(), 9000U);
  EXPECT_EQ(refusal([&] { a.endpoint->set_mtu(575); }), EINVAL);
  EXPECT_EQ(refusal([&] { a.endpoint->set_mtu(65536); }), EINVAL);
}

TEST(devices, one_has_no_interface_of_the_systems_and_needs_no_descriptor_for_it) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{});
  };
  Device first({.name = "first", .library = embedded_library()});  // the stack's own, once
  const auto before = descriptors();
  Device device({.name = "device", .library = embedded_library()});
  EXPECT_EQ(descriptors(), before);
  EXPECT_EQ(refusal([&] { (void)device.interface().mtu(); }), ENODEV);
}

TEST(devices, link_local_addresses_connect) {
  Node a("a", {"fe80::1/64"}), b("b", {"fe80::2/64"});
  Cable cable(a, b);
  const auto listener = Listener::listen(b.endpoint, at("fe80::2", 80));
  const auto [client, server] = meet(a, *listener);
  EXPECT_EQ(send_all(*client, pattern(64, 1)), 0);
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got, 64), 0);
}

TEST(devices, two_hundred_at_once_and_the_next_is_refused_with_a_reason) {
  std::vector<std::unique_ptr<Node>> nodes;
  std::string reason;
  try {
    for (int i = 0; i < 201; ++i) nodes.push_back(std::make_unique<Node>("node " + std::to_string(i)));
  } catch (const std::system_error& error) {
    reason = error.what();
  }
  EXPECT_EQ(nodes.size(), 200U);
  EXPECT_NE(reason.find("no room in the stack"), std::string::npos) << reason;
  nodes.clear();
  Node again("node 0");
}

TEST(devices, an_idle_stack_with_open_connections_never_wakes_up) {
  Pair pair;
  Cable cable(pair.a, pair.b);
  const auto listener = Listener::listen(pair.b.endpoint, at("10.9.0.2", 80));
  const auto [client, server] = meet(pair.a, *listener);
  EXPECT_EQ(send_all(*client, pattern(64, 1)), 0);
  // The last acknowledgements go, then nothing is left to be timed.
  const auto quiet = [](std::chrono::milliseconds time) {
    const std::uint64_t before = stack_wakes();
    std::this_thread::sleep_for(time);
    return stack_wakes() == before;
  };
  const Deadline settled = in(kPatience);
  while (!quiet(std::chrono::milliseconds(200))) ASSERT_LT(std::chrono::steady_clock::now(), *settled);
  EXPECT_TRUE(quiet(std::chrono::seconds(1)));
  std::vector<std::uint8_t> got;
  EXPECT_EQ(receive_all(*server, got, 64), 0);
}

}  // namespace
}  // namespace wintun
