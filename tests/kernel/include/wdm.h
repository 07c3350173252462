// The published header of this name, for Linux: the parts in wdk/.
#pragma once

#include <excpt.h>
#include <ntdef.h>
#include <ntstatus.h>
#include <wdk/ex.h>
#include <wdk/io.h>
#include <wdk/ke.h>
#include <wdk/mm.h>
#include <wdk/ps.h>
#include <wdk/rtl.h>
