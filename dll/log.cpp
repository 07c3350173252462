// Each call of a logger is counted under the number of its logger, so that the one who replaces a logger waits for
// that logger's calls and for no later ones.
#include "log.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "names.hpp"

namespace wintun {
namespace {

struct Logger {
  std::mutex mutex;
  std::condition_variable returned;
  std::atomic<WINTUN_LOGGER_CALLBACK> callback = nullptr;  // written under the mutex
  std::uint64_t number = 0;                                // of the logger that is set
  std::vector<std::uint64_t> running;                      // the number of each call that has not returned
};

// Never destroyed: threads may log until the process is gone.
Logger& logger() {
  static Logger& instance = *new Logger;
  return instance;
}

thread_local bool inside_a_logger = false;

// One call of a logger that has not returned. Takes `lock` back for the book-keeping at its end.
class RunningCall {
 public:
  RunningCall(Logger& logger, std::unique_lock<std::mutex>& lock)
      : logger_(logger), lock_(lock), number_(logger.number) {
    logger_.running.push_back(number_);
    inside_a_logger = true;
    lock_.unlock();
  }
  ~RunningCall() {
    lock_.lock();
    inside_a_logger = false;
    logger_.running.erase(std::find(logger_.running.begin(), logger_.running.end(), number_));
    logger_.returned.notify_all();
  }
  RunningCall(const RunningCall&) = delete;
  RunningCall& operator=(const RunningCall&) = delete;

 private:
  Logger& logger_;
  std::unique_lock<std::mutex>& lock_;
  const std::uint64_t number_;
};

DWORD64 ticks_since_1601() {
  constexpr DWORD64 kTicksFrom1601To1970 = 116444736000000000;
  using Ticks = std::chrono::duration<std::int64_t, std::ratio<1, 10000000>>;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return kTicksFrom1601To1970 + static_cast<DWORD64>(std::chrono::duration_cast<Ticks>(now).count());
}

}  // namespace

void set_logger(WINTUN_LOGGER_CALLBACK callback) noexcept {
  Logger& self = logger();
  std::unique_lock lock(self.mutex);
  self.callback.store(callback, std::memory_order_relaxed);
  const std::uint64_t last = self.number++;
  if (inside_a_logger) return;
  self.returned.wait(lock, [&] {
    return std::none_of(self.running.begin(), self.running.end(), [&](std::uint64_t n) { return n <= last; });
  });
}

bool is_logging() noexcept {
  return !inside_a_logger && logger().callback.load(std::memory_order_relaxed) != nullptr;
}

void log(WINTUN_LOGGER_LEVEL level, const std::string& utf8) noexcept try {
  if (!is_logging()) return;
  const std::wstring text = wide_from_utf8(utf8);
  Logger& self = logger();
  std::unique_lock lock(self.mutex);
  const WINTUN_LOGGER_CALLBACK callback = self.callback.load(std::memory_order_relaxed);
  if (callback == nullptr) return;
  const RunningCall running(self, lock);
  callback(level, ticks_since_1601(), text.c_str());
} catch (...) {
  // Out of memory, or a C++ logger threw: a line is lost, and nothing else.
}

}  // namespace wintun
