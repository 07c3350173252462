// Answers every ping (IPv4) that the system sends into a tunnel: a whole host in one loop. C++17 and wintun.h only.
//
//   sudo ./cpp_ping [name]     then, elsewhere: ping 10.6.7.8, or any other address of 10.6.7.0/24
//
// Ends on Ctrl-C. The request's bytes become the answer in the ring itself: one copy, from ring to ring.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#define WINTUN_LINKED  // this program is linked with the library
#include "wintun.h"

namespace {

struct CloseAdapter {
  void operator()(WINTUN_ADAPTER_HANDLE adapter) const { WintunCloseAdapter(adapter); }
};
struct EndSession {
  void operator()(WINTUN_SESSION_HANDLE session) const { WintunEndSession(session); }
};
using Adapter = std::unique_ptr<std::remove_pointer_t<WINTUN_ADAPTER_HANDLE>, CloseAdapter>;
using Session = std::unique_ptr<std::remove_pointer_t<WINTUN_SESSION_HANDLE>, EndSession>;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": error " + std::to_string(GetLastError()));
}

void CALLBACK print_line(WINTUN_LOGGER_LEVEL, DWORD64, LPCWSTR message) { std::fprintf(stderr, "%ls\n", message); }

// The address is the system's affair, and not Wintun's.
void set_address(unsigned index, const char* address, const char* mask) {
  const int control = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  const auto set = [&](unsigned long operation, const char* value) {
    sockaddr_in ipv4{};
    ipv4.sin_family = AF_INET;
    inet_pton(AF_INET, value, &ipv4.sin_addr);
    std::memcpy(&request.ifr_addr, &ipv4, sizeof(ipv4));
    return ioctl(control, operation, &request) == 0;
  };
  const bool done =
      if_indextoname(index, request.ifr_name) != nullptr && set(SIOCSIFADDR, address) && set(SIOCSIFNETMASK, mask);
  close(control);
  if (!done) throw std::runtime_error("setting the address " + std::string(address) + " failed");
}

std::uint16_t checksum(const BYTE* data, std::size_t size) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += i % 2 == 0 ? static_cast<std::uint32_t>(data[i] << 8) : data[i];
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// Makes an echo request its own answer; false for anything else.
bool turn_round(BYTE* packet, DWORD size) {
  if (size < 28 || packet[0] >> 4 != 4) return false;
  const std::size_t header = (packet[0] & 0xFu) * 4;
  if (header < 20 || size < header + 8 || packet[9] != IPPROTO_ICMP || packet[header] != 8) return false;
  std::swap_ranges(packet + 12, packet + 16, packet + 16);  // the header's checksum stays right
  packet[header] = 0;
  packet[header + 2] = packet[header + 3] = 0;
  const std::uint16_t sum = checksum(packet + header, size - header);
  packet[header + 2] = static_cast<BYTE>(sum >> 8);
  packet[header + 3] = static_cast<BYTE>(sum);
  return true;
}

// Answers all that is there.
void answer(WINTUN_SESSION_HANDLE session, unsigned& answered) {
  DWORD size = 0;
  while (BYTE* const packet = WintunReceivePacket(session, &size)) {
    if (turn_round(packet, size)) {
      // A full ring drops the answer, as a network would.
      if (BYTE* const reply = WintunAllocateSendPacket(session, size)) {
        std::memcpy(reply, packet, size);
        WintunSendPacket(session, reply);
        std::printf("Answered %u pings\n", ++answered);
      }
    }
    WintunReleaseReceivePacket(session, packet);
  }
  if (GetLastError() != ERROR_NO_MORE_ITEMS) fail("receiving");
}

void run(const std::string& name) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const int signals = signalfd(-1, &ends, SFD_CLOEXEC);

  const Adapter adapter(WintunCreateAdapter(std::wstring(name.begin(), name.end()).c_str(), L"Example", nullptr));
  if (!adapter) fail("making the adapter");
  const Session session(WintunStartSession(adapter.get(), 0x400000));
  if (!session) fail("starting the session");
  NET_LUID luid{};
  WintunGetAdapterLUID(adapter.get(), &luid);
  set_address(static_cast<unsigned>(luid.Info.NetLuidIndex), "10.6.7.7", "255.255.255.0");
  std::printf("Answering on %s. Try: ping 10.6.7.8\n", name.c_str());

  pollfd watched[2] = {
      {static_cast<int>(reinterpret_cast<std::intptr_t>(WintunGetReadWaitEvent(session.get()))), POLLIN, 0},
      {signals, POLLIN, 0}};
  for (unsigned answered = 0; watched[1].revents == 0; poll(watched, 2, -1)) answer(session.get(), answered);
}

}  // namespace

int main(int argc, char** argv) try {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  WintunSetLogger(print_line);
  run(argc > 1 ? argv[1] : "Demo");
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return EXIT_FAILURE;
}
