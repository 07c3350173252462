// The counted string printing of the published header, the functions that driver/ndis may use. Defined in nt/rtl.cpp.
#pragma once

#include <ntdef.h>
#include <ntstatus.h>

extern "C" NTSTATUS RtlUnicodeStringPrintf(PUNICODE_STRING to, PCWSTR format, ...);
extern "C" NTSTATUS RtlStringCbPrintfW(PWSTR to, SIZE_T bytes, PCWSTR format, ...);
