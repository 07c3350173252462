// See device.hpp. The facts about /dev/net/tun are in the kernel's Documentation/networking/tuntap.rst and if_tun.h.
#include "driver/linux/device.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "driver/linux/interface_name.hpp"

namespace wintun {
namespace {

constexpr const char* kDevicePath = "/dev/net/tun";
constexpr std::uint32_t kTransmitQueue = 5000;   // packets; the kernel's 500 overflow in a burst
constexpr std::uint32_t kMaxDrained = 1U << 20;  // a sender that never stops must not keep disconnect() here

[[noreturn]] void fail(int error, const std::string& operation, const std::string& name) {
  throw std::system_error(error, std::generic_category(), operation + " the interface '" + name + "'");
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  return request;
}

// The interface of this name, or none. Other failures are thrown.
bool exists(const std::string& name) {
  try {
    (void)Interface::find(name);
    return true;
  } catch (const std::system_error& error) {
    if (error.code().value() == ENODEV) return false;
    throw;
  }
}

// Attaches `descriptor` to the interface, making it if it is to be exclusive. The result owns nothing.
void attach(int descriptor, const std::string& name, bool exclusive) {
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | (exclusive ? IFF_TUN_EXCL : 0));
  if (!exclusive && !exists(name)) fail(ENODEV, "cannot open", name);
  if (::ioctl(descriptor, TUNSETIFF, &request) != 0) {
    const int error = errno;
    if (exclusive) {
      // EBUSY is the kernel's word for "in use" and for nothing else here.
      fail(error == EBUSY ? EEXIST : error, std::string("cannot create (") + kDevicePath + ", TUNSETIFF)", name);
    }
    fail(error == EINVAL ? EEXIST : error, "cannot attach to", name);
  }
  ifreq attached{};
  if (exclusive || ::ioctl(descriptor, TUNGETIFF, &attached) != 0) return;
  // It went away before we came, so this call has made a new one, which closing removes.
  if ((attached.ifr_flags & IFF_PERSIST) == 0) fail(ENODEV, "cannot open", name);
}

int open_interface(const std::string& asked, bool exclusive) {
  if (asked.empty()) fail(EINVAL, "cannot open", asked);
  const std::string name = interface_name_for(asked);
  const int descriptor = ::open(kDevicePath, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) fail(errno, std::string("cannot open ") + kDevicePath + " for", name);
  try {
    attach(descriptor, name, exclusive);
  } catch (...) {
    (void)::close(descriptor);
    throw;
  }
  return descriptor;
}

ifreq attached(int descriptor, const std::string& asked) {
  ifreq request{};
  if (::ioctl(descriptor, TUNGETIFF, &request) != 0) fail(errno, "cannot open", asked);
  return request;
}

}  // namespace

TunHost::~TunHost() { (void)::close(descriptor_); }

ReadResult TunHost::read(std::uint8_t* into, std::uint32_t room) {
  for (;;) {
    const ssize_t size = ::read(descriptor_, into, room);
    if (size > 0) return {ReadStatus::ok, static_cast<std::uint32_t>(size)};
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return {ReadStatus::nothing, 0};
    return {ReadStatus::gone, 0};  // EBADFD: the interface was removed
  }
}

WriteStatus TunHost::write(const std::uint8_t* data, std::uint32_t size, std::uint32_t) {
  for (;;) {
    if (::write(descriptor_, data, size) >= 0) return WriteStatus::ok;
    if (errno == EINTR) continue;
    // All else is about this packet or this moment (EIO: down, EINVAL, ENOBUFS, EAGAIN): a drop.
    return errno == EBADFD ? WriteStatus::gone : WriteStatus::refused;
  }
}

std::uint32_t TunHost::drain() {
  std::uint8_t first = 0;  // the kernel throws away what does not fit
  std::uint32_t count = 0;
  while (count < kMaxDrained && read(&first, sizeof(first)).status == ReadStatus::ok) ++count;
  return count;
}

