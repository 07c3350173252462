/* A program that is linked with the library: each function is declared with the type of its name. C and C++. */
#define WINTUN_LINKED
#include "wintun.h"

/* A second time is as good as once. */
#include "wintun.h"

int main(void) {
  WINTUN_CREATE_ADAPTER_FUNC* create = WintunCreateAdapter;
  WINTUN_OPEN_ADAPTER_FUNC* open = WintunOpenAdapter;
  WINTUN_CLOSE_ADAPTER_FUNC* close = WintunCloseAdapter;
  WINTUN_DELETE_DRIVER_FUNC* delete_driver = WintunDeleteDriver;
  WINTUN_GET_ADAPTER_LUID_FUNC* luid = WintunGetAdapterLUID;
  WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC* version = WintunGetRunningDriverVersion;
  WINTUN_SET_LOGGER_FUNC* logger = WintunSetLogger;
  WINTUN_START_SESSION_FUNC* start = WintunStartSession;
  WINTUN_END_SESSION_FUNC* end = WintunEndSession;
  WINTUN_GET_READ_WAIT_EVENT_FUNC* event = WintunGetReadWaitEvent;
  WINTUN_RECEIVE_PACKET_FUNC* receive = WintunReceivePacket;
  WINTUN_RELEASE_RECEIVE_PACKET_FUNC* release = WintunReleaseReceivePacket;
  WINTUN_ALLOCATE_SEND_PACKET_FUNC* allocate = WintunAllocateSendPacket;
  WINTUN_SEND_PACKET_FUNC* send = WintunSendPacket;
  WINTUN_RECEIVE_PACKETS_FUNC* receive_many = WintunReceivePackets;
  WINTUN_RELEASE_RECEIVE_PACKETS_FUNC* release_many = WintunReleaseReceivePackets;
  WINTUN_ALLOCATE_SEND_PACKETS_FUNC* allocate_many = WintunAllocateSendPackets;
  WINTUN_SEND_PACKETS_FUNC* send_many = WintunSendPackets;
  WINTUN_GET_STATISTICS_FUNC* statistics = WintunGetStatistics;
  WINTUN_OPEN_ADAPTER_DEVICE_OBJECT_FUNC* object = WintunOpenAdapterDeviceObject;
  SetLastError(ERROR_SUCCESS);
  return create && open && close && delete_driver && luid && version && logger && start && end && event && receive &&
                 release && allocate && send && receive_many && release_many && allocate_many && send_many &&
                 statistics && object
             ? (int)GetLastError()
             : 1;
}
