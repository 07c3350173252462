// See connection.hpp. lwIP's callbacks come under the stack's lock, and none of them aborts its own connection.
#include "driver/embedded/connection.hpp"

#include <lwip/priv/tcp_priv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "driver/embedded/linger.hpp"
#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr std::size_t kAhead = 512 << 10;        // bytes that may wait beyond what the path takes at a time
constexpr std::size_t kWritableRoom = 16 << 10;  // bytes: less is not worth waking somebody
constexpr std::uint32_t kInitialWindow = 10;     // segments, as Linux has it
constexpr u16_t kSmallPacket = 512;              // bytes: shorter ones are gathered
constexpr u16_t kGathered = 4096;                // bytes

[[noreturn]] void refuse(int error, const SocketAddress& to, const Endpoint& endpoint) {
  throw std::system_error(
      error, std::generic_category(),
      "cannot connect to " + text_of(to) + " on the embedded device '" + endpoint.name() + "'" + advice(error));
}

}  // namespace

struct Connection::Callbacks {
  static Connection& of(void* arg) { return *static_cast<Connection*>(arg); }

  static err_t connected(void* arg, tcp_pcb*, err_t) {
    Connection& self = of(arg);
    self.begin();
    self.update();
    return ERR_OK;
  }

  static err_t received(void* arg, tcp_pcb*, pbuf* packet, err_t) {
    Connection& self = of(arg);
    if (packet == nullptr) {
      self.peer_finished_ = true;
    } else {
      self.keep(packet);
    }
    self.update();
    return ERR_OK;
  }

  static err_t sent(void* arg, tcp_pcb*, u16_t bytes) {
    Connection& self = of(arg);
    const std::size_t done = std::min<std::size_t>(bytes, self.unsent_);
    self.unsent_ -= done;
    self.endpoint_->sending -= done;
    self.update();
    return ERR_OK;
  }

  // The pcb is gone already.
  static void failed(void* arg, err_t error) {
    Connection& self = of(arg);
    self.pcb_ = nullptr;
    if (self.cut_error_ != 0) {
      self.fail(self.cut_error_);
    } else if (error == ERR_RST) {
      self.fail(self.connected_ ? ECONNRESET : ECONNREFUSED);
    } else if (error == ERR_CLSD) {
      self.fail(0);  // both sides have finished
    } else {
      self.fail(ETIMEDOUT);
    }
  }

  // Before failed(), and without it when a connection of which both sides have finished leaves TIME-WAIT.
  static void destroyed(u8_t, void* data) {
    if (data != nullptr) of(data).pcb_ = nullptr;
  }
  static constexpr tcp_ext_arg_callbacks kLife = {destroyed, nullptr};
};

Connection::Connection(std::shared_ptr<Endpoint> endpoint, tcp_pcb* pcb) : endpoint_(std::move(endpoint)), pcb_(pcb) {
  tcp_arg(pcb, this);
  tcp_recv(pcb, Callbacks::received);
  tcp_sent(pcb, Callbacks::sent);
  tcp_err(pcb, Callbacks::failed);
  tcp_ext_arg_set_callbacks(pcb, pcb_argument(), &Callbacks::kLife);
  tcp_ext_arg_set(pcb, pcb_argument(), this);
  tcp_nagle_disable(pcb);
  endpoint_->attach(*this);
}

