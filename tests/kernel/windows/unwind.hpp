// The language handler of frames with __try, to which image.cpp binds the driver's import. Any thread.
#pragma once

#include <windows.h>

namespace wintun::kernel {

EXCEPTION_DISPOSITION NTAPI handle_exception(PEXCEPTION_RECORD record, void* frame, PCONTEXT context,
                                             PDISPATCHER_CONTEXT dispatcher);

}  // namespace wintun::kernel
