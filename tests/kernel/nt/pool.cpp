// Pool: real memory of the process, so that the sanitizers see what becomes of it; dirty when it comes and when it
// goes. Sizes and tags are held here and checked when it is freed.
#include <cstring>
#include <map>
#include <new>
#include <string>

#include "tests/kernel/nt/objects.hpp"

namespace wintun::kernel {
namespace {

struct Allocation {
  std::size_t bytes;
  std::size_t alignment;
  ULONG tag;
  bool paged;
};

struct Pool {
  std::mutex lock;
  std::map<void*, Allocation> all;
};
Pool& pool() {
  static Pool* const one = new Pool;
  return *one;
}

std::string tag_text(ULONG tag) {
  std::string text(4, '?');
  for (std::size_t i = 0; i < 4; ++i) {
    const auto byte = static_cast<char>(tag >> (8 * i));
    if (byte >= ' ' && byte <= '~') text[i] = byte;
  }
  return text;
}

void free_pool(void* memory, ULONG tag, const char* function) {
  Allocation allocation{};
  {
    const std::lock_guard locked(pool().lock);
    const auto found = pool().all.find(memory);
    if (found != pool().all.end()) {
      allocation = found->second;
      pool().all.erase(found);
    }
  }
  if (allocation.bytes == 0) {
    violation(std::string(function) + " of what is no pool memory, or was freed already");
    return;
  }
  require_irql_at_most(allocation.paged ? APC_LEVEL : DISPATCH_LEVEL, function);
  if (tag != 0 && tag != allocation.tag) {
    violation(std::string(function) + " with tag " + tag_text(tag) + ", allocated with " + tag_text(allocation.tag));
  }
  give_back(Kind::pool, memory);
  forget_locks_in(memory, allocation.bytes);
  std::memset(memory, 0xdd, allocation.bytes);
  ::operator delete (memory, std::align_val_t{allocation.alignment});
}

}  // namespace

bool is_nonpaged_pool(const void* memory, std::size_t bytes) {
  const std::lock_guard locked(pool().lock);
  auto after = pool().all.upper_bound(const_cast<void*>(memory));
  if (after == pool().all.begin()) return false;
  --after;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(memory) - static_cast<char*>(after->first));
  return !after->second.paged && offset <= after->second.bytes && bytes <= after->second.bytes - offset;
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T bytes, ULONG tag) {
  const bool paged = type == PagedPool;
  require_irql_at_most(paged ? APC_LEVEL : DISPATCH_LEVEL, __func__);
  if (bytes == 0 || tag == 0) {
    violation("ExAllocatePoolWithTag of no bytes, or without a tag");
    return nullptr;
  }
  if (type == NonPagedPoolNx && !knows_no_execute())
    violation("ExAllocatePoolWithTag of a pool that Windows 7 lacks");
  if (should_fail(__func__)) return nullptr;
  // Published: from a page on it begins on a page's start, below that on 16 bytes.
  const std::size_t alignment = bytes >= PAGE_SIZE ? PAGE_SIZE : 16;
  void* const memory = ::operator new (bytes, std::align_val_t{alignment}, std::nothrow);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0xcd, bytes);
  {
    const std::lock_guard locked(pool().lock);
    pool().all[memory] = {bytes, alignment, tag, paged};
  }
  take(Kind::pool, memory, __func__, tag_text(tag) + ", " + std::to_string(bytes) + " bytes");
  return memory;
}

VOID NTAPI ExFreePoolWithTag(PVOID memory, ULONG tag) { free_pool(memory, tag, __func__); }

}  // extern "C"
