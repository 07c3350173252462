// Requests of programs and of NDIS with anything in their buffers: registrations, bundles, OIDs.
#include <atomic>
#include <thread>

#include "driver_scene.hpp"
#include "ring/bundle.hpp"

namespace wintun::fuzz {
namespace {

std::uint64_t pick_address(Words& words, Ring* ring) {
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(ring);
  switch (words.any() % 8) {
    case 0:
      return std::uint64_t{words.any()} << 32 | words.mutated();
    case 1:
      return address + words.mutated() % 0x3000 - 0x1000;
    case 2:
      return ~std::uint64_t{0} - words.mutated() % 0x40000;
    default:
      return address;
  }
}

template <class Pointer>
void mutate_ring(RegisteredRing<Pointer>& ring, Words& words, Ring* memory, HANDLE event) {
  ring.size = words.one_in(4) ? words.mutated() : ring_bytes(kMinCapacity << words.any() % 3);
  ring.ring = static_cast<Pointer>(pick_address(words, memory));
  ring.event = words.one_in(4) ? static_cast<Pointer>(words.mutated())
                               : static_cast<Pointer>(reinterpret_cast<std::uintptr_t>(event));
}

template <class Pointer>
NTSTATUS enroll_mutated(kernel::Process& program, HANDLE device, Words& words, Ring* up, Ring* down, HANDLE event) {
  // Longer than a registration, so that every length has bytes.
  Registration<Pointer> all[3] = {};
  mutate_ring(all[0].to_user, words, up, event);
  mutate_ring(all[0].to_network, words, down, event);
  mutated_words += sizeof(all[0]) / 4;
  const ULONG size = words.one_in(8) ? words.any() % ULONG{sizeof(all)} : ULONG{sizeof(all[0])};
  const ULONG code = words.one_in(16) ? words.any() : kRegisterRings;
  const ULONG out = words.one_in(16) ? words.any() % 64 : 0;
  char answer[64];
  return program.control(device, code, all, size, answer, out).status;
}

}  // namespace

void fuzz_registration(Scene& scene, Input& input) {
  const bool is_32_bit = (input.byte() & 1) != 0;
  kernel::Process program(kernel::Process::Kind{is_32_bit, kernel::kElevated});
  // No guards: a page that the driver may lock must be there.
  Ring* const up = reinterpret_cast<Ring*>(program.allocate(ring_bytes(kMinCapacity << 2)));
  Ring* const down = reinterpret_cast<Ring*>(program.allocate(ring_bytes(kMinCapacity << 2)));
  const HANDLE events[] = {program.create_event(), program.create_event(true), program.create_semaphore(), nullptr};
  while (!input.is_empty()) {
    Words words(input.word());
    const auto opened = program.open(Scene::kName);
    if (opened.status != 0) broken("an elevated program may open the device");
    for (unsigned tries = 0; tries < 50; ++tries) {
      for (Ring* const ring : {up, down}) {
        *ring = Ring{0, 0, 0};
        if (words.one_in(8)) mutate(&ring->head + words.any() % 3, words.mutated());
        for (std::uint32_t i = 0; i < 16; ++i) mutate(size_word(ring, 4 * i), words.mutated());
      }
      const HANDLE event = events[words.one_in(4) ? words.any() % 4 : words.any() % 2];
      const NTSTATUS status = is_32_bit
                                  ? enroll_mutated<std::uint32_t>(program, opened.handle, words, up, down, event)
                                  : enroll_mutated<std::uint64_t>(program, opened.handle, words, up, down, event);
      if ((status == 0) != scene.adapter().is_connected()) broken("a registration is whole or nothing");
      if (status != 0) continue;
      scene.adapter().send_packet(packet_of(words.any() % 200, words));
      break;
    }
    if (program.close(opened.handle) != 0) broken("a handle that is open can be closed");
  }
}

namespace {

// Slots behind each other, most as they should be; gives the bytes.
std::uint32_t lay_out_bundle(std::uint8_t* into, std::uint32_t room, Words& words) {
  const std::uint32_t odds = 1U << (2 + words.any() % 8);
  std::uint32_t used = 0;
  for (std::uint32_t packets = words.any() % 270; packets != 0; --packets) {
    const std::uint32_t size = words.one_in(512) ? words.any() % 0xEFF1 : words.any() % 120;
    const std::uint32_t bytes = bundle_slot(size);
    if (bytes > room - used) break;
    for (std::uint32_t at = 0; at < bytes; at += 4) {
      mutate(reinterpret_cast<std::uint32_t*>(into + used + at), words.mutated());
    }
    if (!words.one_in(odds)) *reinterpret_cast<std::uint32_t*>(into + used) = size;
    used += bytes;
  }
  return words.one_in(8) ? words.any() % (room + 1) : used;
}

// Writes a bundle while another thread of the program writes into it.
void write_and_scribble(kernel::Process& program, HANDLE device, std::uint8_t* bundle, std::uint32_t bytes,
                        Words& words) {
  std::atomic<bool> is_over = false;
  std::uint64_t count = 0;
  Words own(words.any());
  std::thread scribbler([&] {
    while (!is_over && count < bytes / 4) {
      auto* const word = reinterpret_cast<std::uint32_t*>(bundle + own.any() % bytes / 4 * 4);
      __atomic_store_n(word, own.mutated(), __ATOMIC_RELAXED);
      ++count;
    }
  });
  (void)program.write(device, bundle, bytes);
  is_over = true;
  scribbler.join();
  mutated_words += count;
}

constexpr std::uint32_t kRoom = 0x20000;

// What was read is a bundle, and lies in the buffer.
void check_read(const kernel::Result& result, const std::uint8_t* buffer, std::uint32_t room) {
  if (result.status != 0) return;
  const std::uint32_t bytes = static_cast<std::uint32_t>(result.information);
  std::uint32_t packets = 0;
  Slot slot;
  for (std::uint32_t offset = 0; offset < bytes; ++packets) {
    if (!next_in_bundle(buffer, bytes, offset, slot)) broken("a bundle that is read can be cut");
  }
  if (bytes > room || packets > kMaxBundlePackets) broken("a bundle that is read keeps its limits");
}

}  // namespace

void fuzz_bundles(Scene& scene, Input& input) {
  kernel::Process program;
  const Guarded writing(program, kRoom);
  const Guarded reading(program, kRoom);
  while (!input.is_empty()) {
    Words words(input.word());
    const auto opened = program.open(Scene::kName);
    if (opened.status != 0) broken("an elevated program may open the device");
    std::vector<std::pair<kernel::Request, std::uint32_t>> reads;
    for (std::uint32_t calls = input.byte() % 32; calls != 0; --calls) {
      switch (words.any() % 6) {
        case 0:
        case 1: {
          const std::uint32_t bytes = lay_out_bundle(writing.data(), kRoom, words);
          (void)program.write(opened.handle, writing.data() + (words.one_in(16) ? 4 : 0), bytes);
          break;
        }
        case 2:
          write_and_scribble(program, opened.handle, writing.data(), lay_out_bundle(writing.data(), kRoom, words),
                             words);
          break;
        case 3: {
          const std::uint32_t room = words.one_in(4) ? words.mutated() % (2 * kRoom) : kRoom;
          if (reads.size() < 4) reads.emplace_back(program.start_read(opened.handle, reading.data(), room), room);
          break;
        }
        case 4:
          for (std::uint32_t i = words.any() % 8; i != 0; --i)
            scene.adapter().send_packet(packet_of(words.one_in(8) ? words.any() % 0x10001 : 60, words));
          break;
        default:
          if (!reads.empty()) (void)reads[words.any() % reads.size()].first.cancel();
      }
    }
    if (reads.size() == 1 && reads[0].first.is_done())
      check_read(reads[0].first.wait(), reading.data(), reads[0].second);
    if (program.close(opened.handle) != 0) broken("a handle that is open can be closed");
    for (const auto& [read, room] : reads) (void)read.wait();
  }
}

void fuzz_oids(Scene& scene, Input& input) {
  alignas(8) std::uint8_t buffer[512];
  kernel::Adapter& adapter = scene.adapter();
  const std::vector<std::uint32_t> oids = adapter.supported_oids();
  while (!input.is_empty()) {
    Words words(input.word());
    for (unsigned calls = 0; calls < 100; ++calls) {
      const std::uint32_t oid = words.one_in(8) ? words.any() : oids[words.any() % oids.size()];
      const std::uint32_t size = words.one_in(2) ? 4 : words.any() % sizeof(buffer);
      const bool sets = words.one_in(2);
      for (std::uint32_t at = 0; sets && at < size; at += 4)
        mutate(reinterpret_cast<std::uint32_t*>(buffer + at), words.mutated());
      mutated_words += 2;  // the OID and the size
      const auto result = sets ? adapter.set(oid, buffer, size) : adapter.query(oid, buffer, size);
      if (result.status == 0 && !sets && result.bytes > size) broken("an answer fits");
      if (result.status != 0 && !sets && result.bytes != 0) broken("a refused query writes no byte");
    }
  }
  const std::uint32_t awake = NdisDeviceStateD0;
  if (adapter.set(OID_PNP_SET_POWER, &awake, sizeof(awake)).status != 0) broken("an adapter wakes");
}

}  // namespace wintun::fuzz
