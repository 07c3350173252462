// __try and __except of the Windows compilers, for what raises through ExRaiseStatus: probing a program's memory.
// A plain fault is not caught. An exception leaves by longjmp, so between the two no object may need its destructor.
// The one form: __try { ... } __except (filter) { ... }, with a filter that is EXCEPTION_EXECUTE_HANDLER or
// EXCEPTION_CONTINUE_SEARCH. What the handler reads was not changed between the two (the compilers warn). A frame is
// on the stack of its thread and in that thread's list (nt/seh.cpp). A file that has the C++ library's headers has
// its own macro of this name, and no use for ours.
#pragma once

#include <ntdef.h>
#include <setjmp.h>

#define EXCEPTION_EXECUTE_HANDLER 1
#define EXCEPTION_CONTINUE_SEARCH 0

struct WdkTryFrame {
  WdkTryFrame();
  ~WdkTryFrame();
  WdkTryFrame(const WdkTryFrame&) = delete;
  WdkTryFrame& operator=(const WdkTryFrame&) = delete;
  [[noreturn]] void pass_on();  // to the frame around this one

  jmp_buf target;
  WdkTryFrame* outer;
  NTSTATUS status;
  bool raised;  // an exception within the handler is the outer frame's
};

#ifndef __try
#define __try if (WdkTryFrame wdk_frame; _setjmp(wdk_frame.target) == 0)
#define WDK_EXCEPT(filter)                          \
  else if ((filter) != EXCEPTION_EXECUTE_HANDLER) { \
    wdk_frame.pass_on();                            \
  }                                                 \
  else
#define __except WDK_EXCEPT
#define GetExceptionCode() (wdk_frame.status)
#endif
