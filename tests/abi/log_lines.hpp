// A logger that keeps what it is told, for one test at a time.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "wintun.h"

namespace wintun {

struct LogLine {
  WINTUN_LOGGER_LEVEL level;
  DWORD64 timestamp;
  std::wstring text;
};

class LogLines {
 public:
  explicit LogLines(WINTUN_SET_LOGGER_FUNC* set_logger) : set_logger_(set_logger) {
    all().clear();
    set_logger_(&keep);
  }
  ~LogLines() { set_logger_(nullptr); }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  std::vector<LogLine> get() const {
    const std::scoped_lock lock(mutex());
    return all();
  }
  // How many lines of this level say this.
  std::size_t count(WINTUN_LOGGER_LEVEL level, const std::wstring& part) const {
    std::size_t found = 0;
    for (const LogLine& line : get()) {
      if (line.level == level && line.text.find(part) != std::wstring::npos) ++found;
    }
    return found;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static std::vector<LogLine>& all() {
    static std::vector<LogLine> instance;
    return instance;
  }
  static void CALLBACK keep(WINTUN_LOGGER_LEVEL level, DWORD64 timestamp, LPCWSTR message) {
    const std::scoped_lock lock(mutex());
    all().push_back({level, timestamp, message});
  }

  WINTUN_SET_LOGGER_FUNC* const set_logger_;
};

}  // namespace wintun
