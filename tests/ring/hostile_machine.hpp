// Both ends of rings whose memory lies: every load of a shared word may give anything, and differently each time.
// Bytes from anywhere (a seeded generator, a fuzzer) drive the calls and the lies. A promise that does not hold is
// a failure text; a step outside of the ring is AddressSanitizer's to find.
// It replaces the builtins under ring/atomics.h, so a program that includes this includes nothing else of the ring.
#pragma once

#include <cstdint>

namespace wintun::hostile {
std::uint32_t load(const std::uint32_t* word, int order);
}
#define __atomic_load_n(word, order) ::wintun::hostile::load(word, order)
#include "ring/lending.hpp"
#undef __atomic_load_n

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ring_memory.hpp"

namespace wintun::hostile {

using Source = std::function<std::uint32_t()>;  // the next 32 bits

class Machine {
 public:
  explicit Machine(Source source) : source_(std::move(source)) { g_machine = this; }
  ~Machine() { g_machine = nullptr; }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // `steps` calls of either end; the text of the first promise that was broken, or empty.
  std::string run(std::uint32_t steps) {
    for (std::uint32_t step = 0; step < steps && failure_.empty(); ++step) {
      const std::uint32_t choice = source_();
      lies_ = choice >> 8 & 7;  // of 8 loads
      act(choice & 0xF);
    }
    return failure_;
  }

 private:
  friend std::uint32_t load(const std::uint32_t* word, int order);
  static inline Machine* g_machine = nullptr;

  void act(std::uint32_t choice) {
    Slot slot;
    bool wake = false;
    switch (choice) {
      case 0:
      case 1:
      case 2:
        if (producer_.reserve(size(), slot) == RingStatus::ok) take(slot, filling_);
        break;
      case 3:
        if (filling_.empty()) break;
        producer_.shrink(filling_.back(), filling_.back().size / 2);
        check(filling_.back());
        break;
      case 4:
        if (filling_.empty()) break;
        producer_.abandon(filling_.back());
        filling_.pop_back();
        break;
      case 5:
      case 6:
        publish();
        break;
      case 7:
      case 8:
        if (consumer_.next(slot) == RingStatus::ok) take(slot, reading_);
        break;
      case 9:
        if (!reading_.empty()) consumer_.release(reading_.front().end);
        if (!reading_.empty()) reading_.erase(reading_.begin());
        break;
      case 10:
        (void)consumer_.prepare_to_wait();
        consumer_.finish_wait();
        break;
      case 11:
        if (lending_producer_.allocate(size(), slot) == RingStatus::ok) lend(slot, allocated_);
        break;
      case 12:
        if (!allocated_.empty()) (void)lending_producer_.submit(any_of(allocated_), wake);
        break;
      case 13:
        if (lending_consumer_.take(slot) == RingStatus::ok) lend(slot, taken_);
        break;
      case 14:
        if (!taken_.empty()) (void)lending_consumer_.give_back(any_of(taken_));
        break;
      default:
        lie_in_place();
    }
  }

  std::uint32_t size() {
    const std::uint32_t value = source_();
    return (value & 3) == 0 ? value >> 2 & 0x1FFFF : value >> 2 & 0x7FF;
  }

  void publish() {
    if (filling_.empty()) return;
    (void)producer_.publish(filling_.front().end);
    filling_.erase(filling_.begin());
  }

  const std::uint8_t* any_of(const std::vector<Slot>& slots) { return slots[source_() % slots.size()].data; }

  void check(const Slot& slot) {
    if (!memory_.holds(slot)) failure_ = "a packet was handed out that lies outside of the ring";
    std::memset(slot.data, 0x5A, slot.size);
  }

  // What one end holds, nobody can make it hand out again: neither end is ever told to believe more than its own
  // words.
  void take(const Slot& slot, std::vector<Slot>& held) {
    check(slot);
    for (const Slot& other : held) {
      if (wrap(slot.offset - other.offset, kMinCapacity) < slot_bytes(other.size) ||
          wrap(other.offset - slot.offset, kMinCapacity) < slot_bytes(slot.size)) {
        failure_ = "bytes that are held were handed out again";
      }
    }
    held.push_back(slot);
  }

  // Marks can be rewritten by the other end, so only the bounds are sure here.
  void lend(const Slot& slot, std::vector<Slot>& lent) {
    if (!lent_memory_.holds(slot)) failure_ = "a packet was lent that lies outside of the ring";
    std::memset(slot.data, static_cast<int>(source_()), slot.size);
    if (lent.size() == 64) lent.erase(lent.begin());
    lent.push_back(slot);
  }

  void lie_in_place() {
    Ring* const ring = (source_() & 1) == 0 ? memory_.ring() : lent_memory_.ring();
    std::uint32_t* const words[] = {&ring->head, &ring->tail, &ring->alertable,
                                    size_word(ring, source_() % kMinCapacity & ~3U)};
    *words[source_() % 4] = lie(*words[0]);
  }

  std::uint32_t lie(std::uint32_t truth) {
    const std::uint32_t value = source_();
    switch (value & 7) {
      case 0:
        return source_();
      case 1:
        return kEnded;
      case 2:
        return value >> 3 & (kMinCapacity - 1);
      case 3:
        return value >> 3 & (kMinCapacity - 4);
      case 4:
        return kMinCapacity - 4;
      case 5:
        return truth ^ kHeld;
      case 6:
        return truth + 4 * (value >> 3 & 0xFF);
      default:
        return truth - 4 * (value >> 3 & 0xFF);
    }
  }

  std::uint32_t look(const std::uint32_t* word) {
    const std::uint32_t truth = *const_cast<const volatile std::uint32_t*>(word);
    return (source_() & 7) < lies_ ? lie(truth) : truth;
  }

  Source source_;
  std::uint32_t lies_ = 0;
  std::string failure_;
  RingMemory memory_;
  RingMemory lent_memory_;
  Producer producer_{memory_.ring(), kMinCapacity};
  Consumer consumer_{memory_.ring(), kMinCapacity};
  LendingProducer lending_producer_{lent_memory_.ring(), kMinCapacity};
  LendingConsumer lending_consumer_{lent_memory_.ring(), kMinCapacity};
  std::vector<Slot> filling_;
  std::vector<Slot> reading_;
  std::vector<Slot> allocated_;
  std::vector<Slot> taken_;
};

inline std::uint32_t load(const std::uint32_t* word, int) { return Machine::g_machine->look(word); }

}  // namespace wintun::hostile
