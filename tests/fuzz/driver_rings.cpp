// A program whose ring memory is anything, while the driver works on it: packets laid out and mutated, words
// scribbled over what the driver reads at that moment, offsets that lie, a stack that returns late, and pauses.
#include <sched.h>

#include <chrono>
#include <mutex>

#include "driver_scene.hpp"
#include "tests/driver/ndis/registration.hpp"

namespace wintun::fuzz {
namespace {

constexpr std::uint32_t kCapacity = kMinCapacity;

class Session {
 public:
  Session(Scene& scene, Input& input)
      : adapter_(scene.adapter()),
        input_(input),
        is_32_bit_((input.byte() & 1) != 0),
        program_(kernel::Process::Kind{is_32_bit_, kernel::kElevated}),
        up_(program_, ring_bytes(kCapacity)),
        down_(program_, ring_bytes(kCapacity)),
        up_moved_(program_.create_event()),
        down_moved_(program_.create_event()) {
    adapter_.on_receive([this](const kernel::Received& received) { return look_at(received); });
    enroll();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    close();
    adapter_.on_receive({});
  }

  void step() {
    const std::uint32_t choice = input_.byte();
    Words words(input_.word());
    switch (choice % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        lay_out(words);
        break;
      case 4:
        scribble(down_, words);
        break;
      case 5:
        scribble(up_, words);
        break;
      case 6:
        lie(words);
        break;
      case 7:
        send(words);
        break;
      case 8:
        keep(choice >= 128);
        break;
      case 9:
        __atomic_store_n(&up_.ring()->head, __atomic_load_n(&up_.ring()->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
        break;
      case 10:
        settle();
        break;
      default:
        transition(choice);
    }
    if (word_of(down_.ring()->head) >= kCapacity) begin_again();
  }

 private:
  static std::uint32_t word_of(std::uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }

  // In the driver's thread. Each packet lies in the ring, and the stack reads all of it.
  bool look_at(const kernel::Received& received) {
    const std::uint8_t* const begin = ring_data(down_.ring());
    if (received.data < begin || received.data + received.size > begin + kCapacity + kTrailingBytes)
      broken("a packet is lent out of its ring");
    const std::lock_guard locked(lock_);
    return !keeps_ || received.id % 2 == 0;
  }

  void enroll() {
    const auto opened = program_.open(Scene::kName);
    if (opened.status != 0) broken("an elevated program may open the device");
    device_ = opened.handle;
    *up_.ring() = *down_.ring() = Ring{0, 0, 0};
    tail_ = 0;
    is_lied_ = false;
    const NTSTATUS status = is_32_bit_ ? enroll_as<std::uint32_t>() : enroll_as<std::uint64_t>();
    if (status != 0) broken("new rings are taken");
  }
  template <class Pointer>
  NTSTATUS enroll_as() {
    const auto registration = registration_of<Pointer>(kCapacity, up_.ring(), up_moved_, down_.ring(), down_moved_);
    return program_.control(device_, kRegisterRings, &registration, sizeof(registration)).status;
  }

  void close() {
    keep(false);
    settle();
    if (program_.close(device_) != 0) broken("a handle that is open can be closed");
    if (word_of(down_.ring()->head) != kEnded || word_of(up_.ring()->tail) != kEnded)
      broken("both rings are told of the end");
  }
  void begin_again() {
    close();
    enroll();
  }

  // Up to half a ring of packets, their contents and some of their sizes mutated, then the tail behind them.
  void lay_out(Words& words) {
    std::uint32_t left = words.any() % (kCapacity / 2) & ~3U;
    const std::uint32_t odds = 1U << (4 + words.any() % 8);  // of a size that was not meant
    Ring* const ring = down_.ring();
    while (left >= 128) {
      const std::uint32_t size = words.one_in(16) ? words.any() % (left - kSizeBytes) : 20 + words.any() % 80;
      mutate(size_word(ring, tail_), words.one_in(odds) ? words.mutated() : size);
      for (std::uint32_t at = kSizeBytes; at < slot_bytes(size); at += 4) {
        const std::uint32_t first = (words.any() & ~0xFFU) | (words.one_in(2) ? 0x45U : 0x60U);
        mutate(size_word(ring, tail_) + at / 4, at == kSizeBytes ? first : words.mutated());
      }
      tail_ = wrap(tail_ + slot_bytes(size), kCapacity);
      left -= slot_bytes(size);
    }
    __atomic_store_n(&ring->tail, tail_, __ATOMIC_SEQ_CST);
    program_.set_event(down_moved_);
    if (words.one_in(2)) scribble(down_, words);  // while the driver reads it
    if (words.one_in(2)) settle();
  }

  // Of the ring to the program only its offsets are read: what stands in its packets is not counted.
  void scribble(Guarded& ring, Words& words) {
    const std::uint64_t before = mutated_words;
    const std::uint32_t all = (kCapacity + kTrailingBytes) / 4;
    for (std::uint32_t count = words.any() % 2048; count != 0; --count) {
      mutate(size_word(ring.ring(), words.any() % all * 4), words.mutated());
    }
    if (&ring == &up_) mutated_words = before;
  }

  void lie(Words& words) {
    Ring* const ring = words.one_in(2) ? up_.ring() : down_.ring();
    std::uint32_t* const offsets[] = {&ring->head, &ring->tail, &ring->alertable};
    std::uint32_t* const word = offsets[words.any() % 3];
    const std::uint32_t truth = word_of(*word);
    const std::uint32_t near = truth + 4 * (words.any() % 64) - 128;
    mutate(word, words.one_in(2) ? words.mutated() : near);
    is_lied_ = true;
    program_.set_event(down_moved_);
  }

  void send(Words& words) {
    std::vector<std::vector<Bytes>> lists(1 + words.any() % 3);
    for (auto& packets : lists) {
      packets.resize(words.any() % 4);
      for (Bytes& packet : packets)
        packet = packet_of(words.one_in(8) ? words.any() % 0x12000 : words.any() % 300, words);
    }
    kernel::SendOptions options;
    options.at_dispatch = words.one_in(2);
    options.mdl_bytes = words.one_in(2) ? 1 + words.any() % 500 : 0;
    options.data_offset = words.any() % 40;
    options.is_mapped = words.one_in(2);
    adapter_.send(lists, options);
  }

  // Whether the stack keeps every second packet; what it has kept goes back in an order of its own.
  void keep(bool keeps) {
    {
      const std::lock_guard locked(lock_);
      keeps_ = keeps;
    }
    auto ids = adapter_.kept();
    for (std::size_t i = 0; i + 1 < ids.size(); i += 2) std::swap(ids[i], ids[ids.size() - 1 - i]);
    adapter_.give_back(ids);
  }

  // Until the driver has seen all that was published, if what it says can be believed.
  void settle() {
    program_.set_event(down_moved_);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(is_lied_ || keeps_ ? 0 : 2);
    for (Ring* const ring = down_.ring();;) {
      const std::uint32_t head = word_of(ring->head);
      if (head >= kCapacity || head == word_of(ring->tail)) return;
      if (std::chrono::steady_clock::now() > limit) return;
      sched_yield();
    }
  }

  void transition(std::uint32_t choice) {
    keep(false);
    if (choice % 2 == 0) {
      adapter_.pause();
      if (adapter_.restart() != 0) broken("a paused adapter restarts");
    } else {
      if (adapter_.set_power(1 + choice / 2 % 3) != 0) broken("an adapter sleeps");
      if (adapter_.set_power(0) != 0) broken("an adapter wakes");
    }
  }

  kernel::Adapter& adapter_;
  Input& input_;
  const bool is_32_bit_;
  kernel::Process program_;
  Guarded up_;
  Guarded down_;
  HANDLE up_moved_;
  HANDLE down_moved_;
  HANDLE device_ = nullptr;
  std::uint32_t tail_ = 0;
  bool is_lied_ = false;
  std::mutex lock_;  // covers what follows
  bool keeps_ = false;
};

}  // namespace

void fuzz_rings(Scene& scene, Input& input) {
  Session session(scene, input);
  while (!input.is_empty()) session.step();
}

}  // namespace wintun::fuzz
