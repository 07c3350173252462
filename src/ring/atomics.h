// Every ordered access to a word that both ends of a ring can write. No other file of the ring orders memory.
// Any thread may call these; which end may call which is said at each. The pairs are labelled on both halves,
// and tests/ring explores them under the weakest reorderings that C++ allows.
// Builtins rather than <atomic>, since a kernel has no C++ library; sequentially consistent accesses rather
// than fences, since ThreadSanitizer cannot see a fence.
#pragma once

#include <stdint.h>

namespace wintun {

// Pair T (tail): what the producer wrote into a packet is seen by the consumer that sees the tail behind it.
// Pair W (wake): the producer's tail and then its look at alertable, against the consumer's alertable and then
// its look at the tail. In one total order at least one of the two sees the other, so no wake-up is lost.
// Pair H (head): the consumer has finished reading a packet before the producer writes over it.
inline constexpr int kPublishTailOrder = __ATOMIC_SEQ_CST;       // T first half; W producer's first access
inline constexpr int kObserveAlertableOrder = __ATOMIC_SEQ_CST;  // W producer's second access
inline constexpr int kSetAlertableOrder = __ATOMIC_SEQ_CST;      // W consumer's first access
inline constexpr int kObserveTailOrder = __ATOMIC_SEQ_CST;       // W consumer's second access; T second half
inline constexpr int kPublishHeadOrder = __ATOMIC_RELEASE;       // H first half
inline constexpr int kObserveHeadOrder = __ATOMIC_ACQUIRE;       // H second half

// Producer.
inline void publish_tail(uint32_t* tail, uint32_t value) { __atomic_store_n(tail, value, kPublishTailOrder); }
inline uint32_t observe_alertable(const uint32_t* alertable) {
  return __atomic_load_n(alertable, kObserveAlertableOrder);
}
inline uint32_t observe_head(const uint32_t* head) { return __atomic_load_n(head, kObserveHeadOrder); }

// Consumer.
inline void set_alertable(uint32_t* alertable, uint32_t value) {
  __atomic_store_n(alertable, value, kSetAlertableOrder);
}
inline uint32_t observe_tail(const uint32_t* tail) { return __atomic_load_n(tail, kObserveTailOrder); }
inline void publish_head(uint32_t* head, uint32_t value) { __atomic_store_n(head, value, kPublishHeadOrder); }

// Either end. A size word that the other end may change at any moment: one access, never torn, never repeated.
// The pairs above order it.
inline uint32_t load_once(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
inline void store_once(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

}  // namespace wintun
