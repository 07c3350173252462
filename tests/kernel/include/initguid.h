// Makes DEFINE_GUID define, in the one file that includes it.
#pragma once

#include <ntdef.h>

#define DEFINE_GUID(name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) \
  extern "C" const GUID name = {l, w1, w2, {b1, b2, b3, b4, b5, b6, b7, b8}}
