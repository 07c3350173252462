// See log.hpp. Lines come from any thread, ours and the libraries'; the logger is copied out under a lock and called
// without it. A thread inside a LogScope keeps its lines there. Libraries know this file as one C callback.
#include "session/log.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>

#include "session/text.hpp"

namespace wintun {
namespace {

constexpr std::uint64_t kTicksFrom1601To1970 = 116444736000000000;

struct Registry {
  std::mutex mutex;  // for the pointers alone; nothing is called under it
  std::shared_ptr<const Logger> logger;
};

// Never destroyed: threads may log while static objects go.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

thread_local LogScope* scope_of_thread = nullptr;
thread_local bool thread_is_inside_logger = false;

void deliver(LogLevel level, std::uint64_t ticks, std::string_view text) noexcept {
  if (thread_is_inside_logger) return;  // else a logger that causes a line would never end
  std::shared_ptr<const Logger> logger;
  {
    const std::lock_guard lock(registry().mutex);
    logger = registry().logger;
  }
  if (logger == nullptr) return;
  thread_is_inside_logger = true;
  try {
    (*logger)(level, ticks, text);
  } catch (...) {  // NOLINT(bugprone-empty-catch): a packet's path and C callers cannot take it, and say so above
  }
  thread_is_inside_logger = false;
}

VOID CALLBACK library_line(WINTUN_LOGGER_LEVEL level, DWORD64 ticks, LPCWSTR message) {
  try {
    const auto known = std::clamp(static_cast<int>(level), 0, 2);
    LogScope::line(static_cast<LogLevel>(known), ticks, message != nullptr ? narrow(message) : "");
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a line; the library is C
  }
}

}  // namespace

void LogScope::line(LogLevel level, std::uint64_t ticks, std::string text) {
  if (scope_of_thread == nullptr) return deliver(level, ticks, text);
  if (level != LogLevel::info) scope_of_thread->complaint_ = text;
  scope_of_thread->lines_.push_back({level, ticks, std::move(text)});
}

void set_logger(Logger logger) {
  auto next = logger ? std::make_shared<const Logger>(std::move(logger)) : nullptr;
  {
    const std::lock_guard lock(registry().mutex);
    registry().logger.swap(next);
  }
  // The last one goes here, outside the lock: its destruction is foreign code too.
}

void log(LogLevel level, std::string_view text) noexcept {
  using Ticks = std::chrono::duration<std::uint64_t, std::ratio<1, 10'000'000>>;
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  try {
    LogScope::line(level, kTicksFrom1601To1970 + std::chrono::duration_cast<Ticks>(since_1970).count(),
                   std::string(text));
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a line
  }
}

LogScope::LogScope() : outer_(scope_of_thread) { scope_of_thread = this; }

LogScope::~LogScope() {
  scope_of_thread = outer_;
  for (Line& line : lines_) {
    if (outer_ != nullptr) {
      outer_->lines_.push_back(std::move(line));
    } else {
      deliver(line.level, line.ticks, line.text);
    }
  }
}

std::string LogScope::last_complaint() const { return complaint_; }

void attach_logger(const Functions& functions) { functions.set_logger(library_line); }

}  // namespace wintun
