// See blocks.hpp. In front of each block stands of which size it is.
#include "driver/embedded/blocks.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "driver/embedded/lwipopts.h"

namespace wintun {
namespace {

constexpr std::size_t kStep = 512;                  // bytes from one size to the next
constexpr std::size_t kLeast = 1024;                // shorter ones are as fast from the heap
constexpr std::size_t kSizes = (68 << 10) / kStep;  // beyond the longest packet and lwIP's words about it

struct alignas(std::max_align_t) Block {
  Block* next;
  std::size_t size;  // in steps; 0: the heap's own
};

struct Idle {
  std::mutex mutex;
  std::array<Block*, kSizes + 1> blocks{};
  std::size_t bytes = 0;
  std::size_t newest = 0;  // the size that was given last
};

// Never destroyed: packets may outlive everything.
Idle& idle() {
  static Idle& one = *new Idle;
  return one;
}

void free_all(std::array<Block*, kSizes + 1>& lists) {
  for (Block*& list : lists) {
    while (list != nullptr) std::free(std::exchange(list, list->next));
  }
}

Block* take_idle(std::size_t size) {
  Idle& self = idle();
  const std::scoped_lock lock(self.mutex);
  Block* const block = self.blocks[size];
  if (block == nullptr) return nullptr;
  self.blocks[size] = block->next;
  self.bytes -= size * kStep;
  return block;
}

// False: there is enough of it.
bool keep_idle(Block& block) {
  Idle& self = idle();
  const std::scoped_lock lock(self.mutex);
  if (self.bytes + block.size * kStep > WINTUN_IDLE_BLOCK_BYTES) {
    if (self.newest == block.size || block.size * kStep > WINTUN_IDLE_BLOCK_BYTES) return false;
    free_all(self.blocks);  // an MTU that is over, perhaps
    self.bytes = 0;
  }
  self.newest = block.size;
  self.bytes += block.size * kStep;
  block.next = std::exchange(self.blocks[block.size], &block);
  return true;
}

}  // namespace

void* take_block(std::size_t size) noexcept {
  const std::size_t steps = size + sizeof(Block) <= kLeast ? 0 : (size + sizeof(Block) + kStep - 1) / kStep;
  const bool is_ours = steps > 0 && steps <= kSizes;
  Block* block = is_ours ? take_idle(steps) : nullptr;
  if (block == nullptr) {
    if (size > SIZE_MAX - sizeof(Block)) return nullptr;
    block = static_cast<Block*>(std::malloc(is_ours ? steps * kStep : size + sizeof(Block)));
    if (block == nullptr) return nullptr;
    block->size = is_ours ? steps : 0;
  }
  return block + 1;
}

void give_block(void* memory) noexcept {
  if (memory == nullptr) return;
  Block* const block = static_cast<Block*>(memory) - 1;
  if (block->size == 0 || !keep_idle(*block)) std::free(block);
}

std::size_t idle_block_bytes() noexcept {
  Idle& self = idle();
  const std::scoped_lock lock(self.mutex);
  return self.bytes;
}

void free_idle_blocks() noexcept {
  Idle& self = idle();
  const std::scoped_lock lock(self.mutex);
  free_all(self.blocks);
  self.bytes = 0;
}

void lock_blocks() noexcept { idle().mutex.lock(); }
void unlock_blocks() noexcept { idle().mutex.unlock(); }

}  // namespace wintun

extern "C" {

void* wintun_lwip_malloc(size_t size) { return wintun::take_block(size); }

void* wintun_lwip_calloc(size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return nullptr;
  void* const memory = wintun::take_block(count * size);
  if (memory != nullptr) std::memset(memory, 0, count * size);
  return memory;
}

void wintun_lwip_free(void* memory) { wintun::give_block(memory); }
}
