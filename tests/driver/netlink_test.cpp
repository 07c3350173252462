// platform/netlink_linux: what a request leaves behind that did not come to its end, in the namespace of the test's
// own.
#include "platform/netlink_linux.hpp"

#include <linux/if_addr.h>

#include <stdexcept>

#include "tun_scene.hpp"

namespace wintun {
namespace {

class NetlinkTest : public TunScene {
 protected:
  void SetUp() override {
    TunScene::SetUp();
    if (IsSkipped()) return;
    const LinuxDevice& made = *(device = std::make_unique<LinuxDevice>("Demo", true));
    const Interface interface(made.interface_index());
    // More than fits into one answer of the kernel's, so that a dump is still going on after its first.
    for (unsigned i = 0; i < kAddresses; ++i) {
      IpAddress address = address6(static_cast<std::uint8_t>(i));
      address.bytes[14] = static_cast<std::uint8_t>(1 + i / 256);
      interface.add_address(address);
    }
    netlink = std::make_unique<Netlink>();
  }

  template <class OnMessage>
  int dump(OnMessage on_message) {
    Request request(RTM_GETADDR, NLM_F_DUMP);
    request.body<ifaddrmsg>().ifa_family = AF_INET6;
    return netlink->talk(request, on_message);
  }
  // How many answers came; again when the kernel itself has changed something meanwhile, such as an address's state.
  unsigned whole_dump() {
    for (int attempt = 0; attempt < 100; ++attempt) {
      unsigned count = 0;
      const int error = dump([&](const nlmsghdr*) { ++count; });
      if (error == 0) return count;
      EXPECT_EQ(error, EINTR);
    }
    ADD_FAILURE() << "each of 100 dumps was interrupted";
    return 0;
  }
  void interrupt_a_dump() {
    EXPECT_THROW((void)dump([](const nlmsghdr*) { throw std::runtime_error("enough"); }), std::runtime_error);
  }

  static constexpr unsigned kAddresses = 1000;
  std::unique_ptr<LinuxDevice> device;
  std::unique_ptr<Netlink> netlink;
};

TEST_F(NetlinkTest, a_dump_after_an_interrupted_one_is_whole_and_has_nothing_of_it) {
  interrupt_a_dump();
  EXPECT_EQ(whole_dump(), kAddresses);
}

TEST_F(NetlinkTest, answers_of_an_interrupted_dump_are_not_taken_for_the_next_requests) {
  interrupt_a_dump();
  Request request(RTM_GETLINK, NLM_F_ACK);
  request.body<ifinfomsg>().ifi_index = static_cast<int>(device->interface_index());
  std::vector<std::uint16_t> types;
  EXPECT_EQ(netlink->talk(request, [&](const nlmsghdr* message) { types.push_back(message->nlmsg_type); }), 0);
  EXPECT_EQ(types, std::vector<std::uint16_t>{RTM_NEWLINK});
}

// The namespace's table changes after the first part of the dump, by another socket.
TEST_F(NetlinkTest, a_dump_under_a_change_says_so_and_leaves_the_socket_usable) {
  const Interface interface(device->interface_index());
  bool changed = false;
  const int error = dump([&](const nlmsghdr*) {
    if (!changed) interface.add_address(address4(1));
    changed = true;
  });
  EXPECT_TRUE(error == EINTR || error == 0) << error;  // the kernel may have looked at all of it before
  EXPECT_EQ(whole_dump(), kAddresses);
}

}  // namespace
}  // namespace wintun
