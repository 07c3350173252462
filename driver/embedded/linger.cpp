// See linger.hpp. What is remembered of such a connection hangs at lwIP's own object, and goes with it.
#include "driver/embedded/linger.hpp"

#include <lwip/tcp.h>

#include <algorithm>
#include <utility>

#include "driver/embedded/endpoint.hpp"
#include "driver/embedded/lwip.hpp"

namespace wintun {
namespace {

constexpr u8_t kPollTicks = 20;  // of the slow timer: a second
constexpr int kSeconds = 60;

struct Lingering {
  std::shared_ptr<Endpoint> endpoint;
  std::size_t unsent;
  int seconds_left = kSeconds;
};

void destroy(u8_t, void* data) {
  auto* const self = static_cast<Lingering*>(data);
  if (self == nullptr) return;
  self->endpoint->sending -= self->unsent;
  delete self;
}

err_t sent(void* arg, tcp_pcb*, u16_t bytes) {
  auto& self = *static_cast<Lingering*>(arg);
  const std::size_t done = std::min<std::size_t>(bytes, self.unsent);
  self.unsent -= done;
  self.endpoint->sending -= done;
  return ERR_OK;
}

err_t poll(void* arg, tcp_pcb* pcb) {
  auto& self = *static_cast<Lingering*>(arg);
  if (--self.seconds_left > 0) return ERR_OK;
  tcp_abort(pcb);
  return ERR_ABRT;
}

constexpr tcp_ext_arg_callbacks kCallbacks = {destroy, nullptr};

}  // namespace

void linger(tcp_pcb& pcb, std::shared_ptr<Endpoint> endpoint, std::size_t unsent) {
  auto* const self = new Lingering{std::move(endpoint), unsent};
  tcp_ext_arg_set_callbacks(&pcb, pcb_argument(), &kCallbacks);
  tcp_ext_arg_set(&pcb, pcb_argument(), self);
  tcp_arg(&pcb, self);
  tcp_sent(&pcb, sent);
  tcp_poll(&pcb, poll, kPollTicks);
  if (tcp_close(&pcb) != ERR_OK) tcp_abort(&pcb);
}

}  // namespace wintun
