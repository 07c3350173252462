// Prints every packet that the system sends into a tunnel, on the C++ API (docs/cpp.md) and not on the C functions.
//
//   sudo ./device_reader [name]     then, elsewhere: ping 10.6.8.8, or any other address of 10.6.8.0/24
//
// Ends on Ctrl-C: the main thread closes the device, and that ends the reader.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <thread>

#include "session/device.hpp"
#include "session/log.hpp"

namespace {

void read_until_closed(wintun::Device& device) {
  wintun::Packet packet;
  for (;;) {
    switch (device.receive(packet)) {
      case wintun::IoStatus::ok:
        std::printf("Received %u bytes of IPv%d\n", packet.size, packet.data[0] >> 4);
        std::fflush(stdout);
        device.release(packet);
        break;
      case wintun::IoStatus::empty:
        (void)device.wait(std::nullopt);  // whatever ended the wait, the next read says what to do
        break;
      default:  // closed by the main thread, or the interface is gone
        return;
    }
  }
}

void run(const std::string& name) {
  wintun::Device device({.name = name});
  device.interface().add_address({.bytes = {10, 6, 8, 7}, .family = 4, .prefix = 24});
  device.up();
  std::printf("%s is up. Try: ping 10.6.8.8\n", device.interface().name().c_str());
  std::fflush(stdout);

  std::thread reader([&device] {
    read_until_closed(device);
    kill(getpid(), SIGTERM);  // the interface may be gone without a Ctrl-C
  });
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  int signal = 0;
  sigwait(&signals, &signal);
  device.close();  // wakes the reader, and waits until it is out of the device
  reader.join();
  std::printf("%llu packets\n", static_cast<unsigned long long>(device.statistics().received_packets));
}

}  // namespace

int main(int argc, char** argv) {
  // Before any thread is started, so that all of them leave these to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);

  wintun::set_logger([](wintun::LogLevel, std::uint64_t, std::string_view text) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  });
  try {
    run(argc > 1 ? argv[1] : "Demo");
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
