// Every transition that stops packets, against everything that fills a queue or asks meanwhile, with real threads:
// when the transition has returned nothing moves any more, and nothing is out. What one thread at a time decides is
// explored whole in tests/driver/state_model_test.cpp; here are NDIS, the program and the driver's own thread.
#include <atomic>
#include <list>
#include <mutex>
#include <thread>
#include <tuple>

#include "tests/driver/ndis/scene.hpp"

namespace wintun::ndis_test {
namespace {

constexpr int kRounds = 3;
constexpr std::uint64_t kMoved = 20;  // packets that show that it moves
constexpr std::uint32_t kBufferBytes = 0x20000;
constexpr std::uint32_t kReceivedOk = 0x00020102, kSentOk = 0x00020101, kSetPower = 0xFD010101;  // OIDs

enum class Change { pause, close, exit, query_remove, surprise_remove, d1, d2, d3 };
enum class Filler { sends, sends_at_dispatch, lent, bundles_read, bundles_written, oids };

// Threads that do one thing each again and again.
class Workers {
 public:
  ~Workers() { stop(); }
  void add(std::function<void()> step) {
    Worker& worker = all_.emplace_back();
    worker.thread = std::thread([this, &worker, step = std::move(step)] {
      while (!stop_) {
        step();
        ++worker.turns;
        std::this_thread::yield();
      }
    });
  }
  // Each has begun and ended so many turns since now.
  void wait_turns(std::uint64_t turns) {
    for (Worker& worker : all_) {
      const std::uint64_t before = worker.turns;
      while (worker.turns < before + turns) std::this_thread::yield();
    }
  }
  void stop() {
    stop_ = true;
    for (Worker& worker : all_) {
      if (worker.thread.joinable()) worker.thread.join();
    }
  }

 private:
  struct Worker {
    std::thread thread;
    std::atomic<std::uint64_t> turns{0};
  };
  std::atomic<bool> stop_{false};
  std::list<Worker> all_;
};

class TransitionLoad : public NdisTest, public testing::WithParamInterface<std::tuple<Change, Filler>> {
 protected:
  void SetUp() override {
    NdisTest::SetUp();
    ASSERT_EQ(adapter().start(), kSuccess);
  }

  Change change() const { return std::get<0>(GetParam()); }
  Filler filler() const { return std::get<1>(GetParam()); }
  bool has_bundles() const { return filler() == Filler::bundles_read || filler() == Filler::bundles_written; }
  bool ends_session() const { return change() != Change::pause && change() < Change::d1; }

  // ---- what the threads do ----

  void send_some(bool at_dispatch) {
    kernel::SendOptions options;
    options.at_dispatch = at_dispatch;
    adapter().send({{packet_of(60, 1), packet_of(200, 2)}, {packet_of(90, 3)}}, options);
  }
  void read_ring() {
    Slot slot;
    if (rings_->consumer().next(slot) == RingStatus::ok) rings_->consumer().release(slot.end);
  }
  void write_bundle() {
    const Bytes bundle = bundle_of({packet_of(60, 0), packet_of(60, 1), packet_of(60, 2), packet_of(60, 3)});
    std::memcpy(buffer_, bundle.data(), bundle.size());
    (void)program().write(device_, buffer_, static_cast<ULONG>(bundle.size()));
  }
  // One read pends as long as nothing comes.
  void read_bundle() {
    if (read_ && !read_->is_done()) return;
    if (read_ && read_->wait().status == kSuccess) ++moved_;
    read_ = program().start_read(device_, buffer_, kBufferBytes);
  }
  void ask() {
    std::uint64_t value = 0;
    const std::lock_guard locked(oid_lock_);  // NDIS gives one request at a time
    (void)adapter().query(kReceivedOk, &value, sizeof(value));
    if (adapter().query(kSentOk, &value, sizeof(value)).status == kSuccess) ++moved_;
  }

  void begin_session() {
    device_ = open();
    buffer_ = program().allocate(kBufferBytes);
    if (has_bundles()) {
      write_bundle();
    } else {
      rings_.emplace(program());
      ASSERT_EQ(enroll(device_, *rings_), kSuccess);
    }
    ASSERT_TRUE(adapter().is_connected());
  }

  // The stack keeps every third packet, and a thread of its own gives it back.
  void begin_threads() {
    moved_ = 0;
    adapter().on_receive([this](const kernel::Received& received) {
      if (!is_sender()) ++moved_;
      return received.id % 3 != 0;
    });
    adapter().on_completion([this](const kernel::Completion& completion) {
      if (completion.status == kSuccess && is_sender()) ++moved_;
    });
    stack_.emplace();
    stack_->add([this] {
      auto ids = adapter().kept();
      adapter().give_back({ids.rbegin(), ids.rend()}, ids.size() % 2 == 0);
    });
    programs_.emplace();
    switch (filler()) {
      case Filler::sends:
      case Filler::sends_at_dispatch:
        for (int i = 0; i < 2; ++i) stack_->add([this] { send_some(filler() == Filler::sends_at_dispatch); });
        programs_->add([this] { read_ring(); });
        break;
      case Filler::lent:
        programs_->add([this] { (void)rings_->send(packet_of(100, 1)); });
        break;
      case Filler::bundles_read:
        stack_->add([this] { send_some(false); });
        programs_->add([this] { read_bundle(); });
        break;
      case Filler::bundles_written:
        programs_->add([this] { write_bundle(); });
        break;
      case Filler::oids:
        stack_->add([this] { ask(); });
        stack_->add([this] { send_some(false); });
        programs_->add([this] { read_ring(); });
    }
  }
  bool is_sender() const { return filler() == Filler::sends || filler() == Filler::sends_at_dispatch; }

