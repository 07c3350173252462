/* A Wintun library with the 14 published functions and no others, but for a batch function as older generations had
 * it, with another signature. It makes nothing, and does not say why. */
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
#define NOTHING(name)      \
  EXPORT void* name(void); \
  void* name(void) { return NULL; }

NOTHING(WintunCreateAdapter)
NOTHING(WintunOpenAdapter)
NOTHING(WintunCloseAdapter)
NOTHING(WintunDeleteDriver)
NOTHING(WintunGetAdapterLUID)
NOTHING(WintunGetRunningDriverVersion)
NOTHING(WintunSetLogger)
NOTHING(WintunStartSession)
NOTHING(WintunEndSession)
NOTHING(WintunGetReadWaitEvent)
NOTHING(WintunReceivePacket)
NOTHING(WintunReleaseReceivePacket)
NOTHING(WintunAllocateSendPacket)
NOTHING(WintunSendPacket)
NOTHING(WintunReceivePackets)
