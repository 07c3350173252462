// mingw's <ntifs.h>, as it must look to a program that is the kernel itself: its functions are defined here and not
// imported. For tests only: the driver is compiled against mingw's header as it is.
#pragma once

#define _NTOSKRNL_
#define _NTSYSTEM_

// Before the names are changed: the header defines these two once more.
#include <intrin.h>
#define InterlockedBitTestAndSet wdm_bit_test_and_set
#define InterlockedBitTestAndReset wdm_bit_test_and_reset
#include_next <ntifs.h>
#undef InterlockedBitTestAndSet
#undef InterlockedBitTestAndReset
