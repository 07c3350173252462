// The one place where an exception is caught: a program's address may be anything. PASSIVE_LEVEL, in that program.
#pragma once

#include "driver/ndis/nt.hpp"

namespace wintun {

// Locks all pages of the MDL for writing, as the program could write them. Gives the exception's status.
NTSTATUS probe_and_lock(PMDL mdl);

}  // namespace wintun
