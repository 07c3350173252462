/* Prints every packet that the system sends into a tunnel. C99; the library is found at run time, as programs for the
 * published interface do, so any Wintun library will serve.
 *
 *   sudo ./c_reader [name [library]]     then, elsewhere: ping 10.6.7.8
 *
 * Ends on Ctrl-C. One thread: it waits for the session's event and for the signal at once. */
#define _DEFAULT_SOURCE /* ifreq, sigset_t */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wintun.h"

static WINTUN_CREATE_ADAPTER_FUNC* WintunCreateAdapter;
static WINTUN_CLOSE_ADAPTER_FUNC* WintunCloseAdapter;
static WINTUN_GET_ADAPTER_LUID_FUNC* WintunGetAdapterLUID;
static WINTUN_SET_LOGGER_FUNC* WintunSetLogger;
static WINTUN_START_SESSION_FUNC* WintunStartSession;
static WINTUN_END_SESSION_FUNC* WintunEndSession;
static WINTUN_GET_READ_WAIT_EVENT_FUNC* WintunGetReadWaitEvent;
static WINTUN_RECEIVE_PACKET_FUNC* WintunReceivePacket;
static WINTUN_RELEASE_RECEIVE_PACKET_FUNC* WintunReleaseReceivePacket;

static int load(const char* path) {
  const struct {
    const char* name;
    void* pointer; /* of a pointer to a function */
  } functions[] = {{"WintunCreateAdapter", &WintunCreateAdapter},
                   {"WintunCloseAdapter", &WintunCloseAdapter},
                   {"WintunGetAdapterLUID", &WintunGetAdapterLUID},
                   {"WintunSetLogger", &WintunSetLogger},
                   {"WintunStartSession", &WintunStartSession},
                   {"WintunEndSession", &WintunEndSession},
                   {"WintunGetReadWaitEvent", &WintunGetReadWaitEvent},
                   {"WintunReceivePacket", &WintunReceivePacket},
                   {"WintunReleaseReceivePacket", &WintunReleaseReceivePacket}};
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 0;
  }
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); ++i) {
    void* const address = dlsym(library, functions[i].name);
    if (!address) {
      fprintf(stderr, "%s has no %s\n", path, functions[i].name);
      return 0;
    }
    memcpy(functions[i].pointer, &address, sizeof(address));
  }
  return 1;
}

static void CALLBACK print_line(WINTUN_LOGGER_LEVEL level, DWORD64 timestamp, LPCWSTR message) {
  static const char* const names[] = {"info", "warning", "error"};
  (void)timestamp;
  fprintf(stderr, "%s: %ls\n", names[level], message);
}

/* The address is the system's affair, and not Wintun's. */
static int set_address(unsigned index, const char* address) {
  const int control = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request;
  struct sockaddr_in ipv4;
  int done;
  memset(&request, 0, sizeof(request));
  memset(&ipv4, 0, sizeof(ipv4));
  ipv4.sin_family = AF_INET;
  inet_pton(AF_INET, address, &ipv4.sin_addr);
  done = if_indextoname(index, request.ifr_name) != NULL;
  memcpy(&request.ifr_addr, &ipv4, sizeof(ipv4));
  done = done && ioctl(control, SIOCSIFADDR, &request) == 0;
  inet_pton(AF_INET, "255.255.255.0", &ipv4.sin_addr);
  memcpy(&request.ifr_netmask, &ipv4, sizeof(ipv4));
  done = done && ioctl(control, SIOCSIFNETMASK, &request) == 0;
  if (!done) perror("setting the address");
  close(control);
  return done;
}

static void print_packet(const BYTE* packet, DWORD size) {
  char from[INET6_ADDRSTRLEN] = "?";
  char to[INET6_ADDRSTRLEN] = "?";
  const unsigned version = packet[0] >> 4;
  if (version == 4 && size >= 20) {
    inet_ntop(AF_INET, packet + 12, from, sizeof(from));
    inet_ntop(AF_INET, packet + 16, to, sizeof(to));
  } else if (version == 6 && size >= 40) {
    inet_ntop(AF_INET6, packet + 8, from, sizeof(from));
    inet_ntop(AF_INET6, packet + 24, to, sizeof(to));
  }
  printf("Received %u bytes of IPv%u from %s to %s\n", size, version, from, to);
  fflush(stdout);
}

/* Until a signal comes (1) or the session is over (0). */
static int read_packets(WINTUN_SESSION_HANDLE session, int signals) {
  struct pollfd watched[2];
  watched[0].fd = (int)(intptr_t)WintunGetReadWaitEvent(session);
  watched[1].fd = signals;
  watched[0].events = watched[1].events = POLLIN;
  watched[0].revents = watched[1].revents = 0;
  for (;;) {
    DWORD size;
    BYTE* const packet = WintunReceivePacket(session, &size);
    if (packet) {
      print_packet(packet, size);
      WintunReleaseReceivePacket(session, packet);
    } else if (GetLastError() != ERROR_NO_MORE_ITEMS) {
      fprintf(stderr, "the session is over: error %u\n", GetLastError());
      return 0;
    } else {
      poll(watched, 2, -1);
    }
    if (watched[1].revents) return 1;
  }
}

int main(int argc, char** argv) {
  const char* const name = argc > 1 ? argv[1] : "Demo";
  WCHAR wide[WINTUN_MAX_ADAPTER_NAME];
  WINTUN_ADAPTER_HANDLE adapter;
  WINTUN_SESSION_HANDLE session = NULL;
  NET_LUID luid;
  sigset_t ends;
  int signals;
  int done = 0;

  if (!load(argc > 2 ? argv[2] : "libringtun.so.0")) return EXIT_FAILURE;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  signals = signalfd(-1, &ends, SFD_CLOEXEC);

  WintunSetLogger(print_line);
  memset(wide, 0, sizeof(wide));
  mbstowcs(wide, name, WINTUN_MAX_ADAPTER_NAME - 1);
  adapter = WintunCreateAdapter(wide, L"Example", NULL);
  if (adapter) {
    WintunGetAdapterLUID(adapter, &luid);
    session = WintunStartSession(adapter, 0x400000);
  }
  if (session && set_address((unsigned)luid.Info.NetLuidIndex, "10.6.7.7")) {
    printf("Reading from %s, which is 10.6.7.7/24. Try: ping 10.6.7.8\n", name);
    fflush(stdout);
    done = read_packets(session, signals);
  }
  WintunEndSession(session);
  WintunCloseAdapter(adapter);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
