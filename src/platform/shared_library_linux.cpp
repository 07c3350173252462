// Loading a library on Linux with dlopen. Cold; any thread. The contract is in shared_library.hpp.
#include <dlfcn.h>

#include <cerrno>
#include <system_error>

#include "platform/shared_library.hpp"

namespace wintun {
namespace {

// dlopen promises a text only, and errno is an accident; but what the file system said stands in the text.
int code_of(const std::string& text) {
  for (const int code : {ENOENT, EACCES}) {
    if (text.find(std::system_category().message(code)) != std::string::npos) return code;
  }
  return ELIBBAD;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const char* const said = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps one a thread
  const std::string text = said == nullptr ? "unknown cause" : said;
  throw std::system_error(code_of(text), std::system_category(), "loading the library " + path + " (" + text + ")");
}

SharedLibrary::~SharedLibrary() { dlclose(handle_); }

void* SharedLibrary::find(const char* name) const { return dlsym(handle_, name); }

}  // namespace wintun
