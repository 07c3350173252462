// The published header of this name, for Linux.
#pragma once

#include <wdm.h>