LinuxDevice::LinuxDevice(const std::string& name, bool exclusive)
    : host_(open_interface(name, exclusive)),
      to_user_(host_, state_),
      to_network_(host_, state_),
      name_(attached(host_.descriptor(), name).ifr_name),
      interface_(Interface::find(name_)),
      persistent_((attached(host_.descriptor(), name).ifr_flags & IFF_PERSIST) != 0) {
  interface_.set_transmit_queue(kTransmitQueue);
  kernel_drops_before_ = interface_.transmit_drops();
  set_carrier(false);
  state_.start();
}

LinuxDevice::~LinuxDevice() { disconnect(); }

bool LinuxDevice::is_present() { return ::access(kDevicePath, F_OK) == 0; }

std::string LinuxDevice::interface_name() const {
  ifreq request{};
  return ::ioctl(host_.descriptor(), TUNGETIFF, &request) == 0 ? std::string(request.ifr_name) : name_;
}

void LinuxDevice::connect(const Rings& rings) {
  to_user_.traffic().drops.add(host_.drain());
  to_user_.attach(rings.to_user, rings.capacity);
  to_network_.attach(rings.to_network, rings.capacity);
  to_user_moved_ = rings.to_user_moved;
  state_.connect();
  try {
    bring_up();
  } catch (...) {
    disconnect();
    throw;
  }
}

// Carrier first: an interface that comes up with it is ready sooner.
void LinuxDevice::bring_up() {
  set_carrier(true);
  interface_.set_up(true);
  interface_.await_ready();
}

void LinuxDevice::disconnect() {
  if (!state_.is_connected()) return;
  set_carrier(false);
  state_.disconnect(to_user_, to_network_);
  to_user_.traffic().drops.add(host_.drain());
  to_user_.end();
  to_network_.end();
  if (to_user_moved_ != nullptr) to_user_moved_->set();
  to_user_moved_ = nullptr;
}

PumpStatus LinuxDevice::pump_to_user(std::uint32_t limit) {
  switch (to_user_.fill(limit)) {
    case FillStatus::ok:
      return PumpStatus::ok;
    case FillStatus::nothing:
      return PumpStatus::idle;
    case FillStatus::full:
      return PumpStatus::full;
    default:
      return PumpStatus::ended;
  }
}

PumpStatus LinuxDevice::pump_to_network() {
  for (bool moved = false;; moved = true) {
    switch (to_network_.drain()) {
      case DrainStatus::ok:
        break;
      case DrainStatus::nothing:
        return moved ? PumpStatus::ok : PumpStatus::idle;
      default:
        return PumpStatus::ended;
    }
  }
}

DriverCounters LinuxDevice::counters() const {
  count_kernel_drops();
  const Traffic& in = to_user_.traffic();
  const Traffic& out = to_network_.traffic();
  return {in.packets.value(),  in.bytes.value(),  in.drops.value() + kernel_drops_.load(std::memory_order_relaxed),
          out.packets.value(), out.bytes.value(), out.drops.value()};
}

void LinuxDevice::set_carrier(bool on) {
  int value = on ? 1 : 0;
  if (::ioctl(host_.descriptor(), TUNSETCARRIER, &value) == 0) return;
  // Before Linux 5.0: then the administrative state must do. connect() has set it up already.
  if (!on && errno == EINVAL) {
    try {
      interface_.set_up(false);
    } catch (const std::system_error&) {  // it is gone, or not ours any more: there is no link to take down
    }
  }
}

// Of an interface that was removed, or moved to another namespace, the last figure stands.
void LinuxDevice::count_kernel_drops() const {
  try {
    if (interface_.name() != interface_name()) return;
    kernel_drops_.store(interface_.transmit_drops() - kernel_drops_before_, std::memory_order_relaxed);
  } catch (const std::system_error&) {
  }
}

}  // namespace wintun
