// Sessions by the exported functions on the kernel's TUN: packets both ways, the event, lending, batches, refusals.
#include <gtest/gtest.h>

#include <utility>

#include "tunnel.hpp"

namespace wintun {
namespace {

TEST(AbiSessionTest, a_capacity_that_is_no_power_of_two_or_out_of_range_is_refused) {
  in_own_network([] {
    const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
    for (const DWORD capacity : {0u, 1u, 0x10000u, 0x20001u, 0x30000u, 0x8000000u, 0x80000000u, 0xFFFFFFFFu}) {
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunStartSession(adapter, capacity), nullptr) << capacity;
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    }
    for (DWORD capacity = WINTUN_MIN_RING_CAPACITY; capacity <= WINTUN_MAX_RING_CAPACITY; capacity *= 2) {
      const auto session = WintunStartSession(adapter, capacity);
      EXPECT_NE(session, nullptr) << capacity;
      WintunEndSession(session);
    }
    WintunCloseAdapter(adapter);
  });
}

TEST(AbiSessionTest, a_second_session_is_refused_until_the_first_is_ended) {
  in_own_network([] {
    Tunnel tunnel;
    EXPECT_EQ(WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_ALREADY_INITIALIZED);
    tunnel.end();
    tunnel.session = WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY);
    EXPECT_NE(tunnel.session, nullptr);
  });
}

TEST(AbiSessionTest, packets_go_both_ways_whole) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    for (const std::size_t size : {0u, 1u, 3u, 100u, 1472u}) {
      kernel.send(size, 0x5A);
      const Bytes packet = tunnel.read();
      ASSERT_EQ(packet.size(), 28 + size);
      EXPECT_EQ(packet[0], 0x45);
      EXPECT_EQ(Bytes(packet.begin() + 28, packet.end()), Bytes(size, 0x5A));
      if (size == 0) continue;
      tunnel.write(packet_to_kernel(size, 0xA5));
      EXPECT_EQ(kernel.receive(), Bytes(size, 0xA5));
    }
  });
}

TEST(AbiSessionTest, a_packet_that_is_sent_as_soon_as_the_session_is_started_arrives) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    for (std::size_t i = 0; i < 50; ++i) {
      tunnel.end();
      tunnel.session = WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY);
      kernel.send(i);
      ASSERT_EQ(tunnel.read().size(), 28 + i) << "the link is not up when WintunStartSession returns";
    }
  });
}

// Lends one packet at a time longer than needed, so that the rings never stand empty and walk through their whole
// memory.
TEST(AbiSessionTest, packets_survive_the_end_of_the_ring) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    BYTE* received = nullptr;
    BYTE* allocated = WintunAllocateSendPacket(tunnel.session, 100);
    for (int i = 0; i < 400; ++i) {  // some 560 KiB each way through rings of 128 KiB
      const auto fill = static_cast<std::uint8_t>(i);
      const std::size_t size = 1400u + static_cast<std::size_t>(i % 7);
      kernel.send(size, fill);
      ASSERT_TRUE(is_readable(tunnel.event(), 10000));
      DWORD bytes = 0;
      BYTE* const packet = WintunReceivePacket(tunnel.session, &bytes);
      ASSERT_NE(packet, nullptr);
      ASSERT_EQ(bytes, 28 + size);
      ASSERT_EQ(Bytes(packet + 28, packet + bytes), Bytes(size, fill));
      if (received != nullptr) WintunReleaseReceivePacket(tunnel.session, received);
      received = packet;

      const Bytes out = packet_to_kernel(1000, fill);
      BYTE* const next = WintunAllocateSendPacket(tunnel.session, 28 + 1000);
      ASSERT_NE(next, nullptr);
      WintunSendPacket(tunnel.session, allocated);  // the first is no packet, and is dropped
      if (i > 0) {
        ASSERT_EQ(kernel.receive(), Bytes(1000, static_cast<std::uint8_t>(i - 1)));
      }
      std::memcpy(next, out.data(), out.size());
      allocated = next;
    }
    WintunReleaseReceivePacket(tunnel.session, received);
    WintunSendPacket(tunnel.session, allocated);
  });
}

