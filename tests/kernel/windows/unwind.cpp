// What the compilers' __try and __except on x64 ask of a kernel: the handler that each such frame names, after the
// public description of x64 exception handling. Wine 8 has one, but forgets to hand the exception's code over, and
// GetExceptionCode() would say "success". Frames with __finally do not occur in the driver and are refused.
#include "tests/kernel/windows/unwind.hpp"

#include <cstdio>
#include <cstdlib>

namespace wintun::kernel {
namespace {

// A function's guarded ranges, innermost first, as offsets in its image.
struct Scopes {
  DWORD count;
  struct {
    DWORD begin, end;
    DWORD filter;  // or EXCEPTION_EXECUTE_HANDLER itself
    DWORD target;  // 0: a __finally
  } scope[1];
};

}  // namespace

EXCEPTION_DISPOSITION NTAPI handle_exception(PEXCEPTION_RECORD record, void* frame, PCONTEXT context,
                                             PDISPATCHER_CONTEXT dispatcher) {
  constexpr DWORD kUnwinding = EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND | EXCEPTION_TARGET_UNWIND;
  const auto* const table = static_cast<const Scopes*>(dispatcher->HandlerData);
  const ULONG64 at = dispatcher->ControlPc - dispatcher->ImageBase;
  for (DWORD i = 0; i < table->count; ++i) {
    const auto& scope = table->scope[i];
    if (at < scope.begin || at >= scope.end) continue;
    if (scope.target == 0) {
      std::fprintf(stderr, "the driver has a __finally, which the tests' kernel does not know\n");
      std::abort();
    }
    if ((record->ExceptionFlags & kUnwinding) != 0) continue;
    LONG answer = EXCEPTION_EXECUTE_HANDLER;
    if (scope.filter != EXCEPTION_EXECUTE_HANDLER) {
      EXCEPTION_POINTERS pointers{record, context};
      const auto filter =
          reinterpret_cast<LONG(NTAPI*)(PEXCEPTION_POINTERS, void*)>(dispatcher->ImageBase + scope.filter);
      answer = filter(&pointers, frame);
    }
    if (answer < 0) return ExceptionContinueExecution;
    if (answer == EXCEPTION_CONTINUE_SEARCH) continue;
    const auto code = static_cast<ULONG_PTR>(record->ExceptionCode);
    RtlUnwindEx(frame, reinterpret_cast<void*>(dispatcher->ImageBase + scope.target), record,
                reinterpret_cast<void*>(code), dispatcher->ContextRecord, dispatcher->HistoryTable);
  }
  return ExceptionContinueSearch;
}

}  // namespace wintun::kernel
