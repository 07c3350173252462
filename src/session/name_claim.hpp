// Which names this process's devices have, so that a second device of a name is an error and no second handle.
// Libraries are told apart by their function that makes adapters. Any thread.
#pragma once

#include <string>

#include "session/library.hpp"

namespace wintun {

class NameClaim {
 public:
  NameClaim(const Functions& functions, std::string name);  // std::system_error(EEXIST) when a device has it
  ~NameClaim() { release(); }
  NameClaim(const NameClaim&) = delete;
  NameClaim& operator=(const NameClaim&) = delete;

  void release();  // the owner, once or more

 private:
  WINTUN_CREATE_ADAPTER_FUNC* library_;
  std::string name_;
  bool held_ = true;
};

}  // namespace wintun
