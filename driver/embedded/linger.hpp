// A connection that its owner has closed: what was sent still goes, but not for ever. Under the stack's lock.
#pragma once

#include <cstddef>
#include <memory>

struct tcp_pcb;

namespace wintun {

class Endpoint;

// Closes, and sees to it that the connection ends within a minute. `unsent`: bytes that count in endpoint->sending.
void linger(tcp_pcb& pcb, std::shared_ptr<Endpoint> endpoint, std::size_t unsent);

}  // namespace wintun
