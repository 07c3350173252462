// Raising on Linux: a jump to the innermost __try of this thread (tests/kernel/include/excpt.h). Without one the
// system would stop.
#include <cstdio>
#include <cstdlib>

#include "tests/kernel/nt/objects.hpp"

using wintun::kernel::current_thread;

WdkTryFrame::WdkTryFrame() : outer(current_thread().frames), status(STATUS_SUCCESS), raised(false) {
  current_thread().frames = this;
}

WdkTryFrame::~WdkTryFrame() {
  if (!raised) current_thread().frames = outer;
}

void WdkTryFrame::pass_on() { ExRaiseStatus(status); }

extern "C" {

void ExRaiseStatus(NTSTATUS status) {
  WdkTryFrame* const frame = current_thread().frames;
  if (frame == nullptr) {
    std::fprintf(stderr, "status 0x%08x raised without __try\n", static_cast<unsigned>(status));
    std::abort();
  }
  current_thread().frames = frame->outer;
  frame->status = status;
  frame->raised = true;
  longjmp(frame->target, 1);
}

}  // extern "C"
