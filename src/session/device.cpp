// See device.hpp. The cold half: what is checked before anything changes, how an adapter is made or found, what each
// refusal is called and what to do about it, and up, down and close under one lock. Packets go straight on to
// session.cpp. A LogScope stands before each lock, so that the library's lines are delivered after it.
#include "session/device.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "ring/layout.hpp"
#include "session/errors.hpp"
#include "session/log.hpp"
#include "session/text.hpp"

namespace wintun {
namespace {

constexpr std::size_t kMaxNameCharacters = WINTUN_MAX_ADAPTER_NAME - 1;

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

void check_text(const char* what, const std::string& text) {
  const std::wstring wide = widen(text);
  if (wide.empty() || wide.size() > kMaxNameCharacters) {
    throw std::invalid_argument("the " + std::string(what) + " has " + std::to_string(wide.size()) +
                                " characters: give it 1 to " + std::to_string(kMaxNameCharacters));
  }
  if (wide.find(L'\0') != std::wstring::npos) {
    throw std::invalid_argument("the " + std::string(what) + " has a zero character in it");
  }
}

void check_capacity(std::uint32_t bytes) {
  if (is_valid_capacity(bytes)) return;
  throw std::invalid_argument("the ring capacity " + std::to_string(bytes) + " is not a power of two from " +
                              std::to_string(kMinCapacity) + " (128 KiB) to " + std::to_string(kMaxCapacity) +
                              " (64 MiB) bytes");
}

DeviceOptions checked(DeviceOptions options) {
  check_text("name", options.name);
  check_text("tunnel type", options.tunnel_type);
  check_capacity(options.ring_capacity);
  if (options.library == nullptr) options.library = Library::linked();
  return options;
}

struct Explanation {
  std::string cause, remedy;
};

// Of an adapter that could not be made or opened.
Explanation explain_adapter(std::uint32_t error) {
  switch (error) {
    case ERROR_ACCESS_DENIED:
      return {"the privilege to make a network interface is missing",
              "run as root or with CAP_NET_ADMIN, or inside a user namespace (unshare -Urn), or use "
              "backend='embedded', which needs none"};
    case ERROR_FILE_NOT_FOUND:
      return {"there is no driver (/dev/net/tun)",
              "load the tun module (modprobe tun), or pass the device into the container (--device /dev/net/tun)"};
    case ERROR_ALREADY_EXISTS:
      return {"an interface of that name exists, and it is no free persistent TUN",
              "choose another name, or remove that interface or end the program that holds it"};
    case ERROR_TOO_MANY_OPEN_FILES:
      return {"this process has too many open descriptors", "close some, or raise the limit (ulimit -n)"};
    case ERROR_INVALID_PARAMETER:
      return {"the library does not take this name", "choose another name"};
    case ERROR_NOT_SUPPORTED:
      return {"its driver has nothing of the kind", ""};
    default:
      return {"the library's error is " + std::to_string(error), ""};
  }
}

Explanation explain_session(std::uint32_t error, std::uint32_t capacity) {
  switch (error) {
    case ERROR_ALREADY_INITIALIZED:
      return {"its adapter has a session already, from another handle of it", "end that one first"};
    case ERROR_NOT_ENOUGH_MEMORY:
      return {"there is no memory for two rings of " + std::to_string(capacity) + " bytes",
              "set a smaller ring_capacity"};
    case ERROR_FILE_NOT_FOUND:
    case ERROR_HANDLE_EOF:
      return {"its interface is gone", "close the device and make a new one"};
    default:
      return explain_adapter(error);
  }
}

}  // namespace

Device::Device(DeviceOptions options)
    : options_(checked(std::move(options))),
      library_(options_.library),
      guid_(options_.guid ? *options_.guid : guid_of_name(options_.name)),
      claim_(library_->functions(), options_.name),
      ring_capacity_(options_.ring_capacity),
      session_(library_) {
  adapter_ = make_adapter();
  NET_LUID luid{};
  library_->functions().get_adapter_luid(adapter_, &luid);
  luid_ = luid.Value;
  open_interface();
  adapter_gate_.open();
}

Device::~Device() { close(); }

WINTUN_ADAPTER_HANDLE Device::make_adapter() const {
  LogScope lines;
  const Functions& functions = library_->functions();
  const std::wstring name = widen(options_.name);
  const std::wstring type = widen(options_.tunnel_type);
  const GUID guid = abi_guid(guid_);
  std::uint32_t error = 0;
  // Twice, since an interface that is in the way of making one may be gone when it is opened.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (const auto adapter = functions.create_adapter(name.c_str(), type.c_str(), &guid)) return adapter;
    error = last_error(functions);
    if (error != ERROR_ALREADY_EXISTS) break;
    if (const auto adapter = functions.open_adapter(name.c_str())) {
      log(LogLevel::info, "device " + quoted(options_.name) + ": opened an interface that exists, and will stay");
      return adapter;
    }
    if (const std::uint32_t why = last_error(functions); why != ERROR_FILE_NOT_FOUND) {
      error = why;
      break;
    }
  }
  const auto [cause, remedy] = explain_adapter(error);
  throw_error(errno_of(error), {.doing = "make the device " + quoted(options_.name),
                                .cause = cause,
                                .library = lines.last_complaint(),
                                .remedy = remedy});
}

