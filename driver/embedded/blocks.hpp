// Memory of packets: blocks of a few sizes that are used again instead of given back, since a heap that shrinks and
// grows with every burst is faulted in page by page each time. Any thread; its lock is the innermost.
// Neighbours: device.cpp (received packets), lwipopts.h (lwIP's heap is this).
#pragma once

#include <cstddef>

namespace wintun {

void* take_block(std::size_t size) noexcept;  // as malloc; null: no memory
void give_block(void* memory) noexcept;       // as free

// What nobody uses now and is kept for the next: at most WINTUN_IDLE_BLOCK_BYTES.
std::size_t idle_block_bytes() noexcept;
void free_idle_blocks() noexcept;

// Around a fork, so that the child does not find the lock of a thread that it has not.
void lock_blocks() noexcept;
void unlock_blocks() noexcept;

}  // namespace wintun
