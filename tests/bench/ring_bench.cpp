// The ring alone, two threads that never sleep: nanoseconds a packet, next to queues of byte arrays of the same
// number of bytes. Rounds are interleaved, so that a busy machine troubles all alike; read the ratios, not the
// figures. `ring_bench [packets a round] [rounds]` prints JSON. It stands next to the tests and is none of them. A
// peer is compared with when its header was found: rigtorp::SPSCQueue, moodycamel::ReaderWriterQueue.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ring/consumer.hpp"
#include "ring/lending.hpp"
#include "ring/producer.hpp"
#if __has_include(<rigtorp/SPSCQueue.h>)
#include <rigtorp/SPSCQueue.h>
#define WINTUN_HAVE_RIGTORP
#endif
#if __has_include(<readerwriterqueue/readerwriterqueue.h>)
#include <readerwriterqueue/readerwriterqueue.h>
#define WINTUN_HAVE_READERWRITERQUEUE
#endif

namespace wintun {
namespace {

constexpr std::uint32_t kCapacity = 0x100000;
std::uint64_t g_packets = 2'000'000;

// Waiting for the other end: it spins a little, then leaves the processor, for a machine with fewer of them than
// work.
class Backoff {
 public:
  void wait() {
    if (++tries_ % 64 == 0) std::this_thread::yield();
  }

 private:
  unsigned tries_ = 0;
};

struct RingMemory {
  RingMemory() : words(ring_bytes(kCapacity) / 64 + 1) {}
  Ring* ring() { return reinterpret_cast<Ring*>(words.data()); }
  struct alignas(64) Line {
    std::array<std::uint8_t, 64> bytes{};
  };
  std::vector<Line> words;
};

// Both threads copy the whole packet, and start together. The result is nanoseconds a packet.
template <class Produce, class Consume>
double run(Produce produce, Consume consume) {
  std::atomic<int> ready{0};
  const auto meet = [&ready] {
    ++ready;
    while (ready.load() != 2) std::this_thread::yield();
  };
  std::thread producer([&] {
    meet();
    produce();
  });
  meet();
  const auto start = std::chrono::steady_clock::now();
  consume();
  const auto end = std::chrono::steady_clock::now();
  producer.join();
  return std::chrono::duration<double, std::nano>(end - start).count() / static_cast<double>(g_packets);
}

template <std::size_t N>
using Bytes = std::array<std::uint8_t, N>;

template <std::size_t N>
void use(const std::uint8_t* data, Bytes<N>& into) {
  std::memcpy(into.data(), data, N);
  asm volatile("" : : "r"(into.data()) : "memory");
}

// `batch` packets are published, and released, at once; fewer when the other end has no more.
template <std::size_t N>
double ring_round(std::uint32_t batch) {
  RingMemory memory;
  Producer producer(memory.ring(), kCapacity);
  Consumer consumer(memory.ring(), kCapacity);
  const auto produce = [&] {
    Bytes<N> packet{};
    Backoff backoff;
    std::uint64_t waked = 0;
    for (std::uint64_t sent = 0; sent < g_packets;) {
      Slot slot;
      std::uint32_t filled = 0;
      while (filled < batch && sent + filled < g_packets && producer.reserve(N, slot) == RingStatus::ok) {
        packet[0] = static_cast<std::uint8_t>(sent + filled);
        std::memcpy(slot.data, packet.data(), N);
        ++filled;
      }
      if (filled == 0) {
        backoff.wait();
        continue;
      }
      waked += producer.publish(producer.next()) ? 1 : 0;
      sent += filled;
    }
    if (waked != 0) std::abort();
  };
  const auto consume = [&] {
    Bytes<N> packet;
    Backoff backoff;
    for (std::uint64_t got = 0; got < g_packets;) {
      Slot slot;
      std::uint32_t taken = 0;
      while (taken < batch && consumer.next(slot) == RingStatus::ok) {
        use(slot.data, packet);
        if (packet[0] != static_cast<std::uint8_t>(got + taken)) std::abort();
        ++taken;
      }
      if (taken == 0) {
        backoff.wait();
        continue;
      }
      consumer.release(consumer.next_offset());
      got += taken;
    }
  };
  return run(produce, consume);
}

// As the program's ends do it: a packet at a time, each marked while it is held.
template <std::size_t N>
double lending_round() {
  RingMemory memory;
  LendingProducer producer(memory.ring(), kCapacity);
  LendingConsumer consumer(memory.ring(), kCapacity);
  const auto produce = [&] {
    Bytes<N> packet{};
    Backoff backoff;
    for (std::uint64_t sent = 0; sent < g_packets; ++sent) {
      Slot slot;
      bool wake = false;
      while (producer.allocate(N, slot) != RingStatus::ok) backoff.wait();
      packet[0] = static_cast<std::uint8_t>(sent);
      std::memcpy(slot.data, packet.data(), N);
      if (producer.submit(slot.data, wake) != RingStatus::ok) std::abort();
    }
  };
  const auto consume = [&] {
    Bytes<N> packet;
    Backoff backoff;
    for (std::uint64_t got = 0; got < g_packets; ++got) {
      Slot slot;
      while (consumer.take(slot) != RingStatus::ok) backoff.wait();
      use(slot.data, packet);
      if (packet[0] != static_cast<std::uint8_t>(got)) std::abort();
      if (consumer.give_back(slot.data) != RingStatus::ok) std::abort();
    }
  };
  return run(produce, consume);
}

#ifdef WINTUN_HAVE_RIGTORP
template <std::size_t N>
double rigtorp_round() {
  rigtorp::SPSCQueue<Bytes<N>> queue(kCapacity / N);
  const auto produce = [&] {
    Bytes<N> packet{};
    Backoff backoff;
    for (std::uint64_t sent = 0; sent < g_packets; ++sent) {
      packet[0] = static_cast<std::uint8_t>(sent);
      while (!queue.try_push(packet)) backoff.wait();
    }
  };
  const auto consume = [&] {
    Bytes<N> packet;
    Backoff backoff;
    for (std::uint64_t got = 0; got < g_packets; ++got) {
      while (queue.front() == nullptr) backoff.wait();
      use(queue.front()->data(), packet);
      if (packet[0] != static_cast<std::uint8_t>(got)) std::abort();
      queue.pop();
    }
  };
  return run(produce, consume);
}
#endif

#ifdef WINTUN_HAVE_READERWRITERQUEUE
template <std::size_t N>
double readerwriterqueue_round() {
  moodycamel::ReaderWriterQueue<Bytes<N>> queue(kCapacity / N);
  const auto produce = [&] {
    Bytes<N> packet{};
    Backoff backoff;
    for (std::uint64_t sent = 0; sent < g_packets; ++sent) {
      packet[0] = static_cast<std::uint8_t>(sent);
      while (!queue.try_enqueue(packet)) backoff.wait();
    }
  };
  const auto consume = [&] {
    Bytes<N> packet;
    Backoff backoff;
    for (std::uint64_t got = 0; got < g_packets; ++got) {
      while (queue.peek() == nullptr) backoff.wait();
      use(queue.peek()->data(), packet);
      if (packet[0] != static_cast<std::uint8_t>(got)) std::abort();
      queue.pop();
    }
  };
  return run(produce, consume);
}
#endif

struct Variant {
  std::string name;
  std::function<double()> round;
  std::vector<double> results{};

