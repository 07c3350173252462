// The transition rules of core/state.hpp, tried exhaustively: every downward transition against every kind of
// filler, at each of the filler's steps. The host below gives way to the explorer in each of its functions.
// The fillers of the Windows driver are those that give (sends), that lend (its thread, with packets returned late),
// and bundles: reads that are completed from inside a filler, and writes that its thread then lends.
// The last tests weaken the host's lock and expect the explorer to notice, so that the first ones can fail.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "explorer.hpp"
#include "fake_host.hpp"

namespace wintun {
namespace {

Explorer* explorer = nullptr;

enum class Weakness { none, exclusive_does_not_wait, shared_does_not_hold };
Weakness weakness = Weakness::none;

// May be unlocked while the explorer gives up a schedule, so it lets that pass.
template <class Lock, void (Lock::*lock)(), void (Lock::*unlock)()>
class Hold {
 public:
  explicit Hold(Lock& held) : held_(held) { (held_.*lock)(); }
  ~Hold() noexcept(false) {
    if (std::uncaught_exceptions() == 0) (held_.*unlock)();
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  Lock& held_;
};

void step() { explorer->step(); }

class ModelHost {
 public:
  struct Packet {
    InFlight<Packet> flight;
    std::uint32_t size = 100;
    int completions = 0;
  };

  class TransitionLock {
   public:
    void lock() {
      explorer->block_until([this] { return weakness != Weakness::none || (!exclusive_ && shared_ == 0); });
      exclusive_ = true;
    }
    void unlock() {
      exclusive_ = false;
      step();
    }
    void lock_shared() {
      explorer->block_until([this] { return !exclusive_ || weakness != Weakness::none; });
      if (weakness != Weakness::shared_does_not_hold) ++shared_;
    }
    void unlock_shared() {
      if (shared_ > 0) --shared_;
      step();
    }

   private:
    bool exclusive_ = false;
    int shared_ = 0;
  };
  using SharedHold = Hold<TransitionLock, &TransitionLock::lock_shared, &TransitionLock::unlock_shared>;
  using ExclusiveHold = Hold<TransitionLock, &TransitionLock::lock, &TransitionLock::unlock>;

  class SpinLock {
   public:
    void lock() {
      explorer->block_until([this] { return !held_; });
      held_ = true;
    }
    void unlock() { held_ = false; }

   private:
    bool held_ = false;
  };
  using SpinHold = Hold<SpinLock, &SpinLock::lock, &SpinLock::unlock>;

  InFlight<Packet>& in_flight(Packet& packet) { return packet.flight; }
  std::uint32_t size(Packet& packet) { return packet.size; }
  void copy(Packet&, std::uint8_t*) { fill(); }
  void complete(Packet& packet, Outcome) {
    explorer->step();
    ++packet.completions;
  }
  void wake_program() {
    explorer->step();
    if (on_wake) on_wake();
  }
  void let_others_run() { explorer->yield(); }

  ReadResult read(std::uint8_t*, std::uint32_t) {
    fill();
    return {ReadStatus::ok, 100};
  }
  WriteStatus write(const std::uint8_t*, std::uint32_t, std::uint32_t) {
    fill();
    return WriteStatus::ok;
  }

  Packet* wrap(std::uint8_t*, std::uint32_t, std::uint32_t) {
    fill();
    packets_.emplace_back();
    wrapped_.push_back(&packets_.back());
    return wrapped_.back();
  }
  void indicate() {
    fill();
    lent.insert(lent.end(), wrapped_.begin(), wrapped_.end());
    wrapped_.clear();
  }
  void unwrap(Packet&) { explorer->step(); }

  // A queue is being filled here and now: before the step and after it.
  void fill() {
    filled_after_return = filled_after_return || returned;
    explorer->step();
    filled_after_return = filled_after_return || returned;
  }

  bool returned = false;  // the transition has
  bool filled_after_return = false;
  bool was_empty = true;  // the queue, when the transition returned
  std::function<void()> on_wake;
  std::deque<Packet*> lent;

