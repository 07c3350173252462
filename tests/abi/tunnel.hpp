// A real adapter with its session, through the exported functions, in the calling thread's network namespace.
#pragma once

#include "network.hpp"

namespace wintun {

class Tunnel {
 public:
  explicit Tunnel(LPCWSTR name = L"Demo", DWORD capacity = WINTUN_MIN_RING_CAPACITY) {
    adapter = WintunCreateAdapter(name, L"test", nullptr);
    EXPECT_NE(adapter, nullptr) << GetLastError();
    NET_LUID luid{};
    WintunGetAdapterLUID(adapter, &luid);
    index = static_cast<std::uint32_t>(luid.Info.NetLuidIndex);
    session = WintunStartSession(adapter, capacity);
    EXPECT_NE(session, nullptr) << GetLastError();
    SetLastError(ERROR_SUCCESS);
  }
  ~Tunnel() {
    WintunEndSession(session);
    WintunCloseAdapter(adapter);
  }
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  HANDLE event() const { return WintunGetReadWaitEvent(session); }

  // Waits, ten seconds at most, and copies. Empty: none came.
  Bytes read() const {
    DWORD size = 0;
    BYTE* packet = nullptr;
    while ((packet = WintunReceivePacket(session, &size)) == nullptr) {
      if (GetLastError() != ERROR_NO_MORE_ITEMS || !is_readable(event(), 10000)) return {};
    }
    const Bytes out(packet, packet + size);
    WintunReleaseReceivePacket(session, packet);
    return out;
  }

  void write(const Bytes& bytes) const {
    BYTE* const packet = WintunAllocateSendPacket(session, static_cast<DWORD>(bytes.size()));
    ASSERT_NE(packet, nullptr) << GetLastError();
    std::memcpy(packet, bytes.data(), bytes.size());
    WintunSendPacket(session, packet);
  }

  void end() {
    WintunEndSession(session);
    session = nullptr;
  }
  void close() {
    WintunCloseAdapter(adapter);
    adapter = nullptr;
  }

  WINTUN_ADAPTER_HANDLE adapter = nullptr;
  WINTUN_SESSION_HANDLE session = nullptr;
  std::uint32_t index = 0;
};

}  // namespace wintun