  double median() const { return results[results.size() / 2]; }  // once they are sorted
};

template <std::size_t N>
void compare(unsigned rounds, bool last) {
  std::vector<Variant> variants;
  variants.push_back({"ring", [] { return ring_round<N>(1); }});
  variants.push_back({"ring, 32 at once", [] { return ring_round<N>(32); }});
  variants.push_back({"ring, lending", [] { return lending_round<N>(); }});
  const std::size_t ours = variants.size();
#ifdef WINTUN_HAVE_RIGTORP
  variants.push_back({"rigtorp::SPSCQueue", [] { return rigtorp_round<N>(); }});
#endif
#ifdef WINTUN_HAVE_READERWRITERQUEUE
  variants.push_back({"moodycamel::ReaderWriterQueue", [] { return readerwriterqueue_round<N>(); }});
#endif
  for (unsigned round = 0; round < rounds; ++round) {
    for (Variant& variant : variants) variant.results.push_back(variant.round());
  }
  for (Variant& variant : variants) std::sort(variant.results.begin(), variant.results.end());
  std::printf("  {\"packet_bytes\": %zu, \"rounds\": %u, \"ns_per_packet\": {\n", N, rounds);
  for (const Variant& variant : variants) {
    std::printf("    \"%s\": {\"median\": %.1f, \"least\": %.1f, \"most\": %.1f}%s\n", variant.name.c_str(),
                variant.median(), variant.results.front(), variant.results.back(),
                &variant == &variants.back() ? "" : ",");
  }
  std::printf("  }, \"times_faster\": {\n");
  std::string separator = "    ";
  for (std::size_t peer = ours; peer < variants.size(); ++peer) {
    for (std::size_t own = 0; own < ours; ++own) {
      std::printf("%s\"%s than %s\": %.2f", separator.c_str(), variants[own].name.c_str(),
                  variants[peer].name.c_str(), variants[peer].median() / variants[own].median());
      separator = ",\n    ";
    }
  }
  std::printf("\n  }}%s\n", last ? "" : ",");
}

}  // namespace
}  // namespace wintun

int main(int count, char** arguments) {
  if (count > 1) wintun::g_packets = std::strtoull(arguments[1], nullptr, 10);
  const unsigned rounds = count > 2 ? static_cast<unsigned>(std::strtoul(arguments[2], nullptr, 10)) : 7;
  if (wintun::g_packets == 0 || rounds == 0) {
    std::fprintf(stderr, "usage: ring_bench [packets a round] [rounds], both at least 1\n");
    return 2;
  }
  std::printf("[\n");
  wintun::compare<64>(rounds, false);
  wintun::compare<1400>(rounds, true);
  std::printf("]\n");
}