  void wait_moved() {
    const std::uint64_t before = moved_;
    const auto limit = std::chrono::steady_clock::now() + kLong;
    while (moved_ < before + kMoved) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit) << "nothing moves";
      std::this_thread::yield();
    }
  }

  // ---- the transition ----

  std::int32_t power(std::uint32_t state) {
    const std::lock_guard locked(oid_lock_);
    return adapter().set(kSetPower, &state, sizeof(state)).status;
  }

  void apply() {
    switch (change()) {
      case Change::pause:
        return adapter().pause();
      case Change::close:
        (void)program().close(device_);
        return;
      case Change::exit:
        programs_->stop();  // the system ends a program's threads before its memory goes
        return program_->exit();
      case Change::query_remove:
        (void)adapter().query_remove();
        return;
      case Change::surprise_remove:
        return adapter().surprise_remove();
      default:  // as to a miniport that NDIS does not pause before; NdisDeviceStateD0 is 1
        ASSERT_EQ(power(2 + static_cast<std::uint32_t>(change()) - static_cast<std::uint32_t>(Change::d1)), kSuccess);
    }
  }

  void go_back() {
    if (change() == Change::pause) {
      ASSERT_EQ(adapter().restart(), kSuccess);
    } else if (change() >= Change::d1) {
      ASSERT_EQ(power(1), kSuccess);
    }
  }

  // How much has moved, as the adapter counts; nothing when it is gone.
  std::pair<std::uint64_t, std::uint64_t> counters() {
    if (change() == Change::surprise_remove) return {};
    std::pair<std::uint64_t, std::uint64_t> all;
    const std::lock_guard locked(oid_lock_);
    (void)adapter().query(kSentOk, &all.first, sizeof(all.first));
    (void)adapter().query(kReceivedOk, &all.second, sizeof(all.second));
    return all;
  }

  // A packet sent now, and all that others send from now on, come back undelivered.
  void expect_refused() {
    const std::uint64_t first = adapter().send_packet(packet_of(60, 1));
    stack_->wait_turns(3);
    bool seen = false;
    while (!seen) {
      for (const kernel::Completion& one : adapter().completions()) {
        seen = seen || one.list == first;
        if (one.list >= first) {
          EXPECT_NE(one.status, kSuccess);
        }
      }
      std::this_thread::yield();
    }
  }

  void expect_still() {
    EXPECT_TRUE(adapter().kept().empty());
    (void)adapter().received();
    const auto moved = counters();
    expect_refused();
    programs_->wait_turns(change() == Change::exit ? 0 : 3);
    EXPECT_EQ(counters(), moved);
    EXPECT_TRUE(adapter().received().empty());
    EXPECT_EQ(adapter().is_connected(), !ends_session());
  }

  void end_round() {
    programs_->stop();
    if (!ends_session()) {
      EXPECT_EQ(program().close(device_), kSuccess);
    }
    if (read_) (void)read_->wait();
    read_.reset();
    stack_->stop();
    adapter().on_receive({});
    adapter().on_completion({});
    rings_.reset();
    adapter().wait_for_sends();
    (void)adapter().completions();
    (void)adapter().received();
    if (change() == Change::exit) program_.emplace();
    if (change() == Change::surprise_remove) {
      adapter_.emplace(*driver_);
      ASSERT_EQ(adapter().start(), kSuccess);
    }
  }

  HANDLE device_ = nullptr;
  std::uint8_t* buffer_ = nullptr;
  std::optional<ProgramRings> rings_;
  std::optional<kernel::Request> read_;
  std::mutex oid_lock_;
  std::atomic<std::uint64_t> moved_{0};
  std::optional<Workers> stack_, programs_;  // destroyed first
};

TEST_P(TransitionLoad, nobody_fills_a_queue_after_the_transition_has_returned) {
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    begin_session();
    begin_threads();
    wait_moved();
    apply();
    expect_still();
    if (!ends_session()) {
      go_back();
      wait_moved();
    }
    end_round();
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Change, Filler>>& info) {
  const std::string changes[] = {"pause", "close", "exit", "query_remove", "surprise_remove", "d1", "d2", "d3"};
  const std::string fillers[] = {"sends",        "sends_at_dispatch", "lent_packets",
                                 "bundles_read", "bundles_written",   "oids"};
  return changes[static_cast<std::size_t>(std::get<0>(info.param))] + "_against_" +
         fillers[static_cast<std::size_t>(std::get<1>(info.param))];
}
INSTANTIATE_TEST_SUITE_P(
    Each, TransitionLoad,
    testing::Combine(testing::Values(Change::pause, Change::close, Change::exit, Change::query_remove,
                                     Change::surprise_remove, Change::d1, Change::d2, Change::d3),
                     testing::Values(Filler::sends, Filler::sends_at_dispatch, Filler::lent, Filler::bundles_read,
                                     Filler::bundles_written, Filler::oids)),
    name_of);

}  // namespace
}  // namespace wintun::ndis_test
