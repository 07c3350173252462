// A network namespace for the calling thread of a test that needs a TUN device of the kernel's. Where the machine has
// none to give (no rights, no /dev/net/tun) there is a reason instead: the test is skipped with it, and tools/test
// prints it. Included by tests/driver/tun_scene.hpp and tests/abi/network.hpp.
#pragma once

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

namespace wintun {

// Why this process cannot make a TUN device in its network namespace; empty when it can. Nothing is made.
inline std::string why_no_tun() {
  const int tun = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tun < 0) return std::string("/dev/net/tun cannot be opened: ") + std::strerror(errno);
  // Flags that name no kind of device: the kernel looks at the rights first, then calls them invalid.
  // (A struct ifreq of zeros; the two headers that have it exclude each other.)
  alignas(8) unsigned char request[64]{};
  const int code = ::ioctl(tun, TUNSETIFF, request) == 0 ? 0 : errno;
  (void)::close(tun);
  return code == EINVAL ? "" : std::string("the kernel makes no TUN device here: ") + std::strerror(code);
}

// The calling thread gets a namespace of its own; without the right to that, a user namespace first. Empty: it has
// one, and TUN devices can be made there. Else: why not.
inline std::string enter_own_network() {
  if (::unshare(CLONE_NEWNET) != 0) {
    const int refused = errno;
    const std::string uid = std::to_string(::getuid()), gid = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
      // (What this call says depends on how many threads there are.)
      return std::string("no network namespace, which needs CAP_SYS_ADMIN or user namespaces: ") +
             std::strerror(refused);
    }
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " + uid + " 1";
    std::ofstream("/proc/self/gid_map") << "0 " + gid + " 1";
  }
  return why_no_tun();
}

}  // namespace wintun
