// Counted strings.
#include <cstring>
#include <string>

#include "tests/kernel/nt/objects.hpp"

using namespace wintun::kernel;

namespace {

std::size_t length_of(PCWSTR text) {
  std::size_t length = 0;
  while (text[length] != 0) ++length;
  return length;
}

}  // namespace

extern "C" {

VOID NTAPI RtlInitUnicodeString(PUNICODE_STRING string, PCWSTR text) {
  const std::size_t bytes = text != nullptr ? length_of(text) * sizeof(WCHAR) : 0;
  string->Buffer = const_cast<PWSTR>(text);
  string->Length = static_cast<USHORT>(bytes);
  string->MaximumLength = static_cast<USHORT>(text != nullptr ? bytes + sizeof(WCHAR) : 0);
}

NTSTATUS NTAPI RtlAppendUnicodeToString(PUNICODE_STRING to, PCWSTR text) {
  const std::size_t bytes = length_of(text) * sizeof(WCHAR);
  if (to->Length + bytes > to->MaximumLength) return STATUS_BUFFER_TOO_SMALL;
  std::memcpy(reinterpret_cast<char*>(to->Buffer) + to->Length, text, bytes);
  to->Length = static_cast<USHORT>(to->Length + bytes);
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI RtlAppendUnicodeStringToString(PUNICODE_STRING to, PCUNICODE_STRING from) {
  if (to->Length + from->Length > to->MaximumLength) return STATUS_BUFFER_TOO_SMALL;
  std::memcpy(reinterpret_cast<char*>(to->Buffer) + to->Length, from->Buffer, from->Length);
  to->Length = static_cast<USHORT>(to->Length + from->Length);
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI RtlIntegerToUnicodeString(ULONG value, ULONG base, PUNICODE_STRING string) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  WCHAR digits[33];
  std::size_t at = RTL_NUMBER_OF(digits);
  const ULONG by = base == 0 ? 10 : base;
  do {
    digits[--at] = static_cast<WCHAR>("0123456789ABCDEF"[value % by]);
    value /= by;
  } while (value != 0);
  const std::size_t bytes = (RTL_NUMBER_OF(digits) - at) * sizeof(WCHAR);
  if (bytes > string->MaximumLength) return STATUS_BUFFER_OVERFLOW;
  std::memcpy(string->Buffer, digits + at, bytes);
  string->Length = static_cast<USHORT>(bytes);
  return STATUS_SUCCESS;
}

}  // extern "C"