std::shared_ptr<Connection> Connection::connect(const std::shared_ptr<Endpoint>& endpoint, const SocketAddress& to,
                                                const std::optional<SocketAddress>& from) {
  const StackLock lock;
  const int unreachable = endpoint->route_error(to.address);
  if (unreachable != 0) refuse(unreachable, to, *endpoint);
  if (to.port == 0) refuse(EINVAL, to, *endpoint);
  netif* const link = endpoint->interface();
  tcp_pcb* const pcb = tcp_new_ip_type(to.address.family == 4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
  if (pcb == nullptr) refuse(ENOBUFS, to, *endpoint);
  tcp_bind_netif(pcb, link);
  err_t error = ERR_OK;
  if (from) {
    const bool is_any = from->address.bytes == IpAddress{}.bytes;
    if (!is_any && !endpoint->has_address(from->address)) {
      tcp_abort(pcb);
      refuse(EADDRNOTAVAIL, to, *endpoint);
    }
    const OnlyThisInterface only(*link);
    const ip_addr_t address = to_lwip(from->address, link);
    error = tcp_bind(pcb, &address, from->port);
  }
  std::shared_ptr<Connection> made(new Connection(endpoint, pcb));
  made->remote_ = to;
  if (error == ERR_OK) {
    const ip_addr_t address = to_lwip(to.address, link);
    error = tcp_connect(pcb, &address, to.port, Callbacks::connected);
  }
  if (error != ERR_OK) {
    made->cut_error_ = errno_of(error);
    tcp_abort(pcb);
    refuse(made->cut_error_, to, *endpoint);
  }
  made->local_ = {from_lwip(pcb->local_ip), pcb->local_port};
  return made;
}

Connection::~Connection() { close(); }

void Connection::adopt() {
  local_ = {from_lwip(pcb_->local_ip), pcb_->local_port};
  remote_ = {from_lwip(pcb_->remote_ip), pcb_->remote_port};
  begin();
  update();
}

void Connection::begin() {
  connected_ = true;
  pcb_->mss = std::min(pcb_->mss, endpoint_->segment_limit(IP_IS_V6(&pcb_->remote_ip) ? 6 : 4));
  widen_window();
}

// lwIP begins with 4380 bytes or two segments, and lets nobody choose.
void Connection::widen_window() { pcb_->cwnd = std::max<tcpwnd_size_t>(pcb_->cwnd, kInitialWindow * pcb_->mss); }

void Connection::leave_backlog() {
  if (pcb_ == nullptr) return;
  tcp_backlog_accepted(pcb_);
  widen_window();  // lwIP has set it after adopt(); nothing was sent since
}

bool Connection::is_connected() const {
  const StackLock lock;
  return connected_;
}

int Connection::error() const {
  const StackLock lock;
  return closed_ ? EBADF : error_;
}

std::size_t Connection::available() const {
  const StackLock lock;
  return received_bytes_;
}

std::size_t Connection::unsent() const {
  const StackLock lock;
  return unsent_;
}

Progress Connection::receive(std::span<std::uint8_t> into) {
  std::deque<Piece> taken;  // whole packets are copied and freed outside of the lock
  std::size_t whole = 0;
  std::size_t bytes = 0;
  {
    const StackLock lock;
    if (closed_) return {0, EBADF};
    if (received_bytes_ == 0) {
      if (peer_finished_) return {};
      return {0, error_ != 0 || pcb_ == nullptr ? error_ : EAGAIN};
    }
    while (!received_.empty() && received_.front().bytes->tot_len <= into.size() - whole) {
      taken.push_back(received_.front());
      received_.pop_front();
      whole += taken.back().bytes->tot_len;
    }
    bytes = whole;
    if (!received_.empty() && bytes < into.size()) {
      pbuf*& first = received_.front().bytes;
      const auto part = static_cast<u16_t>(into.size() - bytes);
      (void)pbuf_copy_partial(first, into.data() + bytes, part, 0);
      first = pbuf_free_header(first, part);
      bytes = into.size();
    }
    received_bytes_ -= bytes;
    if (pcb_ != nullptr) {
      for (std::size_t left = bytes; left > 0;) {
        const auto step = static_cast<u16_t>(std::min<std::size_t>(left, 0xFFFF));
        tcp_recved(pcb_, step);
        left -= step;
      }
    }
    update();
  }
  std::size_t at = 0;
  for (const Piece& piece : taken) {
    at += pbuf_copy_partial(piece.bytes, into.data() + at, piece.bytes->tot_len, 0);
    (void)pbuf_free(piece.bytes);
  }
  return {bytes, 0};
}

// What may wait beyond what the path takes at a time. More would only make lwIP's queues long, which it walks.
std::size_t Connection::path_room() const {
  const std::size_t flight = std::min(pcb_->cwnd, pcb_->snd_wnd);
  const std::size_t wanted = std::min<std::size_t>(flight + kAhead, TCP_SND_BUF);
  return unsent_ < wanted ? wanted - unsent_ : 0;
}

// That, and a fair part of the device's memory.
std::size_t Connection::room() const {
  const std::size_t shared =
      endpoint_->sending < Endpoint::kSendLimit ? Endpoint::kSendLimit - endpoint_->sending : 0;
  const std::size_t own = unsent_ < Endpoint::kSendShare ? Endpoint::kSendShare - unsent_ : 0;
  return std::min({path_room(), std::max(shared, own), std::size_t{pcb_->snd_buf}});
}

Progress Connection::send(std::span<const std::uint8_t> bytes) {
  const StackLock lock;
  if (closed_) return {0, EBADF};
  if (pcb_ == nullptr) return {0, error_ != 0 ? error_ : EPIPE};
  if (finished_) return {0, EPIPE};
  if (!connected_) return {0, EAGAIN};
  const std::size_t most = std::min(bytes.size(), room());
  std::size_t done = 0;
  while (done < most) {
    const auto step = static_cast<u16_t>(std::min<std::size_t>(most - done, 0xFFFF));
    const bool more = done + step < most;
    const auto flags = static_cast<u8_t>(TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0));
    if (tcp_write(pcb_, bytes.data() + done, step, flags) != ERR_OK) break;
    done += step;
  }
  unsent_ += done;
  endpoint_->sending += done;
  if (done > 0) (void)tcp_output(pcb_);
  update();
  return done > 0 || bytes.empty() ? Progress{done, 0} : Progress{0, EAGAIN};
}