TEST(AbiSessionTest, a_program_that_keeps_up_stays_in_the_first_pages_of_its_rings) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    BYTE* first_in = nullptr;
    BYTE* first_out = nullptr;
    const Bytes out = packet_to_kernel(1000, 1);
    for (int i = 0; i < 200; ++i) {
      kernel.send(1000);
      ASSERT_TRUE(is_readable(tunnel.event(), 10000));
      DWORD size = 0;
      BYTE* const in = WintunReceivePacket(tunnel.session, &size);
      ASSERT_NE(in, nullptr);
      WintunReleaseReceivePacket(tunnel.session, in);
      BYTE* const room = WintunAllocateSendPacket(tunnel.session, static_cast<DWORD>(out.size()));
      ASSERT_NE(room, nullptr);
      std::memcpy(room, out.data(), out.size());
      WintunSendPacket(tunnel.session, room);
      ASSERT_EQ(kernel.receive().size(), 1000u);
      if (i == 0) first_in = in;
      if (i == 0) first_out = room;
      EXPECT_LT(in - first_in, 0x5000) << i;
      EXPECT_LT(room - first_out, 0x5000) << i;
    }
  });
}

TEST(AbiSessionTest, an_empty_ring_has_no_more_items) {
  in_own_network([] {
    Tunnel tunnel;
    DWORD size = 77;
    EXPECT_EQ(WintunReceivePacket(tunnel.session, &size), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_NO_MORE_ITEMS);
    EXPECT_EQ(size, 77u);
  });
}

TEST(AbiSessionTest, the_event_is_readable_while_the_kernel_has_a_packet) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    EXPECT_FALSE(is_readable(tunnel.event()));
    kernel.send(10);
    EXPECT_TRUE(is_readable(tunnel.event(), 10000));
    EXPECT_TRUE(is_readable(tunnel.event())) << "it stays until the packet is received";
    EXPECT_FALSE(tunnel.read().empty());
    EXPECT_FALSE(is_readable(tunnel.event()));
  });
}

TEST(AbiSessionTest, the_event_is_readable_after_the_adapter_is_closed) {
  in_own_network([] {
    Tunnel tunnel;
    const HANDLE event = tunnel.event();
    tunnel.close();
    EXPECT_TRUE(is_readable(event));
    EXPECT_EQ(tunnel.event(), event) << "the handle is valid until WintunEndSession";
    DWORD size = 0;
    EXPECT_EQ(WintunReceivePacket(tunnel.session, &size), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_HANDLE_EOF);
    EXPECT_EQ(WintunAllocateSendPacket(tunnel.session, 20), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_HANDLE_EOF);
  });
}

TEST(AbiSessionTest, packets_that_are_lent_survive_the_adapter) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    kernel.send(10, 0x33);
    ASSERT_TRUE(is_readable(tunnel.event(), 10000));
    DWORD size = 0;
    BYTE* const received = WintunReceivePacket(tunnel.session, &size);
    BYTE* const allocated = WintunAllocateSendPacket(tunnel.session, 100);
    ASSERT_NE(received, nullptr);
    ASSERT_NE(allocated, nullptr);
    tunnel.close();
    EXPECT_EQ(received[28], 0x33);
    std::memset(allocated, 0, 100);
    SetLastError(ERROR_SUCCESS);
    WintunReleaseReceivePacket(tunnel.session, received);
    WintunSendPacket(tunnel.session, allocated);
    EXPECT_EQ(GetLastError(), ERROR_SUCCESS);
  });
}

TEST(AbiSessionTest, packet_sizes_out_of_range_are_refused) {
  in_own_network([] {
    Tunnel tunnel;
    for (const DWORD size : {0u, 0x10000u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFCu, 0xFFFFFFFFu}) {
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunAllocateSendPacket(tunnel.session, size), nullptr) << size;
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
      const DWORD sizes[] = {20, size};
      BYTE* packets[2];
      SetLastError(ERROR_SUCCESS);
      EXPECT_EQ(WintunAllocateSendPackets(tunnel.session, sizes, packets, 2), 0u);
      EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    }
    BYTE* const longest = WintunAllocateSendPacket(tunnel.session, WINTUN_MAX_IP_PACKET_SIZE);
    EXPECT_NE(longest, nullptr) << "nothing was allocated by the refused calls";
    WintunSendPacket(tunnel.session, longest);
    EXPECT_NE(WintunAllocateSendPacket(tunnel.session, 1), nullptr);
  });
}

