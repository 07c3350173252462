// See datagram.hpp.
#include "driver/embedded/datagram.hpp"

#include <lwip/udp.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr std::size_t kLongest6 = 65527;
constexpr std::size_t kOverhead = 256;  // bytes that an empty one takes

[[noreturn]] void refuse(int error, const char* doing, const SocketAddress& at, const Endpoint& endpoint) {
  throw std::system_error(error, std::generic_category(),
                          std::string("cannot ") + doing + " " + text_of(at) + " on the embedded device '" +
                              endpoint.name() + "'" + advice(error));
}

bool is_bound(const ip_addr_t& address, std::uint16_t port) {
  for (const udp_pcb* one = udp_pcbs; one != nullptr; one = one->next) {
    if (one->local_port != port || IP_GET_TYPE(&one->local_ip) != IP_GET_TYPE(&address)) continue;
    if (ip_addr_isany(&one->local_ip) || ip_addr_isany(&address) || ip_addr_eq(&one->local_ip, &address)) return true;
  }
  return false;
}

}  // namespace

struct Datagram::Callbacks {
  static void received(void* arg, udp_pcb*, pbuf* packet, const ip_addr_t* from, u16_t port) {
    Datagram& self = *static_cast<Datagram*>(arg);
    const std::size_t bytes = packet->tot_len + kOverhead;
    if (self.kept_bytes_ + bytes > kKept) {
      self.drops_.fetch_add(1, std::memory_order_relaxed);
      (void)pbuf_free(packet);
      return;
    }
    self.kept_bytes_ += bytes;
    self.kept_.push_back({packet, {from_lwip(*from), port}});
    self.update();
  }
};

std::shared_ptr<Datagram> Datagram::open(const std::shared_ptr<Endpoint>& endpoint,
                                         const std::optional<SocketAddress>& local,
                                         const std::optional<SocketAddress>& remote) {
  SocketAddress at;
  at.address.family = remote ? remote->address.family : 4;
  if (local) at = *local;
  const StackLock lock;
  netif* const link = endpoint->interface();
  if (link == nullptr) refuse(ENODEV, "bind", at, *endpoint);
  if (remote) {
    const int unreachable = endpoint->route_error(remote->address);
    if (unreachable != 0) refuse(unreachable, "send to", *remote, *endpoint);
    if (remote->port == 0 || remote->address.family != at.address.family) {
      refuse(EINVAL, "send to", *remote, *endpoint);
    }
  }
  const bool is_any = at.address.bytes == IpAddress{}.bytes;
  if (!is_any && !endpoint->has_address(at.address)) refuse(EADDRNOTAVAIL, "bind", at, *endpoint);
  const ip_addr_t address = to_lwip(at.address, link);
  const OnlyThisInterface only(*link);
  if (at.port != 0 && is_bound(address, at.port)) refuse(EADDRINUSE, "bind", at, *endpoint);
  udp_pcb* const pcb = udp_new_ip_type(IP_GET_TYPE(&address));
  if (pcb == nullptr) refuse(ENOBUFS, "bind", at, *endpoint);
  udp_bind_netif(pcb, link);
  std::shared_ptr<Datagram> made(new Datagram(endpoint));
  made->pcb_ = pcb;
  err_t error = udp_bind(pcb, &address, at.port);
  if (error == ERR_OK && remote) {
    const ip_addr_t peer = to_lwip(remote->address, link);
    error = udp_connect(pcb, &peer, remote->port);
  }
  if (error != ERR_OK) refuse(errno_of(error), "bind", at, *endpoint);
  made->local_ = {at.address, pcb->local_port};
  made->remote_ = remote;
  udp_recv(pcb, Callbacks::received, made.get());
  endpoint->attach(*made);
  return made;
}

Datagram::~Datagram() { close(); }

Progress Datagram::receive(std::span<std::uint8_t> into, SocketAddress& from) {
  Kept next{};
  {
    const StackLock lock;
    if (error_ != 0) return {0, error_};
    if (kept_.empty()) return {0, EAGAIN};
    next = kept_.front();
    kept_.pop_front();
    kept_bytes_ -= next.bytes->tot_len + kOverhead;
    update();
  }
  from = next.from;
  const auto size = static_cast<u16_t>(std::min<std::size_t>(into.size(), next.bytes->tot_len));
  (void)pbuf_copy_partial(next.bytes, into.data(), size, 0);
  (void)pbuf_free(next.bytes);
  return {size, 0};
}

std::size_t Datagram::next_size() const {
  const StackLock lock;
  return kept_.empty() ? 0 : kept_.front().bytes->tot_len;
}

Progress Datagram::send(std::span<const std::uint8_t> bytes, const std::optional<SocketAddress>& to) {
  const StackLock lock;
  if (error_ != 0) return {0, error_};
  const std::optional<SocketAddress>& peer = to ? to : remote_;
  if (!peer) return {0, EDESTADDRREQ};
  if (bytes.size() > (local_.address.family == 4 ? kLongest : kLongest6)) return {0, EMSGSIZE};
  if (peer->port == 0 || peer->address.family != local_.address.family) return {0, EINVAL};
  const int unreachable = endpoint_->route_error(peer->address);
  if (unreachable != 0) return {0, unreachable};
  pbuf* const packet = pbuf_alloc(PBUF_TRANSPORT, static_cast<u16_t>(bytes.size()), PBUF_RAM);
  if (packet == nullptr) return {0, ENOBUFS};
  if (!bytes.empty()) (void)pbuf_take(packet, bytes.data(), static_cast<u16_t>(bytes.size()));
  const ip_addr_t address = to_lwip(peer->address, endpoint_->interface());
  const err_t error = udp_sendto(pcb_, packet, &address, peer->port);
  (void)pbuf_free(packet);
  return error == ERR_OK ? Progress{bytes.size(), 0} : Progress{0, errno_of(error)};
}

void Datagram::close() {
  const StackLock lock;
  end(EBADF);
}

int Datagram::error() const {
  const StackLock lock;
  return error_;
}

WaitStatus Datagram::wait(const Deadline& deadline) {
  const WaitHandle handle = wait_handle();
  return wait_any({&handle, 1}, deadline);
}

WaitHandle Datagram::wait_handle() {
  const StackLock lock;
  return signals_.handle(kReadable);
}

void Datagram::watch(std::shared_ptr<Watcher> watcher, std::uint64_t token) {
  const StackLock lock;
  signals_.watch(std::move(watcher), token);
}

void Datagram::cut() { end(ENODEV); }

void Datagram::end(int error) {
  if (error_ == EBADF) return;
  error_ = error;
  if (pcb_ != nullptr) udp_remove(std::exchange(pcb_, nullptr));
  for (const Kept& one : kept_) (void)pbuf_free(one.bytes);
  kept_.clear();
  kept_bytes_ = 0;
  endpoint_->detach(*this);
  update();
}

void Datagram::update() { signals_.update((error_ != 0 || !kept_.empty() ? kReadable : 0) | kWritable); }

}  // namespace wintun