 private:
  std::deque<Packet> packets_;
  std::vector<Packet*> wrapped_;
};

enum class Change { pause, disconnect, d1, d2, d3 };
constexpr Change kChanges[] = {Change::pause, Change::disconnect, Change::d1, Change::d2, Change::d3};

template <class... Queues>
void apply(Change change, State<ModelHost>& state, Queues&... queues) {
  switch (change) {
    case Change::pause:
      return state.pause(queues...);
    case Change::disconnect:
      return state.disconnect(queues...);
    case Change::d1:
      return state.set_power(Power::d1, queues...);
    case Change::d2:
      return state.set_power(Power::d2, queues...);
    case Change::d3:
      return state.set_power(Power::d3, queues...);
  }
}

template <class Queue>
bool looks_empty(Queue& queue) {
  if constexpr (requires { queue.is_empty(); }) {
    return queue.is_empty();
  } else {
    return true;
  }
}

template <class Queue>
struct Scene {
  Scene() : queue(host, state) {
    queue.attach(memory.ring(), memory.capacity());
    state.start();
    state.connect();
  }
  // The transition's task.
  void change(Change which) {
    apply(which, state, queue);
    host.returned = true;
    tail = memory.tail();
    host.was_empty = looks_empty(queue);
  }
  // Nothing was filled after the return, and the tail stayed where it was then.
  bool is_right() { return !host.filled_after_return && host.was_empty && tail == memory.tail(); }

