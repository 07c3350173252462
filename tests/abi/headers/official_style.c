/* A program as people write it for the published header: pointers of the published names, found at run time. Compiled
 * alone as C and as C++ (it is both), and as a header test on every compiler that is here. */
#include "wintun.h"

#include <stddef.h>
#include <stdio.h>

static WINTUN_CREATE_ADAPTER_FUNC* WintunCreateAdapter;
static WINTUN_CLOSE_ADAPTER_FUNC* WintunCloseAdapter;
static WINTUN_OPEN_ADAPTER_FUNC* WintunOpenAdapter;
static WINTUN_GET_ADAPTER_LUID_FUNC* WintunGetAdapterLUID;
static WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC* WintunGetRunningDriverVersion;
static WINTUN_DELETE_DRIVER_FUNC* WintunDeleteDriver;
static WINTUN_SET_LOGGER_FUNC* WintunSetLogger;
static WINTUN_START_SESSION_FUNC* WintunStartSession;
static WINTUN_END_SESSION_FUNC* WintunEndSession;
static WINTUN_GET_READ_WAIT_EVENT_FUNC* WintunGetReadWaitEvent;
static WINTUN_RECEIVE_PACKET_FUNC* WintunReceivePacket;
static WINTUN_RELEASE_RECEIVE_PACKET_FUNC* WintunReleaseReceivePacket;
static WINTUN_ALLOCATE_SEND_PACKET_FUNC* WintunAllocateSendPacket;
static WINTUN_SEND_PACKET_FUNC* WintunSendPacket;

static void CALLBACK Log(WINTUN_LOGGER_LEVEL Level, DWORD64 Timestamp, LPCWSTR Message) {
  switch (Level) {
    case WINTUN_LOG_INFO:
    case WINTUN_LOG_WARN:
    case WINTUN_LOG_ERR:
      break;
  }
  (void)Timestamp;
  (void)Message;
}

static DWORD Use(void) {
  static const GUID guid = {0xdeadbabe, 0xcafe, 0xbeef, {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}};
  WINTUN_ADAPTER_HANDLE adapter = WintunCreateAdapter(L"Demo", L"Example", &guid);
  WINTUN_SESSION_HANDLE session;
  NET_LUID luid;
  DWORD size;
  BYTE* packet;
  HANDLE event;
  WintunSetLogger(Log);
  if (!adapter) adapter = WintunOpenAdapter(L"Demo");
  if (!adapter) return GetLastError();
  WintunGetAdapterLUID(adapter, &luid);
  session = WintunStartSession(adapter, 0x400000);
  event = WintunGetReadWaitEvent(session);
  packet = WintunReceivePacket(session, &size);
  if (packet) {
    const BYTE* const received = packet;
    WintunReleaseReceivePacket(session, received);
  } else {
    switch (GetLastError()) {
      case ERROR_NO_MORE_ITEMS:
        break;
      case ERROR_HANDLE_EOF:
      case ERROR_INVALID_DATA:
      case ERROR_BUFFER_OVERFLOW:
      case ERROR_INVALID_PARAMETER:
        SetLastError(ERROR_SUCCESS);
        break;
    }
  }
  packet = WintunAllocateSendPacket(session, WINTUN_MAX_IP_PACKET_SIZE);
  if (packet) WintunSendPacket(session, packet);
  WintunEndSession(session);
  WintunCloseAdapter(adapter);
  return event && luid.Value && WintunDeleteDriver() && WINTUN_MIN_RING_CAPACITY < WINTUN_MAX_RING_CAPACITY
             ? WintunGetRunningDriverVersion()
             : 0;
}

int main(void) {
  printf("%u\n", WintunCreateAdapter ? (unsigned)Use() : 0u);
  return 0;
}
