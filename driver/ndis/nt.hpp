// The kernel's own header, in the one place that includes it, and NDIS on top. Every file of driver/ndis that touches
// NT includes this: on Windows it is mingw's ntifs.h, on Linux the one of tests/kernel.
#pragma once

#include <stddef.h>
#include <stdint.h>

// mingw's wdm.h defines these two after its intrinsics have done so; as these say "done", the intrinsics leave it.
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset
#include <ntifs.h>

#include "driver/ndis/ndis6.h"