int Connection::finish() {
  const StackLock lock;
  if (closed_) return EBADF;
  if (pcb_ == nullptr || !connected_) return error_ != 0 ? error_ : ENOTCONN;
  if (finished_) return 0;
  finished_ = true;
  const err_t error = tcp_shutdown(pcb_, 0, 1);
  if (error != ERR_OK) finished_ = false;
  update();
  return errno_of(error);
}

void Connection::close() {
  const StackLock lock;
  if (closed_) return;
  closed_ = true;
  const bool reset = received_bytes_ != 0;
  drop_received();
  if (pcb_ != nullptr) {
    tcp_pcb* const pcb = pcb_;
    detach_pcb();
    if (!connected_ || reset) {
      endpoint_->sending -= unsent_;
      tcp_abort(pcb);
    } else {
      linger(*pcb, endpoint_, unsent_);
    }
    unsent_ = 0;
  }
  endpoint_->detach(*this);
  update();
}

void Connection::abort() {
  const StackLock lock;
  if (closed_) return;
  closed_ = true;
  drop_received();
  if (pcb_ != nullptr) {
    tcp_pcb* const pcb = pcb_;
    detach_pcb();
    endpoint_->sending -= std::exchange(unsent_, 0);
    tcp_abort(pcb);
  }
  endpoint_->detach(*this);
  update();
}

void Connection::set_no_delay(bool on) {
  const StackLock lock;
  if (pcb_ == nullptr) return;
  if (on) {
    tcp_nagle_disable(pcb_);
  } else {
    tcp_nagle_enable(pcb_);
  }
}

WaitStatus Connection::wait(std::uint32_t which, const Deadline& deadline) {
  const WaitHandle handle = wait_handle(which);
  return wait_any({&handle, 1}, deadline);
}

WaitHandle Connection::wait_handle(std::uint32_t which) {
  const StackLock lock;
  return signals_.handle(which);
}

void Connection::watch(std::shared_ptr<Watcher> watcher, std::uint64_t token) {
  const StackLock lock;
  signals_.watch(std::move(watcher), token);
}

void Connection::cut() {
  if (pcb_ != nullptr) {
    tcp_pcb* const pcb = pcb_;
    detach_pcb();
    tcp_abort(pcb);
  }
  fail(ENODEV);
}

// A peer that sends single bytes would make a packet's memory of each: short packets are copied behind each other.
void Connection::keep(pbuf* packet) {
  const u16_t size = packet->tot_len;
  received_bytes_ += size;
  if (size >= kSmallPacket) {
    received_.push_back({packet, 0});
    return;
  }
  if (received_.empty() || received_.back().room < size) {
    pbuf* const gathered = pbuf_alloc(PBUF_RAW, kGathered, PBUF_RAM);
    if (gathered == nullptr) {
      received_.push_back({packet, 0});
      return;
    }
    gathered->len = gathered->tot_len = 0;
    received_.push_back({gathered, kGathered});
  }
  Piece& last = received_.back();
  (void)pbuf_copy_partial(packet, static_cast<char*>(last.bytes->payload) + last.bytes->len, size, 0);
  last.bytes->len = last.bytes->tot_len = static_cast<u16_t>(last.bytes->len + size);
  last.room -= size;
  (void)pbuf_free(packet);
}

void Connection::drop_received() {
  for (const Piece& piece : received_) (void)pbuf_free(piece.bytes);
  received_.clear();
  received_bytes_ = 0;
}

void Connection::update() {
  const bool over = closed_ || error_ != 0 || pcb_ == nullptr;
  const bool readable = over || received_bytes_ > 0 || peer_finished_;
  const bool writable = over || finished_ || (connected_ && path_room() >= kAhead / 2 && room() >= kWritableRoom);
  signals_.update((readable ? kReadable : 0) | (writable ? kWritable : 0));
}

void Connection::fail(int error) {
  error_ = error;
  endpoint_->sending -= std::exchange(unsent_, 0);
  endpoint_->detach(*this);
  update();
}

void Connection::detach_pcb() {
  tcp_pcb* const pcb = std::exchange(pcb_, nullptr);
  tcp_arg(pcb, nullptr);
  tcp_recv(pcb, nullptr);
  tcp_sent(pcb, nullptr);
  tcp_err(pcb, nullptr);
  tcp_ext_arg_set(pcb, pcb_argument(), nullptr);
}

}  // namespace wintun
