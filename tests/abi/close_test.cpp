// Ending a session and closing an adapter against threads that read, write, release and wait. Run under TSan and
// ASan too: most of what could go wrong here shows only there.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>

#include "tunnel.hpp"

namespace wintun {
namespace {

// Threads that run `body` again and again; stops when told or when a body gives false.
class Busy {
 public:
  explicit Busy(const std::vector<std::function<bool()>>& bodies) {
    for (const auto& body : bodies) {
      threads_.emplace_back([this, body] {
        while (!stop_ && body()) ++rounds_;
      });
    }
  }
  ~Busy() {
    stop_ = true;
    join();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

  void wait_for_rounds(int count) const {
    for (const int wanted = rounds_ + count; rounds_ < wanted;) std::this_thread::yield();
  }
  void join() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> rounds_{0};
  std::vector<std::thread> threads_;
};

// Everything that a program does in its loops; false when the session is over.
bool goes_on() { return GetLastError() == ERROR_NO_MORE_ITEMS || GetLastError() == ERROR_BUFFER_OVERFLOW; }

bool receive_one(WINTUN_SESSION_HANDLE session) {
  DWORD size = 0;
  BYTE* const packet = WintunReceivePacket(session, &size);
  if (packet == nullptr) return goes_on();
  WintunReleaseReceivePacket(session, packet);
  return true;
}

bool receive_some(WINTUN_SESSION_HANDLE session) {
  BYTE* packets[4];
  DWORD sizes[4];
  const DWORD count = WintunReceivePackets(session, packets, sizes, 4);
  if (count == 0) return goes_on();
  WintunReleaseReceivePackets(session, packets, count);
  return true;
}

// The room is not written to: the session may end in between.
bool send_one(WINTUN_SESSION_HANDLE session) {
  BYTE* const packet = WintunAllocateSendPacket(session, 64);
  if (packet == nullptr) return goes_on();
  WintunSendPacket(session, packet);
  return true;
}

bool send_some(WINTUN_SESSION_HANDLE session) {
  const DWORD sizes[3] = {64, 65, 66};
  BYTE* packets[3];
  const DWORD count = WintunAllocateSendPackets(session, sizes, packets, 3);
  if (count == 0) return goes_on();
  WintunSendPackets(session, packets, count);
  return true;
}

std::vector<std::function<bool()>> all_of(WINTUN_SESSION_HANDLE session) {
  return {[=] { return receive_one(session); }, [=] { return receive_some(session); },
          [=] { return send_one(session); }, [=] { return send_some(session); },
          [=] { return WintunGetReadWaitEvent(session) != nullptr; }};
}

TEST(CloseTest, a_session_ends_under_its_readers_and_writers) {
  in_own_network([] {
    for (int i = 0; i < 20; ++i) {
      Tunnel tunnel;
      Busy busy(all_of(tunnel.session));
      busy.wait_for_rounds(50);
      tunnel.end();
      busy.join();
    }
  });
}

TEST(CloseTest, an_adapter_closes_under_the_readers_and_writers_of_its_session) {
  in_own_network([] {
    for (int i = 0; i < 20; ++i) {
      Tunnel tunnel;
      const auto session = tunnel.session;
      // The event outlives the adapter, so who asks for it has to be stopped.
      Busy asking({[=] { return WintunGetReadWaitEvent(session) != nullptr; }});
      auto bodies = all_of(session);
      bodies.pop_back();
      Busy busy(bodies);
      busy.wait_for_rounds(50);
      tunnel.close();
      busy.join();
      DWORD size = 0;
      EXPECT_EQ(WintunReceivePacket(session, &size), nullptr);
      EXPECT_EQ(GetLastError(), ERROR_HANDLE_EOF);
    }
  });
}

TEST(CloseTest, the_end_of_an_adapter_wakes_who_waits_for_its_event) {
  in_own_network([] {
    Tunnel tunnel;
    std::vector<std::thread> waiting;
    std::atomic<int> woken{0};
    for (int i = 0; i < 3; ++i) {
      waiting.emplace_back([&] {
        if (is_readable(tunnel.event(), 60000)) ++woken;
      });
    }
    tunnel.close();
    for (std::thread& thread : waiting) thread.join();
    EXPECT_EQ(woken, 3);
  });
}

TEST(CloseTest, only_one_of_many_ends_the_session_and_the_others_are_told) {
  in_own_network([] {
    for (int i = 0; i < 20; ++i) {
      Tunnel tunnel;
      std::atomic<int> ended{0};
      std::atomic<int> told{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          SetLastError(ERROR_SUCCESS);
          WintunEndSession(tunnel.session);
          ++(GetLastError() == ERROR_INVALID_HANDLE ? told : ended);
        });
      }
      for (std::thread& thread : threads) thread.join();
      tunnel.session = nullptr;
      EXPECT_EQ(ended, 1);
      EXPECT_EQ(told, 3);
    }
  });
}

TEST(CloseTest, a_session_and_its_adapter_end_at_the_same_time) {
  in_own_network([] {
    for (int i = 0; i < 50; ++i) {
      Tunnel tunnel;
      std::thread other([&] { WintunCloseAdapter(tunnel.adapter); });
      WintunEndSession(tunnel.session);
      other.join();
      tunnel.session = nullptr;
      tunnel.adapter = nullptr;
    }
  });
}

TEST(CloseTest, an_adapter_closes_under_calls_for_it) {
  in_own_network([] {
    for (int i = 0; i < 20; ++i) {
      const auto adapter = WintunCreateAdapter(L"Demo", L"test", nullptr);
      ASSERT_NE(adapter, nullptr);
      const std::function<bool()> ask = [=] {
        NET_LUID luid{};
        WintunGetAdapterLUID(adapter, &luid);
        WINTUN_STATISTICS statistics{};
        return WintunGetStatistics(adapter, &statistics) != FALSE;
      };
      const std::function<bool()> start = [=] {
        const auto session = WintunStartSession(adapter, WINTUN_MIN_RING_CAPACITY);
        if (session == nullptr) return GetLastError() != ERROR_INVALID_HANDLE;
        WintunEndSession(session);
        return true;
      };
      Busy busy({ask, start, start});
      busy.wait_for_rounds(5);
      WintunCloseAdapter(adapter);
      busy.join();
    }
  });
}

TEST(CloseTest, a_packet_of_an_ended_session_does_no_harm) {
  in_own_network([] {
    Tunnel tunnel;
    const auto last = tunnel.session;
    BYTE* const packet = WintunAllocateSendPacket(last, 64);
    tunnel.end();
    tunnel.session = WintunStartSession(tunnel.adapter, WINTUN_MIN_RING_CAPACITY);
    SetLastError(ERROR_SUCCESS);
    WintunSendPacket(last, packet);
    EXPECT_EQ(GetLastError(), ERROR_INVALID_HANDLE);
  });
}

}  // namespace
}  // namespace wintun