TEST(AbiSessionTest, a_packet_that_is_not_lent_is_refused_and_nothing_changes) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    const auto release_fails = [&](const BYTE* packet) {
      SetLastError(ERROR_SUCCESS);
      WintunReleaseReceivePacket(tunnel.session, packet);
      return GetLastError() == ERROR_INVALID_PARAMETER;
    };
    const auto send_fails = [&](const BYTE* packet) {
      SetLastError(ERROR_SUCCESS);
      WintunSendPacket(tunnel.session, packet);
      return GetLastError() == ERROR_INVALID_PARAMETER;
    };
    kernel.send(10, 1);
    kernel.send(11, 2);
    ASSERT_TRUE(is_readable(tunnel.event(), 10000));
    DWORD size = 0;
    BYTE* const first = WintunReceivePacket(tunnel.session, &size);
    BYTE* const second = WintunReceivePacket(tunnel.session, &size);
    BYTE* const sent = WintunAllocateSendPacket(tunnel.session, 38);
    BYTE* const kept = WintunAllocateSendPacket(tunnel.session, 38);
    ASSERT_NE(second, nullptr);
    ASSERT_NE(kept, nullptr);
    BYTE elsewhere[64] = {};
    for (const BYTE* packet : {static_cast<const BYTE*>(nullptr), static_cast<const BYTE*>(elsewhere)}) {
      EXPECT_TRUE(release_fails(packet));
      EXPECT_TRUE(send_fails(packet));
    }
    EXPECT_TRUE(release_fails(sent)) << "of the other direction";
    EXPECT_TRUE(send_fails(first));
    EXPECT_TRUE(release_fails(first + 4)) << "within a packet";
    EXPECT_TRUE(release_fails(first + 1));

    WintunReleaseReceivePacket(tunnel.session, second);  // out of order, so the first keeps it in the ring
    EXPECT_TRUE(release_fails(second));
    WintunReleaseReceivePacket(tunnel.session, first);
    EXPECT_TRUE(release_fails(first));
    EXPECT_TRUE(release_fails(second));

    const Bytes packet = packet_to_kernel(10, 9);
    std::memcpy(kept, packet.data(), packet.size());
    WintunSendPacket(tunnel.session, kept);
    EXPECT_TRUE(send_fails(kept));
    std::memcpy(sent, packet.data(), packet.size());
    WintunSendPacket(tunnel.session, sent);
    EXPECT_TRUE(send_fails(sent));
    EXPECT_EQ(kernel.receive(), Bytes(10, 9));
    EXPECT_EQ(kernel.receive(), Bytes(10, 9));
    kernel.send(10, 7);
    EXPECT_EQ(tunnel.read().size(), 38u);
  });
}

TEST(AbiSessionTest, the_order_of_allocation_is_the_order_of_sending) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    BYTE* packets[3];
    for (std::uint8_t i = 0; i < 3; ++i) {
      const Bytes packet = packet_to_kernel(10u + i, i);
      packets[i] = WintunAllocateSendPacket(tunnel.session, static_cast<DWORD>(packet.size()));
      std::memcpy(packets[i], packet.data(), packet.size());
    }
    for (const int i : {2, 0, 1}) WintunSendPacket(tunnel.session, packets[i]);
    for (std::uint8_t i = 0; i < 3; ++i) EXPECT_EQ(kernel.receive(), Bytes(10u + i, i));
  });
}

TEST(AbiSessionTest, batches_move_what_there_is_in_order) {
  in_own_network([] {
    Tunnel tunnel;
    KernelSocket kernel(tunnel.index);
    constexpr DWORD kCount = 5;
    BYTE* packets[8];
    DWORD sizes[8];
    for (std::uint8_t i = 0; i < kCount; ++i) kernel.send(10u + i, i);
    ASSERT_TRUE(is_readable(tunnel.event(), 10000));
    ASSERT_EQ(WintunReceivePackets(tunnel.session, packets, sizes, 2), 2u);
    ASSERT_EQ(WintunReceivePackets(tunnel.session, packets + 2, sizes + 2, 6), 3u);
    for (DWORD i = 0; i < kCount; ++i) {
      EXPECT_EQ(sizes[i], 38 + i);
      EXPECT_EQ(packets[i][28], i);
    }
    EXPECT_EQ(WintunReceivePackets(tunnel.session, packets + kCount, sizes, 2), 0u);
    EXPECT_EQ(GetLastError(), ERROR_NO_MORE_ITEMS);
    SetLastError(ERROR_SUCCESS);
    WintunReleaseReceivePackets(tunnel.session, packets, kCount);
    EXPECT_EQ(GetLastError(), ERROR_SUCCESS);
    WintunReleaseReceivePackets(tunnel.session, packets, kCount);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);

    for (DWORD i = 0; i < kCount; ++i) sizes[i] = 28 + 10 + i;
    ASSERT_EQ(WintunAllocateSendPackets(tunnel.session, sizes, packets, kCount), kCount);
    for (std::uint8_t i = 0; i < kCount; ++i) {
      const Bytes packet = packet_to_kernel(10u + i, i);
      std::memcpy(packets[i], packet.data(), packet.size());
    }
    BYTE* const none = nullptr;
    SetLastError(ERROR_SUCCESS);
    WintunSendPackets(tunnel.session, &none, 1);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    WintunSendPackets(tunnel.session, packets, kCount);
    for (std::uint8_t i = 0; i < kCount; ++i) EXPECT_EQ(kernel.receive(), Bytes(10u + i, i));

    WINTUN_STATISTICS statistics{};
    EXPECT_TRUE(WintunGetStatistics(tunnel.adapter, &statistics));
    EXPECT_EQ(statistics.ToUserPackets, kCount);
    EXPECT_EQ(statistics.ToNetworkPackets, kCount);
    EXPECT_EQ(statistics.ToNetworkBytes, 5 * 38u + 10);
  });
}

