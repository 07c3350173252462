// WintunSetLogger: what a line is, when the last logger is done with, and loggers that call the library.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "fake_driver.hpp"
#include "log_lines.hpp"
#include "names.hpp"

namespace wintun {
namespace {

using Abi = Api<FakeBackend<false>>;

void fail_once() { Abi::create_adapter(L"", L"test", nullptr); }

TEST(LoggerTest, a_line_has_a_level_a_time_since_1601_and_a_text) {
  const LogLines lines(&Abi::set_logger);
  const auto seconds_since_1601 = [] {
    constexpr double kDays = 134774;  // from 1601-01-01 to 1970-01-01
    return kDays * 86400 + std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  const double before = seconds_since_1601();
  fail_once();
  const double after = seconds_since_1601();
  ASSERT_EQ(lines.get().size(), 1u);
  const LogLine line = lines.get()[0];
  EXPECT_EQ(line.level, WINTUN_LOG_ERR);
  EXPECT_EQ(line.text, L"making an adapter: the name is empty");
  EXPECT_GE(static_cast<double>(line.timestamp) / 1e7, before - 1e-3);
  EXPECT_LE(static_cast<double>(line.timestamp) / 1e7, after + 1e-3);
}

TEST(LoggerTest, names_reach_the_logger_in_their_own_characters) {
  reset_world();
  const LogLines lines(&Abi::set_logger);
  Abi::close_adapter(Abi::create_adapter(L"\u00e4\u20ac\U0001F600", L"test", nullptr));
  EXPECT_EQ(lines.count(WINTUN_LOG_INFO, L"\"\u00e4\u20ac\U0001F600\""), 2u);
}

TEST(LoggerTest, without_a_logger_nothing_is_called) {
  {
    const LogLines lines(&Abi::set_logger);
    Abi::set_logger(nullptr);
    fail_once();
    EXPECT_TRUE(lines.get().empty());
  }
  fail_once();
}

std::promise<void>* entered = nullptr;
std::shared_future<void>* go_on = nullptr;
std::atomic<bool> returned{false};
void CALLBACK slow_logger(WINTUN_LOGGER_LEVEL, DWORD64, LPCWSTR) {
  entered->set_value();
  go_on->wait();
  returned = true;
}

TEST(LoggerTest, replacing_a_logger_waits_for_its_call_in_another_thread) {
  std::promise<void> is_entered;
  std::promise<void> may_go_on;
  std::shared_future<void> gate = may_go_on.get_future().share();
  entered = &is_entered;
  go_on = &gate;
  returned = false;
  Abi::set_logger(slow_logger);
  std::thread logging(fail_once);
  is_entered.get_future().wait();
  std::promise<void> is_replaced;
  std::future<void> replaced = is_replaced.get_future();
  std::thread replacing([&] {
    Abi::set_logger(nullptr);
    EXPECT_TRUE(returned);
    is_replaced.set_value();
  });
  EXPECT_EQ(replaced.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  fail_once();  // the others are not held up, and the logger is not called again
  may_go_on.set_value();
  replacing.join();
  logging.join();
}

void CALLBACK removing_logger(WINTUN_LOGGER_LEVEL, DWORD64, LPCWSTR) {
  Abi::set_logger(nullptr);
  returned = true;
}

TEST(LoggerTest, a_logger_may_replace_itself) {
  returned = false;
  Abi::set_logger(removing_logger);
  fail_once();
  EXPECT_TRUE(returned);
}

std::atomic<int> calls{0};
void CALLBACK calling_logger(WINTUN_LOGGER_LEVEL, DWORD64, LPCWSTR) {
  ++calls;
  fail_once();
  EXPECT_EQ(last_error(), ERROR_INVALID_PARAMETER);
  const auto adapter = Abi::create_adapter(L"inner", L"test", nullptr);
  DWORD size = 0;
  const auto session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
  EXPECT_EQ(Abi::receive_packet(session, &size), nullptr);
  Abi::end_session(session);
  Abi::close_adapter(adapter);
}

TEST(LoggerTest, a_logger_may_call_the_library_and_is_not_called_for_that) {
  reset_world();
  calls = 0;
  Abi::set_logger(calling_logger);
  Abi::close_adapter(Abi::create_adapter(L"outer", L"test", nullptr));
  EXPECT_EQ(calls, 2);
  fail_once();
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(last_error(), ERROR_INVALID_PARAMETER) << "of the call, whatever its logger did";
  Abi::set_logger(nullptr);
}

TEST(LoggerTest, misuse_in_a_loop_is_told_once_a_session) {
  reset_world();
  const LogLines lines(&Abi::set_logger);
  const auto adapter = Abi::create_adapter(L"fake", L"test", nullptr);
  for (std::size_t sessions = 1; sessions <= 2; ++sessions) {
    const auto session = Abi::start_session(adapter, WINTUN_MIN_RING_CAPACITY);
    for (int i = 0; i < 100; ++i) Abi::release_receive_packet(session, nullptr);
    EXPECT_EQ(lines.count(WINTUN_LOG_ERR, L"receiving on adapter \"fake\": a packet that is not lent"), sessions);
    Abi::end_session(session);
  }
  Abi::close_adapter(adapter);
}

TEST(LoggerTest, loggers_are_replaced_while_many_threads_log) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) fail_once();
    });
  }
  for (int i = 0; i < 200; ++i) {
    const LogLines lines(&Abi::set_logger);
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(NamesTest, utf8_and_wide_text_say_the_same) {
  const std::wstring wide = L"a\u00e4\u20ac\U0001F600\U0010FFFF";
  const auto utf8 = utf8_from_wide(wide.c_str(), 127);
  ASSERT_TRUE(utf8.has_value());
  EXPECT_EQ(*utf8, "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF");
  EXPECT_EQ(wide_from_utf8(*utf8), wide);
}

TEST(NamesTest, bytes_that_are_no_utf8_become_replacements_and_no_more) {
  EXPECT_EQ(wide_from_utf8("a\x80z"), L"a\uFFFDz");
  EXPECT_EQ(wide_from_utf8("a\xC3"), L"a\uFFFD");
  EXPECT_EQ(wide_from_utf8("\xC0\xAF"), L"\uFFFD\uFFFD");  // too long a form of '/'
  EXPECT_EQ(wide_from_utf8("\xE0\x80\xAF"), L"\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(wide_from_utf8("\xED\xA0\x80"), L"\uFFFD\uFFFD\uFFFD");            // half a surrogate pair
  EXPECT_EQ(wide_from_utf8("\xF5\x80\x80\x80"), L"\uFFFD\uFFFD\uFFFD\uFFFD");  // beyond Unicode
  EXPECT_EQ(wide_from_utf8("\xF4\x90\x80\x80"), L"\uFFFD\uFFFD\uFFFD\uFFFD");
}

}  // namespace
}  // namespace wintun
