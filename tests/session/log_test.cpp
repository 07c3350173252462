// The one logger: whose lines it gets, when, and that nothing it does harms who logs.
#include "session/log.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <stdexcept>

#include "fake_library.hpp"
#include "threads.hpp"

namespace wintun {
namespace {

class LogTest : public FakeTest {
 protected:
  LogTest() { attach_logger(library->functions()); }
  ~LogTest() override { set_logger({}); }

  void collect() {
    set_logger([this](LogLevel level, std::uint64_t ticks, std::string_view text) {
      lines.emplace_back(static_cast<int>(level), ticks, std::string(text));
    });
  }

  std::vector<std::tuple<int, std::uint64_t, std::string>> lines;
};

TEST_F(LogTest, a_librarys_lines_reach_the_logger_as_they_are) {
  collect();
  world().log(WINTUN_LOG_INFO, L"one");
  world().log(WINTUN_LOG_WARN, L"zw\u00f6lf \U0001F40D");
  world().log(WINTUN_LOG_ERR, L"three");
  world().log(static_cast<WINTUN_LOGGER_LEVEL>(3), L"unheard of");
  EXPECT_THAT(lines, testing::ElementsAre(std::tuple(0, 1, "one"), std::tuple(1, 1, "zwölf 🐍"),
                                          std::tuple(2, 1, "three"), std::tuple(2, 1, "unheard of")));
}

TEST_F(LogTest, our_own_lines_tell_the_time_since_1601) {
  collect();
  const auto ticks = [] {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() / 100 + 116444736000000000;
  };
  const auto before = ticks();
  log(LogLevel::warning, "hello");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(std::get<2>(lines[0]), "hello");
  EXPECT_GE(std::get<1>(lines[0]), static_cast<std::uint64_t>(before));
  EXPECT_LE(std::get<1>(lines[0]), static_cast<std::uint64_t>(ticks()));
}

TEST_F(LogTest, a_logger_that_was_removed_gets_nothing_and_is_destroyed) {
  auto owned = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = owned;
  set_logger([owned](LogLevel, std::uint64_t, std::string_view) { ++*owned; });
  log(LogLevel::info, "counted");
  EXPECT_EQ(*owned, 1);
  owned.reset();
  set_logger({});
  EXPECT_TRUE(watched.expired());
  log(LogLevel::info, "lost");
}

TEST_F(LogTest, what_a_logger_throws_stays_with_us) {
  set_logger([](LogLevel, std::uint64_t, std::string_view) { throw std::runtime_error("logger"); });
  log(LogLevel::error, "one");
  world().log(WINTUN_LOG_ERR, L"two");
  collect();
  log(LogLevel::error, "three");
  EXPECT_EQ(lines.size(), 1u);
}

TEST_F(LogTest, a_logger_is_not_called_by_a_thread_that_is_inside_it) {
  int calls = 0;
  set_logger([&](LogLevel, std::uint64_t, std::string_view) {
    ++calls;
    log(LogLevel::info, "about a line");
    set_logger({});  // and it may replace itself
  });
  log(LogLevel::info, "line");
  log(LogLevel::info, "line");
  EXPECT_EQ(calls, 1);
}

TEST_F(LogTest, a_scope_keeps_this_threads_lines_in_order_until_it_ends) {
  collect();
  {
    LogScope outer;
    log(LogLevel::error, "first");
    {
      LogScope inner;
      EXPECT_EQ(inner.last_complaint(), "");
      world().log(WINTUN_LOG_WARN, L"second");
      log(LogLevel::info, "third");
      EXPECT_EQ(inner.last_complaint(), "second");
    }
    EXPECT_TRUE(lines.empty());
    std::thread([] { log(LogLevel::info, "of another thread"); }).join();
    EXPECT_EQ(lines.size(), 1u);
  }
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(std::get<2>(lines[1]), "first");
  EXPECT_EQ(std::get<2>(lines[3]), "third");
}

TEST_F(LogTest, replacing_the_logger_while_lines_come_loses_none) {
  std::atomic<std::uint64_t> heard = 0;
  std::atomic<bool> stop = false;
  std::uint64_t said[2] = {0, 0};
  const auto listen = [&] { set_logger([&heard](LogLevel, std::uint64_t, std::string_view) { ++heard; }); };
  listen();
  Threads threads;
  for (auto& count : said) {
    threads.run([&] {
      for (; !stop || count == 0; ++count) log(LogLevel::info, "line");
    });
  }
  for (int i = 0; i < 2000; ++i) listen();
  stop = true;
  threads.join();
  EXPECT_EQ(heard, said[0] + said[1]);
}

}  // namespace
}  // namespace wintun
