// See listener.hpp.
#include "driver/embedded/listener.hpp"

#include <lwip/priv/tcp_priv.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

[[noreturn]] void refuse(int error, const SocketAddress& at, const Endpoint& endpoint) {
  throw std::system_error(
      error, std::generic_category(),
      "cannot listen at " + text_of(at) + " on the embedded device '" + endpoint.name() + "'" + advice(error));
}

// By whoever listens: a connection on its way out does not keep a port from its server's successor.
bool is_listened_on(const ip_addr_t& address, std::uint16_t port) {
  for (const tcp_pcb_listen* one = tcp_listen_pcbs.listen_pcbs; one != nullptr; one = one->next) {
    if (one->local_port != port || IP_GET_TYPE(&one->local_ip) != IP_GET_TYPE(&address)) continue;
    if (ip_addr_isany(&one->local_ip) || ip_addr_isany(&address) || ip_addr_eq(&one->local_ip, &address)) return true;
  }
  return false;
}

}  // namespace

struct Listener::Callbacks {
  static err_t accepted(void* arg, tcp_pcb* pcb, err_t error) {
    if (error != ERR_OK || pcb == nullptr) return ERR_VAL;
    Listener& self = *static_cast<Listener*>(arg);
    tcp_backlog_delayed(pcb);  // it counts until somebody takes it
    auto connection = std::make_shared<Connection>(self.endpoint_, pcb);
    connection->adopt();
    self.waiting_.push_back(std::move(connection));
    self.update();
    return ERR_OK;
  }
};

Listener::Listener(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}

std::shared_ptr<Listener> Listener::listen(const std::shared_ptr<Endpoint>& endpoint, const SocketAddress& at,
                                           std::uint32_t backlog) {
  const StackLock lock;
  netif* const link = endpoint->interface();
  if (link == nullptr) refuse(ENODEV, at, *endpoint);
  const bool is_any = at.address.bytes == IpAddress{}.bytes;
  if (!is_any && !endpoint->has_address(at.address)) refuse(EADDRNOTAVAIL, at, *endpoint);
  const ip_addr_t address = to_lwip(at.address, link);
  const OnlyThisInterface only(*link);
  if (at.port != 0 && is_listened_on(address, at.port)) refuse(EADDRINUSE, at, *endpoint);
  tcp_pcb* pcb = tcp_new_ip_type(IP_GET_TYPE(&address));
  if (pcb == nullptr) refuse(ENOBUFS, at, *endpoint);
  tcp_bind_netif(pcb, link);
  ip_set_option(pcb, SOF_REUSEADDR);
  err_t error = tcp_bind(pcb, &address, at.port);
  if (error != ERR_OK) {
    tcp_abort(pcb);
    refuse(errno_of(error), at, *endpoint);
  }
  const auto limit = static_cast<u8_t>(std::clamp<std::uint32_t>(backlog, 1, kMostBacklog));
  tcp_pcb* const listening = tcp_listen_with_backlog_and_err(pcb, limit, &error);
  if (listening == nullptr) {
    tcp_abort(pcb);
    refuse(errno_of(error), at, *endpoint);
  }
  std::shared_ptr<Listener> made(new Listener(endpoint));
  made->pcb_ = listening;
  made->local_ = {at.address, listening->local_port};
  tcp_arg(listening, made.get());
  tcp_accept(listening, Callbacks::accepted);
  endpoint->attach(*made);
  return made;
}

Listener::~Listener() { close(); }

std::shared_ptr<Connection> Listener::accept(int& error) {
  const StackLock lock;
  error = error_;
  if (error_ != 0) return nullptr;
  while (!waiting_.empty()) {
    std::shared_ptr<Connection> connection = std::move(waiting_.front());
    waiting_.pop_front();
    connection->leave_backlog();
    update();
    return connection;
  }
  error = EAGAIN;
  return nullptr;
}

void Listener::close() {
  const StackLock lock;
  end(EBADF);
}

int Listener::error() const {
  const StackLock lock;
  return error_;
}

WaitStatus Listener::wait(const Deadline& deadline) {
  const WaitHandle handle = wait_handle();
  return wait_any({&handle, 1}, deadline);
}

WaitHandle Listener::wait_handle() {
  const StackLock lock;
  return signals_.handle(kReadable);
}

void Listener::watch(std::shared_ptr<Watcher> watcher, std::uint64_t token) {
  const StackLock lock;
  signals_.watch(std::move(watcher), token);
}

void Listener::cut() { end(ENODEV); }

void Listener::end(int error) {
  if (error_ == EBADF) return;
  error_ = error;
  if (pcb_ != nullptr) {
    tcp_pcb* const pcb = std::exchange(pcb_, nullptr);
    tcp_arg(pcb, nullptr);
    (void)tcp_close(pcb);
  }
  for (const auto& connection : waiting_) connection->abort();
  waiting_.clear();
  endpoint_->detach(*this);
  update();
}

// A rise for every connection, so that a loop that takes one at a time is told of the next.
void Listener::update() {
  const bool readable = error_ != 0 || !waiting_.empty();
  signals_.update(readable ? kReadable : 0);
}

}  // namespace wintun
