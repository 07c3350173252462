// See name_claim.hpp. One table of the process; any thread. A claim is made before the adapter and released after it.
#include "session/name_claim.hpp"

#include <cerrno>
#include <mutex>
#include <set>
#include <utility>

#include "session/errors.hpp"

namespace wintun {
namespace {

struct Claims {
  std::mutex mutex;
  std::set<std::pair<WINTUN_CREATE_ADAPTER_FUNC*, std::string>> names;
};

// Never destroyed: a device may be a static object of the program.
Claims& claims() {
  static auto* const instance = new Claims;
  return *instance;
}

}  // namespace

NameClaim::NameClaim(const Functions& functions, std::string name)
    : library_(functions.create_adapter), name_(std::move(name)) {
  const std::lock_guard lock(claims().mutex);
  if (!claims().names.emplace(library_, name_).second) {
    throw_error(EEXIST, {.doing = "make the device \"" + name_ + "\"",
                         .cause = "this process has a device of that name already",
                         .remedy = "close that one first, or choose another name"});
  }
}

void NameClaim::release() {
  if (!held_) return;
  held_ = false;
  const std::lock_guard lock(claims().mutex);
  claims().names.erase({library_, name_});
}

}  // namespace wintun
