// A library found at run time. Loading and looking up are cold paths; any thread.
#pragma once

#include <string>

namespace wintun {

class SharedLibrary {
 public:
  explicit SharedLibrary(
      const std::string& path);  // UTF-8; throws std::system_error that names the path and the cause
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  // The address of an exported function, or null.
  void* find(const char* name) const;

 private:
  void* handle_;
};

}  // namespace wintun
