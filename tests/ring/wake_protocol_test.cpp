// The ring's own code, unchanged, run under the model checker: its builtins are replaced, its orders are what
// ring/atomics.h declares. With them no wake-up is lost, no packet is unseen and no byte races, in any execution
// that C++ allows; and each half of each pair is needed: made weaker, it fails in the way that its pair forbids.
// What this proves, and what not, is written in docs/ring.md.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "model/explorer.hpp"

#define __atomic_load_n(location, order) ::wintun::model::load(location, order)
#define __atomic_store_n(location, value, order) ::wintun::model::store(location, value, order)
#include "ring/lending.hpp"
#undef __atomic_load_n
#undef __atomic_store_n

namespace wintun {
namespace {

using model::Findings;
using model::Program;

constexpr std::uint32_t kSize = 4;        // of each packet; 8 bytes with its size word
constexpr std::uint32_t kOnePacket = 16;  // a capacity that one packet fills: its room is used again at once
constexpr std::uint32_t kThreePackets = 32;

// The locations. The model keeps the values; here stands nothing but addresses.
struct Shared {
  Ring ring;
  std::array<std::uint8_t, 64> data;
};
static_assert(offsetof(Shared, data) == sizeof(Ring));
alignas(8) Shared shared;
char event;

enum class EventKind { resets_itself, stays_set };

void produce(std::uint32_t packets, std::uint32_t capacity, bool ends) {
  Producer producer(&shared.ring, capacity);
  for (std::uint32_t number = 1; number <= packets; ++number) {
    Slot slot;
    const RingStatus status = producer.reserve(kSize, slot);
    if (status == RingStatus::full) model::try_again();
    model::require(status == RingStatus::ok, "the producer believes the head");
    model::write_plain(slot.data, number);
    if (producer.publish(slot.end)) model::set_event(&event);
  }
  if (!ends) return;
  producer.end();
  model::set_event(&event);
}

// Takes `packets` of them, or all until the end; sleeps whenever there is none.
void consume(std::uint32_t packets, std::uint32_t capacity, EventKind kind) {
  Consumer consumer(&shared.ring, capacity);
  for (std::uint32_t number = 1; number <= packets;) {
    Slot slot;
    const RingStatus status = consumer.next(slot);
    if (status == RingStatus::ended) break;
    if (status == RingStatus::ok) {
      model::require(slot.size == kSize, "the size is the one that was written");
      model::require(model::read_plain(slot.data) == number, "the bytes are the ones that were written");
      consumer.release(slot.end);
      ++number;
      continue;
    }
    model::require(status == RingStatus::empty, "the consumer believes the tail and the size");
    if (consumer.prepare_to_wait()) {
      if (kind == EventKind::resets_itself) {
        model::wait_and_reset_event(&event);
      } else {
        model::wait_event(&event);
        model::reset_event(&event);
      }
    }
    consumer.finish_wait();
  }
}

Program program(std::uint32_t packets, std::uint32_t capacity, EventKind kind) {
  return {{[=] { produce(packets, capacity, false); }, [=] { consume(packets, capacity, kind); }},
          {},
          {{&shared.ring.head, "head"},
           {&shared.ring.tail, "tail"},
           {&shared.ring.alertable, "alertable"},
           {&event, "event"},
           {shared.data.data(), "first size"},
           {shared.data.data() + 4, "first bytes"},
           {shared.data.data() + 8, "second size"},
           {shared.data.data() + 12, "second bytes"}}};
}

// One access of ring/atomics.h is made as weak as `order`; the others stay as they are.
Findings weakened(Program tried, const std::uint32_t* location, bool store, int order) {
  tried.reorder = [=](const void* at, bool is_store, int asked) {
    return at == location && is_store == store ? order : asked;
  };
  return model::explore(tried);
}

class Protocol : public testing::TestWithParam<EventKind> {};
INSTANTIATE_TEST_SUITE_P(Events, Protocol, testing::Values(EventKind::resets_itself, EventKind::stays_set),
                         [](const auto& tried) {
                           return tried.param == EventKind::resets_itself ? "auto_reset" : "manual_reset";
                         });

TEST_P(Protocol, no_wake_up_is_lost_and_no_packet_unseen) {
  for (const std::uint32_t packets : {1U, 2U, 3U}) {
    const Findings findings = model::explore(program(packets, kThreePackets, GetParam()));
    EXPECT_TRUE(findings.clean()) << packets << " packets: " << findings.example;
    EXPECT_GT(findings.executions, 1U);
  }
}

TEST_P(Protocol, room_that_is_used_again_is_never_written_while_it_is_read) {
  const Findings findings = model::explore(program(3, kOnePacket, GetParam()));
  EXPECT_TRUE(findings.clean()) << findings.example;
  EXPECT_GT(findings.executions, 1U);
}

TEST_P(Protocol, an_end_wakes_a_consumer_that_sleeps) {
  Program ending = program(0, kThreePackets, GetParam());
  ending.threads = {[] { produce(1, kThreePackets, true); }, [] { consume(2, kThreePackets, GetParam()); }};
  const Findings findings = model::explore(ending);
  EXPECT_TRUE(findings.clean()) << findings.example;
}

// Pair W: each of its four accesses, as strong as release or acquire alone can be.
TEST_P(Protocol, a_wake_up_is_lost_when_the_tail_is_only_released) {
  const auto findings = weakened(program(1, kThreePackets, GetParam()), &shared.ring.tail, true, __ATOMIC_RELEASE);
  EXPECT_GT(findings.stuck, 0U);
}
TEST_P(Protocol, a_wake_up_is_lost_when_alertable_is_only_acquired) {
  const auto findings =
      weakened(program(1, kThreePackets, GetParam()), &shared.ring.alertable, false, __ATOMIC_ACQUIRE);
  EXPECT_GT(findings.stuck, 0U);
}
TEST_P(Protocol, a_wake_up_is_lost_when_alertable_is_only_released) {
  const auto findings =
      weakened(program(1, kThreePackets, GetParam()), &shared.ring.alertable, true, __ATOMIC_RELEASE);
  EXPECT_GT(findings.stuck, 0U);
}
TEST_P(Protocol, a_wake_up_is_lost_when_the_tail_is_only_acquired) {
  const auto findings = weakened(program(1, kThreePackets, GetParam()), &shared.ring.tail, false, __ATOMIC_ACQUIRE);
  EXPECT_GT(findings.stuck, 0U);
}

// Pair T.
TEST_P(Protocol, packets_race_when_the_tail_is_stored_relaxed) {
  const auto findings = weakened(program(1, kThreePackets, GetParam()), &shared.ring.tail, true, __ATOMIC_RELAXED);
  EXPECT_GT(findings.races + findings.broken, 0U);
}
TEST_P(Protocol, packets_race_when_the_tail_is_loaded_relaxed) {
  const auto findings = weakened(program(1, kThreePackets, GetParam()), &shared.ring.tail, false, __ATOMIC_RELAXED);
  EXPECT_GT(findings.races + findings.broken, 0U);
}

// Pair H.
TEST_P(Protocol, packets_are_overwritten_when_the_head_is_stored_relaxed) {
  const auto findings = weakened(program(3, kOnePacket, GetParam()), &shared.ring.head, true, __ATOMIC_RELAXED);
  EXPECT_GT(findings.races, 0U);
}
TEST_P(Protocol, packets_are_overwritten_when_the_head_is_loaded_relaxed) {
  const auto findings = weakened(program(3, kOnePacket, GetParam()), &shared.ring.head, false, __ATOMIC_RELAXED);
  EXPECT_GT(findings.races, 0U);
}

// The program's ends, with their marks in the size words: given back in reverse order, to a producer that waits.
TEST(LendingProtocol, packets_given_back_out_of_order_are_never_overwritten_early) {
  const auto lend = [] {
    LendingConsumer lender(&shared.ring, kThreePackets);
    std::array<Slot, 2> slots;
    for (std::uint32_t taken = 0; taken < 2;) {
      const RingStatus status = lender.take(slots[taken]);
      if (status == RingStatus::empty) model::try_again();
      model::require(status == RingStatus::ok, "the consumer believes the tail and the size");
      ++taken;
    }
    for (const std::uint32_t number : {1U, 0U}) {
      model::require(model::read_plain(slots[number].data) == number + 1, "the bytes are the ones that were written");
      model::require(lender.give_back(slots[number].data) == RingStatus::ok, "what was lent is taken back");
    }
  };
  const auto produce_out_of_order = [] {
    LendingProducer lender(&shared.ring, kThreePackets);
    std::array<Slot, 2> slots;
    for (Slot& slot : slots) model::require(lender.allocate(kSize, slot) == RingStatus::ok, "there is room for two");
    for (const std::uint32_t number : {1U, 0U}) {
      bool wake = false;
      model::write_plain(slots[number].data, number + 1);
      model::require(lender.submit(slots[number].data, wake) == RingStatus::ok, "what was lent is taken back");
    }
    // Two more of them: the second takes the room of the first packet.
    for (std::uint32_t number = 3; number <= 5; ++number) {
      Slot slot;
      const RingStatus status = lender.allocate(kSize, slot);
      if (status == RingStatus::full) model::try_again();
      model::require(status == RingStatus::ok, "the producer believes the head");
      model::write_plain(slot.data, number);
    }
  };
  Program tried = program(0, kThreePackets, EventKind::stays_set);
  tried.threads = {produce_out_of_order, lend};
  const Findings findings = model::explore(tried);
  EXPECT_TRUE(findings.clean()) << findings.example;
  EXPECT_GT(findings.executions, 0U);
  EXPECT_GT(weakened(tried, &shared.ring.head, true, __ATOMIC_RELAXED).races, 0U);
  EXPECT_GT(weakened(tried, &shared.ring.tail, true, __ATOMIC_RELAXED).races, 0U);
}

}  // namespace
}  // namespace wintun