  ModelHost host;
  State<ModelHost> state;
  Queue queue;
  RingMemory memory;
  std::uint32_t tail = 0;
};

class StateModel : public testing::TestWithParam<Change> {
 protected:
  void TearDown() override {
    explorer = nullptr;
    weakness = Weakness::none;
  }
};

// Explores a scene's transition against the tasks that `fillers` makes for it; true if every schedule was right.
template <class Queue, class Fillers, class AlsoRight>
bool explore(Change change, int preemptions, Fillers fillers, AlsoRight also_right, std::size_t at_least) {
  Explorer all(preemptions);
  explorer = &all;
  std::unique_ptr<Scene<Queue>> scene;
  const std::size_t schedules = all.run(
      [&] {
        scene = std::make_unique<Scene<Queue>>();
        Explorer::Tasks tasks = fillers(*scene);
        tasks.emplace_back([&scene, change] { scene->change(change); });
        return tasks;
      },
      [&] {
        if (!scene->is_right() || !also_right(*scene)) all.fail();
      });
  EXPECT_FALSE(all.deadlocked());
  if (!all.failed()) {
    EXPECT_GE(schedules, at_least);
  }
  return !all.failed();
}

using Given = ToUser<ModelHost>;
using Lent = ToNetwork<ModelHost>;
using Packets = std::deque<ModelHost::Packet>;

bool explore_one_giver(Change change) {
  std::unique_ptr<Packets> packets;
  return explore<Given>(
      change, Explorer::kNoBound,
      [&](Scene<Given>& scene) -> Explorer::Tasks {
        packets = std::make_unique<Packets>(1);
        return {[&] { (void)scene.queue.give(&packets->front()); }};
      },
      [&](Scene<Given>&) { return packets->front().completions == 1; }, 100);
}

TEST_P(StateModel, no_packet_is_given_after_the_transition_returns) { EXPECT_TRUE(explore_one_giver(GetParam())); }

TEST_P(StateModel, no_chain_of_two_givers_is_filled_after_the_transition_returns) {
  std::unique_ptr<Packets> packets;
  EXPECT_TRUE(explore<Given>(
      GetParam(), 2,
      [&](Scene<Given>& scene) -> Explorer::Tasks {
        packets = std::make_unique<Packets>(3);
        (*packets)[0].flight.next = &(*packets)[1];
        return {[&] { (void)scene.queue.give(&(*packets)[0]); }, [&] { (void)scene.queue.give(&(*packets)[2]); }};
      },
      [&](Scene<Given>&) {
        return (*packets)[0].completions == 1 && (*packets)[1].completions == 1 && (*packets)[2].completions == 1;
      },
      100));
}

TEST_P(StateModel, nothing_is_read_into_the_ring_after_the_transition_returns) {
  using Queue = ToUserReader<ModelHost>;
  EXPECT_TRUE(explore<Queue>(
      GetParam(), Explorer::kNoBound,
      [&](Scene<Queue>& scene) -> Explorer::Tasks { return {[&] { (void)scene.queue.fill(2); }}; },
      [](Scene<Queue>&) { return true; }, 10));
}

bool explore_lender(Change change) {
  return explore<Lent>(
      change, 2,
      [&](Scene<Lent>& scene) -> Explorer::Tasks {
        Producer program = scene.memory.producer();
        for (std::uint32_t id = 0; id < 2; ++id) EXPECT_TRUE(put(program, content(id, 100)));
        return {[&] { (void)scene.queue.drain(); },
                [&] {
                  // The stack keeps packets until somebody waits for them or all have come, and returns the newest
                  // first.
                  while (!scene.host.returned || !scene.host.lent.empty()) {
                    explorer->block_until([&] { return scene.host.returned || !scene.host.lent.empty(); });
                    if (scene.host.lent.empty()) return;
                    ModelHost::Packet* const packet = scene.host.lent.back();
                    scene.host.lent.pop_back();
                    (void)scene.queue.give_back(*packet);
                  }
                }};
      },
      [](Scene<Lent>& scene) { return scene.host.lent.empty(); }, 100);
}

TEST_P(StateModel, nothing_is_indicated_after_the_transition_returns_and_all_is_back) {
  EXPECT_TRUE(explore_lender(GetParam()));
}

TEST_P(StateModel, nothing_is_written_after_the_transition_returns) {
  using Queue = ToNetworkWriter<ModelHost>;
  EXPECT_TRUE(explore<Queue>(
      GetParam(), Explorer::kNoBound,
      [&](Scene<Queue>& scene) -> Explorer::Tasks {
        Producer program = scene.memory.producer();
        for (std::uint32_t id = 0; id < 2; ++id) EXPECT_TRUE(put(program, content(id, 100)));
        return {[&] { (void)scene.queue.drain(); }};
      },
      [](Scene<Queue>&) { return true; }, 10));
}

// The front end for bundles: the program's end of two rings, as driver/ndis/bundles.cpp has it. One read pends.
struct BundleScene {
  BundleScene() {
    to_user.attach(up.ring(), up.capacity());
    to_network.attach(down.ring(), down.capacity());
    host.on_wake = [this] { complete_reads(); };
    state.start();
    state.connect();
  }
  // A session's end and the program's requests take turns; pause and power do not wait for requests.
  void change(Change which) {
    {
      std::optional<ModelHost::SpinHold> hold;
      if (which == Change::disconnect) hold.emplace(serial);
      apply(which, state, to_user, to_network);
      is_ended = which == Change::disconnect;
    }
    host.returned = true;
    tail = up.tail();
    host.was_empty = to_user.is_empty() && to_network.is_empty();
  }
  void complete_reads() {
    const ModelHost::SpinHold hold(reading);
    Slot slot;
    if (reads == 0 || consumer.next(slot) != RingStatus::ok) return;
    consumer.release(slot.end);
    --reads;
  }
  void read() {
    const ModelHost::SpinHold turn(serial);
    if (is_ended) return;
    {
      const ModelHost::SpinHold hold(reading);
      ++reads;
    }
    complete_reads();
  }
  void write() {
    const ModelHost::SpinHold turn(serial);
    if (is_ended) return;
    EXPECT_TRUE(put(producer, content(1, 100)));
  }
  bool is_right() {
    const bool is_read_behind = reads != 0 && up.head() != up.tail();
    return !host.filled_after_return && host.was_empty && tail == up.tail() && host.lent.empty() && !is_read_behind;
  }

