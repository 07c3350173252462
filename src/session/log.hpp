// The process's one logger in C++: it gets the lines of every library in use, and our own.
// Any thread may set it at any time. It is called from whichever thread logs, possibly from several at once, never
// under a lock of ours, and never by a thread that is inside it already. It may call everything but up(), down(),
// close() and a destructor of a device whose packet it may be delaying (see Device).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "session/library.hpp"

namespace wintun {

enum class LogLevel { info, warning, error };  // 0, 1, 2 as in the ABI

// `ticks` counts 100 ns since 1601-01-01 UTC; `text` is UTF-8, valid during the call. What it throws is swallowed.
using Logger = std::function<void(LogLevel level, std::uint64_t ticks, std::string_view text)>;

// An empty function removes the logger. The last one may still be running elsewhere when this returns; whoever uses
// it last destroys it, in that thread.
void set_logger(Logger logger);

// A line of our own.
void log(LogLevel level, std::string_view text) noexcept;

// For src/session alone ------------------------------------------------------------------------------------------

// While one lives, this thread's lines are kept; its end hands them to the logger. So a control operation holds its
// lock without running foreign code, and an error can quote what the library said about it.
class LogScope {
 public:
  LogScope();
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  std::string last_complaint() const;  // the last line that was not mere information; empty without one

  // Keeps a line of this thread, or hands it to the logger when no scope lives.
  static void line(LogLevel level, std::uint64_t ticks, std::string text);

 private:
  struct Line {
    LogLevel level;
    std::uint64_t ticks;
    std::string text;
  };
  LogScope* outer_;
  std::vector<Line> lines_;
  std::string complaint_;
};

// Joins a library's lines to the logger, for good.
void attach_logger(const Functions& functions);

}  // namespace wintun