// In the thread, and so in the network namespace, in which the adapter was made.
void Device::open_interface() {
  if (!library_->has_interfaces()) return;
  const LogScope lines;
  try {
    interface_.emplace(index());
  } catch (const std::system_error& error) {
    library_->functions().close_adapter(adapter_);
    const bool too_many = error.code() == std::errc::too_many_files_open;
    throw_error(error.code().value(), {.doing = "make the device " + quoted(options_.name),
                                       .cause = "there is no socket for its interface's settings",
                                       .remedy = too_many ? explain_adapter(ERROR_TOO_MANY_OPEN_FILES).remedy : ""});
  } catch (...) {
    library_->functions().close_adapter(adapter_);
    throw;
  }
}

const std::string& Device::name() const { return options_.name; }

const std::string& Device::tunnel_type() const { return options_.tunnel_type; }

const Guid& Device::guid() const { return guid_; }

std::uint64_t Device::luid() const { return luid_; }

std::uint32_t Device::index() const {
  NET_LUID luid{};
  luid.Value = luid_;
  return static_cast<std::uint32_t>(luid.Info.NetLuidIndex);
}

Interface Device::interface() const {
  const GateUser inside(adapter_gate_);
  if (closed_ || !inside) {
    throw_error(EBADF, {.doing = "use the device " + quoted(options_.name), .cause = "it is closed"});
  }
  return interface_ ? *interface_ : Interface(index());
}

std::uint32_t Device::ring_capacity() const { return ring_capacity_; }

void Device::set_ring_capacity(std::uint32_t bytes) {
  check_capacity(bytes);
  ring_capacity_ = bytes;
}

void Device::up() {
  LogScope lines;  // before the lock, so that its lines are delivered after it
  const std::lock_guard lock(control_);
  const std::string doing = "start the device " + quoted(options_.name);
  if (closed_) throw_error(EBADF, {.doing = doing, .cause = "it is closed", .remedy = "make a new one"});
  if (session_.is_up()) return;
  if (session_.has_lent()) {
    throw_error(EBUSY, {.doing = doing,
                        .cause = "a packet of the last session is still lent",
                        .remedy = "release every packet that was received or allocated before down()"});
  }
  const std::uint32_t capacity = ring_capacity_;
  if (const std::uint32_t error = session_.start(adapter_, capacity); error != 0) {
    const auto [cause, remedy] = explain_session(error, capacity);
    throw_error(errno_of(error),
                {.doing = doing, .cause = cause, .library = lines.last_complaint(), .remedy = remedy});
  }
}

