// The control device of an adapter: \Device\RINGTUN%d, with the link \DosDevices\Global\RINGTUN%d, where %d is the
// LUID's index. Programs open it to register rings or to read and write bundles.
// Its extension outlives the adapter as long as somebody has it open, so all that a late request can touch is here,
// and the adapter is reached through a rundown.
#pragma once

#include "driver/ndis/adapter.hpp"

namespace wintun {

// Pended reads of bundles, oldest first. Any thread, DISPATCH_LEVEL or below. Here rather than in Bundles, since a
// cancel routine may still hold the lock when the reads that it did not take are completed.
struct Reads {
  IO_CSQ queue;  // first, so that its callbacks find the rest
  LIST_ENTRY irps;
  Host::SpinLock lock;
};

struct Control {
  Adapter* adapter;  // null before the device is complete
  EX_RUNDOWN_REF rundown;
  Reads reads;
  Host::SpinLock files_lock;
  LIST_ENTRY files;  // open, from create to close
};

struct OpenFile : Pooled {
  LIST_ENTRY link;
  PFILE_OBJECT file;
  bool is_cleaned_up = false;    // under the adapter's `serial`, as the next two
  bool is_of_bundles = false;    // counted in bundle_files
  PVOID read_address = nullptr;  // of its first read
};

// PASSIVE_LEVEL. The device appears; it goes, and nobody is inside any more.
NTSTATUS create_control_device(Adapter& adapter, NET_LUID luid);
void delete_control_device(Adapter& adapter);

// Completes a request, whose IoStatus.Information is set. Gives its status. DISPATCH_LEVEL or below.
NTSTATUS finish(PIRP irp, NTSTATUS status);

// handles.cpp: ends the session and takes the handles from whoever has them, so that neither keeps the driver.
// PASSIVE_LEVEL, `serial` not held, since closing a handle comes back as a request.
void evict(Adapter& adapter);

// bundles.cpp. IRP_MJ_READ and IRP_MJ_WRITE of files that were let in. PASSIVE_LEVEL, `serial` held.
NTSTATUS read_bundle(Control& control, OpenFile& file, PIRP irp);
NTSTATUS write_bundle(Control& control, OpenFile& file, PIRP irp);
// The queue of reads: made with the device, and emptied of one file's reads when its last handle is closed.
NTSTATUS initialize_reads(Reads& reads);
void cancel_reads(Reads& reads, PFILE_OBJECT file);
// A session's end.
void delete_bundles(Bundles* bundles);

}  // namespace wintun