TEST(AbiSessionTest, a_batch_of_allocations_is_a_prefix_when_the_ring_is_full) {
  in_own_network([] {
    Tunnel tunnel;
    const std::vector<DWORD> sizes(10, 0xFFFF);
    std::vector<BYTE*> packets(10);
    EXPECT_EQ(WintunAllocateSendPackets(tunnel.session, sizes.data(), packets.data(), 10), 1u);
    EXPECT_EQ(WintunAllocateSendPackets(tunnel.session, sizes.data(), packets.data(), 10), 0u);
    EXPECT_EQ(GetLastError(), ERROR_BUFFER_OVERFLOW);
  });
}

TEST(AbiSessionTest, null_arguments_of_batches_are_refused) {
  in_own_network([] {
    Tunnel tunnel;
    DWORD size = 20;
    BYTE* packet = nullptr;
    const auto refused = [](DWORD result) { return result == 0 && GetLastError() == ERROR_INVALID_PARAMETER; };
    EXPECT_TRUE(refused(WintunReceivePackets(tunnel.session, nullptr, &size, 1)));
    EXPECT_TRUE(refused(WintunReceivePackets(tunnel.session, &packet, nullptr, 1)));
    EXPECT_TRUE(refused(WintunReceivePackets(tunnel.session, &packet, &size, 0)));
    EXPECT_TRUE(refused(WintunAllocateSendPackets(tunnel.session, nullptr, &packet, 1)));
    EXPECT_TRUE(refused(WintunAllocateSendPackets(tunnel.session, &size, nullptr, 1)));
    EXPECT_TRUE(refused(WintunAllocateSendPackets(tunnel.session, &size, &packet, 0)));
    SetLastError(ERROR_SUCCESS);
    WintunReleaseReceivePackets(tunnel.session, nullptr, 1);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    SetLastError(ERROR_SUCCESS);
    WintunSendPackets(tunnel.session, nullptr, 1);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    SetLastError(ERROR_SUCCESS);
    EXPECT_EQ(WintunReceivePacket(tunnel.session, nullptr), nullptr);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
  });
}

TEST(AbiSessionTest, a_handle_that_is_null_ended_or_foreign_is_answered_by_every_function) {
  in_own_network([] {
    Tunnel tunnel;
    const auto ended = tunnel.session;
    tunnel.end();
    tunnel.session = WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY);
    const struct {
      void* handle;
      DWORD code;
    } kCases[] = {{nullptr, ERROR_INVALID_PARAMETER},
                  {ended, ERROR_INVALID_HANDLE},
                  {tunnel.adapter, ERROR_INVALID_HANDLE},
                  {reinterpret_cast<void*>(std::uintptr_t{1}), ERROR_INVALID_HANDLE},
                  {reinterpret_cast<void*>(~std::uintptr_t{0}), ERROR_INVALID_HANDLE},
                  {&tunnel, ERROR_INVALID_HANDLE}};
    for (const auto& c : kCases) {
      const auto session = static_cast<WINTUN_SESSION_HANDLE>(c.handle);
      DWORD size = 20;
      BYTE* packet = nullptr;
      const auto answered = [&] { return std::exchange(size, 20) == 20 && GetLastError() == c.code; };
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE(WintunGetReadWaitEvent(session) == nullptr && answered());
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE(WintunReceivePacket(session, &size) == nullptr && answered());
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE(WintunAllocateSendPacket(session, 20) == nullptr && answered());
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE(WintunReceivePackets(session, &packet, &size, 1) == 0 && answered());
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE(WintunAllocateSendPackets(session, &size, &packet, 1) == 0 && answered());
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE((WintunReleaseReceivePacket(session, packet), answered()));
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE((WintunReleaseReceivePackets(session, &packet, 1), answered()));
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE((WintunSendPacket(session, packet), answered()));
      SetLastError(ERROR_SUCCESS);
      EXPECT_TRUE((WintunSendPackets(session, &packet, 1), answered()));
      SetLastError(ERROR_SUCCESS);
      WintunEndSession(session);
      EXPECT_EQ(GetLastError(), c.handle == nullptr ? ERROR_SUCCESS : c.code);
    }
    KernelSocket kernel(tunnel.index);
    kernel.send(10);
    EXPECT_EQ(tunnel.read().size(), 38u) << "the open session is not disturbed";
  });
}

}  // namespace
}  // namespace wintun