void Device::down() {
  const LogScope lines;
  const std::lock_guard lock(control_);
  session_.end();
}

void Device::close() {
  const LogScope lines;
  const std::lock_guard lock(control_);
  if (closed_.exchange(true)) return;
  session_.end();
  (void)session_.has_lent();  // a session that is just ending has ended then, and its last drops are counted
  {
    const Statistics last = driver_statistics();
    const std::lock_guard last_lock(last_mutex_);
    last_statistics_ = last;
  }
  (void)adapter_gate_.close();
  adapter_gate_.wait_until_empty();
  interface_.reset();
  // With packets lent the library's session outlives its adapter: it has ended for all, and only its rings stay.
  library_->functions().close_adapter(adapter_);
  claim_.release();
}

bool Device::is_up() const { return session_.is_up(); }

bool Device::is_closed() const { return closed_; }

IoStatus Device::known(IoStatus status) const {
  return status == IoStatus::not_up && closed_.load(std::memory_order_acquire) ? IoStatus::closed : status;
}

IoStatus Device::receive(Packet& packet) { return known(session_.receive(packet)); }

void Device::release(const Packet& packet) { session_.release(packet); }

IoStatus Device::receive_many(std::span<Packet> packets, std::size_t& count) {
  return known(session_.receive_many(packets, count));
}

void Device::release_many(std::span<const Packet> packets) { session_.release_many(packets); }

IoStatus Device::allocate(std::uint32_t size, Packet& packet) { return known(session_.allocate(size, packet)); }

IoStatus Device::send(const Packet& packet) { return known(session_.send(packet)); }

IoStatus Device::write(std::span<const std::uint8_t> bytes) { return known(session_.write(bytes)); }

IoStatus Device::write_many(std::span<const std::span<const std::uint8_t>> packets, std::size_t& written) {
  return known(session_.write_many(packets, written));
}

IoStatus Device::wait(const Deadline& deadline) { return known(session_.wait(deadline)); }

void Device::cancel_read() { session_.cancel_read(); }

WaitHandle Device::wait_handle() const { return session_.wait_handle(); }

WaitHandle Device::open_device_object() const {
  const std::string doing = "open the device object of " + quoted(options_.name);
  const GateUser inside(adapter_gate_);
  if (!inside) throw_error(EBADF, {.doing = doing, .cause = "it is closed"});
  const auto open = library_->functions().open_adapter_device_object;
  if (open == nullptr) throw_error(ENOTSUP, {.doing = doing, .cause = "its library has no function for it"});
  const auto object = reinterpret_cast<WaitHandle>(open(adapter_));
  if (object != kNoWaitHandle) return object;
  const std::uint32_t error = last_error(library_->functions());
  const auto [cause, remedy] = explain_adapter(error);
  throw_error(errno_of(error), {.doing = doing, .cause = cause, .remedy = remedy});
}

Statistics Device::driver_statistics() const {
  const GateUser inside(adapter_gate_);
  WINTUN_STATISTICS driver{};
  const auto get = library_->functions().get_statistics;
  if (!inside) {
    const std::lock_guard lock(last_mutex_);
    return last_statistics_;
  }
  if (get == nullptr || !get(adapter_, &driver)) return {};
  Statistics statistics;
  statistics.received_drops = driver.ToUserDrops;
  statistics.sent_drops = driver.ToNetworkDrops;
  return statistics;
}

Statistics Device::statistics() const {
  Statistics statistics = driver_statistics();
  const SessionCounters& counters = session_.counters();
  statistics.received_packets = counters.received.packets.value();
  statistics.received_bytes = counters.received.bytes.value();
  statistics.sent_packets = counters.sent.packets.value();
  statistics.sent_bytes = counters.sent.bytes.value();
  statistics.sent_drops += counters.sent.drops.value();
  statistics.waits = counters.waits.value();
  statistics.wakes = counters.wakes.value();
  return statistics;
}

}  // namespace wintun
