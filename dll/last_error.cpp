// What an exception means to a caller of the ABI. Cold; any thread.
#include "last_error.hpp"

#include <new>

namespace wintun {

DWORD code_of_current_exception(std::string& why) {
  try {
    throw;
  } catch (const Failure& failure) {
    why = failure.what();
    return failure.code();
  } catch (const std::system_error& error) {
    why = error.what();
    return code_of(error.code());
  } catch (const std::bad_alloc&) {
    why = "out of memory";
    return ERROR_NOT_ENOUGH_MEMORY;
  } catch (const std::exception& error) {
    why = error.what();
    return ERROR_GEN_FAILURE;
  }
}

}  // namespace wintun