  ModelHost host;
  State<ModelHost> state;
  ToUser<ModelHost> to_user{host, state};
  ToNetwork<ModelHost> to_network{host, state};
  RingMemory up, down;
  Consumer consumer = up.consumer();
  Producer producer = down.producer();
  ModelHost::SpinLock serial, reading;
  int reads = 0;
  bool is_ended = false;
  std::uint32_t tail = 0;
};

template <class Fillers>
bool explore_bundles(Change change, Fillers fillers) {
  Explorer all(2);
  explorer = &all;
  std::unique_ptr<BundleScene> scene;
  const std::size_t schedules = all.run(
      [&] {
        scene = std::make_unique<BundleScene>();
        Explorer::Tasks tasks = fillers(*scene);
        tasks.emplace_back([&scene, change] { scene->change(change); });
        return tasks;
      },
      [&] {
        if (!scene->is_right()) all.fail();
      });
  EXPECT_FALSE(all.deadlocked());
  EXPECT_TRUE(all.failed() || schedules >= 100);
  return !all.failed();
}

bool explore_bundles_read(Change change) {
  std::unique_ptr<ModelHost::Packet> packet;
  return explore_bundles(change, [&](BundleScene& scene) -> Explorer::Tasks {
    packet = std::make_unique<ModelHost::Packet>();
    return {[&] { (void)scene.to_user.give(packet.get()); }, [&] { scene.read(); }};
  });
}

TEST_P(StateModel, no_bundle_is_filled_after_the_transition_returns_and_no_read_stays_behind_a_packet) {
  EXPECT_TRUE(explore_bundles_read(GetParam()));
}

TEST_P(StateModel, no_written_bundle_is_indicated_after_the_transition_returns) {
  EXPECT_TRUE(explore_bundles(GetParam(), [&](BundleScene& scene) -> Explorer::Tasks {
    return {[&] { scene.write(); },
            [&] {
              (void)scene.to_network.drain();
              while (!scene.host.lent.empty()) {
                ModelHost::Packet* const packet = scene.host.lent.back();
                scene.host.lent.pop_back();
                (void)scene.to_network.give_back(*packet);
              }
            }};
  }));
}

TEST_P(StateModel, a_shared_lock_that_does_not_hold_is_caught_with_bundles_too) {
  weakness = Weakness::shared_does_not_hold;
  EXPECT_FALSE(explore_bundles_read(GetParam()));
}

// Up again behind it: whatever the giver met on its way, its packet is completed once and the queue is empty.
TEST_P(StateModel, a_transition_and_its_way_back_complete_each_packet_once) {
  const Change change = GetParam();
  Explorer all;
  explorer = &all;
  std::unique_ptr<Scene<Given>> scene;
  std::unique_ptr<ModelHost::Packet> packet;
  std::unique_ptr<RingMemory> second;  // a session after a disconnect has a ring of its own
  (void)all.run(
      [&]() -> Explorer::Tasks {
        scene = std::make_unique<Scene<Given>>();
        packet = std::make_unique<ModelHost::Packet>();
        second = std::make_unique<RingMemory>();
        return {[&] { (void)scene->queue.give(packet.get()); },
                [&] {
                  apply(change, scene->state, scene->queue);
                  if (change == Change::disconnect) scene->queue.attach(second->ring(), second->capacity());
                  scene->state.connect();
                  scene->state.start();
                  scene->state.set_power(Power::d0, scene->queue);
                }};
      },
      [&] {
        const bool arrived = scene->memory.tail() + second->tail() == slot_bytes(100);
        const std::uint64_t drops = scene->queue.traffic().drops.value();
        if (packet->completions != 1 || arrived == (drops == 1)) all.fail();
      });
  EXPECT_FALSE(all.failed());
}

TEST_P(StateModel, an_exclusive_lock_that_does_not_wait_is_caught) {
  weakness = Weakness::exclusive_does_not_wait;
  EXPECT_FALSE(explore_lender(GetParam()));
}

TEST_P(StateModel, a_shared_lock_that_does_not_hold_is_caught) {
  weakness = Weakness::shared_does_not_hold;
  EXPECT_FALSE(explore_lender(GetParam()));
}

std::string name_of(const testing::TestParamInfo<Change>& change) {
  const std::string names[] = {"pause", "disconnect", "d1", "d2", "d3"};
  return names[static_cast<std::size_t>(change.param)];
}
INSTANTIATE_TEST_SUITE_P(Downward, StateModel, testing::ValuesIn(kChanges), name_of);

}  // namespace
}  // namespace wintun
