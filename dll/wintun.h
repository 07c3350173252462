/* The Wintun interface, generation 0.14, with ringtun's own functions behind it. C99 and C++11, alone or with others.
 *
 * Any thread may call any function at any time, unless the function says otherwise. A handle that is null is answered
 * ERROR_INVALID_PARAMETER; one that is closed, or that no call ever returned, ERROR_INVALID_HANDLE. Neither crashes.
 * A function that fails says why by GetLastError(); one that succeeds leaves the last error alone.
 *
 * Types named WINTUN_..._FUNC are for programs that look the functions up at run time:
 *     static WINTUN_OPEN_ADAPTER_FUNC *WintunOpenAdapter;
 * A program that is linked with the library defines WINTUN_LINKED before it includes this file, or gets it from
 * ringtun.pc; then the functions themselves are declared.
 *
 * After fork() the child may only end or exec: every descriptor of the library closes on exec. */
#ifndef WINTUN_H
#define WINTUN_H

#ifdef _WIN32
/* Each needs the ones before it. */
/* clang-format off */
#include <winsock2.h>
#include <windows.h>
#include <ipexport.h>
#include <ifdef.h>
#include <ws2ipdef.h>
/* clang-format on */
#else
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef _WIN32
/* ---- What Windows' own headers would supply ---- */

#define WINAPI
#define CALLBACK
#define VOID void
#ifndef TRUE
#define TRUE 1
#define FALSE 0
#endif

typedef int BOOL;
typedef uint8_t BYTE;
typedef uint32_t DWORD;
typedef uint64_t DWORD64;
typedef wchar_t WCHAR; /* 32 bits, one a character, so that L"..." works */
typedef const WCHAR* LPCWSTR;
typedef void* HANDLE; /* of an event: a descriptor for poll and its kin, (int)(intptr_t)handle */

typedef struct {
  uint32_t Data1;
  uint16_t Data2;
  uint16_t Data3;
  uint8_t Data4[8];
} GUID;

typedef union {
  uint64_t Value;
  struct {
    uint64_t Reserved : 24;
    uint64_t NetLuidIndex : 24; /* the index of the interface, as if_nametoindex() gives it */
    uint64_t IfType : 16;       /* 53, proprietary virtual */
  } Info;
} NET_LUID;

#define INVALID_HANDLE_VALUE ((HANDLE)(intptr_t)-1)

#define ERROR_SUCCESS 0u
#define ERROR_FILE_NOT_FOUND 2u
#define ERROR_TOO_MANY_OPEN_FILES 4u
#define ERROR_ACCESS_DENIED 5u
#define ERROR_INVALID_HANDLE 6u
#define ERROR_NOT_ENOUGH_MEMORY 8u
#define ERROR_INVALID_DATA 13u
#define ERROR_GEN_FAILURE 31u
#define ERROR_HANDLE_EOF 38u
#define ERROR_NOT_SUPPORTED 50u
#define ERROR_INVALID_PARAMETER 87u
#define ERROR_BUFFER_OVERFLOW 111u
#define ERROR_BUSY 170u
#define ERROR_ALREADY_EXISTS 183u
#define ERROR_NO_MORE_ITEMS 259u
#define ERROR_ALREADY_INITIALIZED 1247u
#define ERROR_NO_SYSTEM_RESOURCES 1450u

/* Each thread's last error stands in the library. A program that loaded the library reaches it by these names. */
typedef DWORD(WINAPI RINGTUN_GET_LAST_ERROR_FUNC)(VOID);
typedef VOID(WINAPI RINGTUN_SET_LAST_ERROR_FUNC)(DWORD Code);

#ifdef WINTUN_LINKED
RINGTUN_GET_LAST_ERROR_FUNC RingtunGetLastError;
RINGTUN_SET_LAST_ERROR_FUNC RingtunSetLastError;

static inline DWORD GetLastError(VOID) { return RingtunGetLastError(); }
static inline VOID SetLastError(DWORD Code) { RingtunSetLastError(Code); }
#else
/* The library is found where the program has loaded it, however it did; without one the last error is
 * ERROR_FILE_NOT_FOUND. A library that was renamed is out of reach here: look the two names up in it. */
static inline void* RingtunFindLoaded(const char* Name) {
  void* library = dlopen("libringtun.so.0", RTLD_LAZY | RTLD_NOLOAD);
  if (!library) library = dlopen("libwintun.so.0", RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return NULL;
  {
    void* const address = dlsym(library, Name);
    dlclose(library); /* gives back the reference that was taken here, and no more */
    return address;
  }
}

static inline DWORD GetLastError(VOID) {
  void* const address = RingtunFindLoaded("RingtunGetLastError");
  RINGTUN_GET_LAST_ERROR_FUNC* function = NULL;
  memcpy(&function, &address, sizeof(function));
  return function ? function() : ERROR_FILE_NOT_FOUND;
}

static inline VOID SetLastError(DWORD Code) {
  void* const address = RingtunFindLoaded("RingtunSetLastError");
  RINGTUN_SET_LAST_ERROR_FUNC* function = NULL;
  memcpy(&function, &address, sizeof(function));
  if (function) function(Code);
}
#endif
#endif /* _WIN32 */

/* ---- Adapters ---- */

typedef struct _WINTUN_ADAPTER* WINTUN_ADAPTER_HANDLE;

/* Characters of an adapter's name, the final zero included. */
#define WINTUN_MAX_ADAPTER_NAME 128

/* Makes an adapter: the interface exists when this returns, and is gone when the adapter's last handle is closed or
 * the process ends.
 * Name          what the adapter is called, 1 to 127 characters. Linux: the name of the interface where it can be one
 *               (at most 15 bytes, no '/', ':', '%' or white space), else a name made from it
 * TunnelType    what kind of tunnel this is, for people, 1 to 127 characters
 * RequestedGUID the adapter's GUID, or NULL for any. Linux has no place for it
 * Null with a last error: ERROR_INVALID_PARAMETER (a string is null, empty, too long or no text),
 * ERROR_ALREADY_EXISTS (an adapter or an interface has this name), ERROR_ACCESS_DENIED (the privilege is missing:
 * CAP_NET_ADMIN), ERROR_FILE_NOT_FOUND (no driver: /dev/net/tun), ERROR_NOT_ENOUGH_MEMORY, ERROR_TOO_MANY_OPEN_FILES,
 * ERROR_NO_SYSTEM_RESOURCES (4096 handles of adapters are open). */
typedef WINTUN_ADAPTER_HANDLE(WINAPI WINTUN_CREATE_ADAPTER_FUNC)(LPCWSTR Name, LPCWSTR TunnelType,
                                                                 const GUID* RequestedGUID);

/* Opens an adapter that exists: one more handle of an adapter of this process, or Linux: a persistent TUN interface
 * (`ip tuntap add mode tun`), which stays when the handle is closed. Name as above.
 * Null with a last error: ERROR_INVALID_PARAMETER, ERROR_FILE_NOT_FOUND (no adapter of this name, or no driver),
 * ERROR_ALREADY_EXISTS (the interface of this name is no TUN, or another process holds it), ERROR_ACCESS_DENIED,
 * ERROR_NOT_ENOUGH_MEMORY, ERROR_TOO_MANY_OPEN_FILES, ERROR_NO_SYSTEM_RESOURCES. */
typedef WINTUN_ADAPTER_HANDLE(WINAPI WINTUN_OPEN_ADAPTER_FUNC)(LPCWSTR Name);

/* Closes a handle of an adapter. With the last one the adapter goes; a session that is still open is ended for its
 * readers and writers (ERROR_HANDLE_EOF), but its handle stays valid until WintunEndSession. Null is let pass.
 * A handle that is closed already: last error ERROR_INVALID_HANDLE, and nothing happens. */
typedef VOID(WINAPI WINTUN_CLOSE_ADAPTER_FUNC)(WINTUN_ADAPTER_HANDLE Adapter);

/* Removes the driver from the system when no adapter uses it. FALSE with a last error: ERROR_BUSY (this process has
 * adapters). Linux: the driver is the kernel's own, so there is nothing to remove, and this is all that it does. */
typedef BOOL(WINAPI WINTUN_DELETE_DRIVER_FUNC)(VOID);

/* The LUID of an adapter: interface type 53, and Linux: the interface's index. Failure is ERROR_INVALID_PARAMETER or
 * ERROR_INVALID_HANDLE; then *Luid is 0, where there is one. */
typedef VOID(WINAPI WINTUN_GET_ADAPTER_LUID_FUNC)(WINTUN_ADAPTER_HANDLE Adapter, NET_LUID* Luid);

/* The driver's version, major << 16 | minor. 0 with last error ERROR_FILE_NOT_FOUND: no driver is loaded. */
typedef DWORD(WINAPI WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC)(VOID);

/* ---- The logger ---- */

typedef enum {
  WINTUN_LOG_INFO, /* all goes well */
  WINTUN_LOG_WARN, /* it goes on, but somebody should look */
  WINTUN_LOG_ERR   /* a call failed */
} WINTUN_LOGGER_LEVEL;

/* Is called from the thread whose call has something to say, several threads at once, without any lock of the
 * library's, so it may call the library; lines that come of such calls are dropped.
 * Timestamp counts 100 ns since 1601-01-01 UTC. Message ends with a zero and lives as long as the call. */
typedef VOID(CALLBACK* WINTUN_LOGGER_CALLBACK)(WINTUN_LOGGER_LEVEL Level, DWORD64 Timestamp, LPCWSTR Message);

/* Replaces the logger of this process; NULL: none. When this returns, the last logger does not run in another thread,
 * and is not called again. A logger may call this itself. Cannot fail. */
typedef VOID(WINAPI WINTUN_SET_LOGGER_FUNC)(WINTUN_LOGGER_CALLBACK NewLogger);

/* ---- Sessions ---- */

/* Bytes of a ring; a power of two. */
#define WINTUN_MIN_RING_CAPACITY 0x20000   /* 128 KiB */
#define WINTUN_MAX_RING_CAPACITY 0x4000000 /* 64 MiB */

/* Bytes of a packet. */
#define WINTUN_MAX_IP_PACKET_SIZE 0xFFFF

typedef struct _TUN_SESSION* WINTUN_SESSION_HANDLE;

/* Starts the adapter's session, one at a time: the link goes up. Capacity: bytes of each of its two rings, a power of
 * two from WINTUN_MIN_RING_CAPACITY to WINTUN_MAX_RING_CAPACITY.
 * Null with a last error: ERROR_INVALID_PARAMETER, ERROR_INVALID_HANDLE, ERROR_ALREADY_INITIALIZED (a session is
 * open), ERROR_NOT_ENOUGH_MEMORY, ERROR_TOO_MANY_OPEN_FILES, ERROR_NO_SYSTEM_RESOURCES (4096 sessions are open),
 * ERROR_FILE_NOT_FOUND (the interface is gone), ERROR_ACCESS_DENIED. */
typedef WINTUN_SESSION_HANDLE(WINAPI WINTUN_START_SESSION_FUNC)(WINTUN_ADAPTER_HANDLE Adapter, DWORD Capacity);

/* Ends a session: the link goes down, the rings are freed, and packets that are lent are no longer valid. Calls that
 * other threads have inside the session are waited for; none of them waits itself. A thread that waits for the event
 * is stopped first: the event closes here, and a wait may not notice. WintunCloseAdapter wakes it, or an event of the
 * program's own that it waits for too.
 * Null is let pass. A session that is ended already: last error ERROR_INVALID_HANDLE, and nothing happens. */
typedef VOID(WINAPI WINTUN_END_SESSION_FUNC)(WINTUN_SESSION_HANDLE Session);

/* The event to wait for when there is nothing to receive. Linux: a descriptor that polls readable while a packet can
 * be received, in the ring or in the kernel, and when the session's driver has ended. It belongs to the session:
 * never close it, and do not use it after WintunEndSession. Several threads may wait. Null with a last error:
 * ERROR_INVALID_PARAMETER, ERROR_INVALID_HANDLE. */
typedef HANDLE(WINAPI WINTUN_GET_READ_WAIT_EVENT_FUNC)(WINTUN_SESSION_HANDLE Session);

/* Lends the next packet, a whole IPv4 or IPv6 packet of *PacketSize bytes, until WintunReleaseReceivePacket. It never
 * waits. Many packets may be lent, to many threads, and released in any order; one that is never released fills the
 * ring in the end.
 * Null with a last error: ERROR_NO_MORE_ITEMS (none now: wait), ERROR_HANDLE_EOF (the adapter is closed or its
 * interface gone), ERROR_INVALID_DATA (the ring holds what cannot be, and the session is over),
 * ERROR_INVALID_PARAMETER (PacketSize is null, too), ERROR_INVALID_HANDLE. */
typedef BYTE*(WINAPI WINTUN_RECEIVE_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, DWORD* PacketSize);

/* Gives a received packet back. A packet that is not lent (released already, or none at all): last error
 * ERROR_INVALID_PARAMETER, and nothing changes. Or ERROR_INVALID_HANDLE. */
typedef VOID(WINAPI WINTUN_RELEASE_RECEIVE_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, const BYTE* Packet);

/* Lends room for a packet of PacketSize bytes, 1 to WINTUN_MAX_IP_PACKET_SIZE, until WintunSendPacket. It never
 * waits. The order of allocation is the order of sending. Null with a last error: ERROR_BUFFER_OVERFLOW (the ring is
 * full now: an earlier packet is not sent yet, or the network takes no more), ERROR_HANDLE_EOF, ERROR_INVALID_DATA,
 * ERROR_INVALID_PARAMETER (PacketSize), or ERROR_INVALID_HANDLE. */
typedef BYTE*(WINAPI WINTUN_ALLOCATE_SEND_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, DWORD PacketSize);

/* Sends a packet and takes its room back; it goes when all that were allocated before it are sent too. It never
 * waits. What the network refuses (no IP packet, no room) is dropped and counted, without an error. A packet that is
 * not lent: last error ERROR_INVALID_PARAMETER, and nothing changes. Or ERROR_INVALID_HANDLE. */
typedef VOID(WINAPI WINTUN_SEND_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, const BYTE* Packet);

/* ---- Ours: many packets a call, and counters. Another Wintun library has none of these. ---- */

/* As WintunReceivePacket, for up to Count packets: how many came, into Packets[0..] and PacketSizes[0..].
 * 0 with a last error: those of WintunReceivePacket; ERROR_INVALID_PARAMETER also for a null array or Count 0. */
typedef DWORD(WINAPI WINTUN_RECEIVE_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session, BYTE** Packets, DWORD* PacketSizes,
                                                  DWORD Count);

/* As WintunReleaseReceivePacket, for each. Those that are not lent are passed over with last error
 * ERROR_INVALID_PARAMETER; the others are released all the same. */
typedef VOID(WINAPI WINTUN_RELEASE_RECEIVE_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session, BYTE* const* Packets,
                                                         DWORD Count);

/* As WintunAllocateSendPacket, for up to Count packets: how many were allocated, the first ones, in order. All sizes
 * are checked before anything is allocated. Fewer than Count: the ring is full. 0 with a last error: those of
 * WintunAllocateSendPacket; ERROR_INVALID_PARAMETER also for a null array or Count 0. */
typedef DWORD(WINAPI WINTUN_ALLOCATE_SEND_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session, const DWORD* PacketSizes,
                                                        BYTE** Packets, DWORD Count);

/* As WintunSendPacket, for each, and then the network is served once. Those that are not lent are passed over with
 * last error ERROR_INVALID_PARAMETER; the others are sent all the same. */
typedef VOID(WINAPI WINTUN_SEND_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session, BYTE* const* Packets, DWORD Count);

/* What an adapter has moved since it was made, over all of its sessions. To the user: towards WintunReceivePacket.
 * Drops came and could not be delivered. */
typedef struct {
  DWORD64 ToUserPackets, ToUserBytes, ToUserDrops;
  DWORD64 ToNetworkPackets, ToNetworkBytes, ToNetworkDrops;
} WINTUN_STATISTICS;

/* FALSE with a last error: ERROR_INVALID_PARAMETER, ERROR_INVALID_HANDLE. */
typedef BOOL(WINAPI WINTUN_GET_STATISTICS_FUNC)(WINTUN_ADAPTER_HANDLE Adapter, WINTUN_STATISTICS* Statistics);

/* Of generations 0.8 to 0.13. The device itself, for a program that waits or looks at it in its own way; the caller
 * closes it (CloseHandle; close() outside Windows, where it is a descriptor of the TUN interface that never blocks,
 * and that keeps the interface until it is closed). Packets that are read from it never come to a session.
 * INVALID_HANDLE_VALUE with a last error: ERROR_INVALID_PARAMETER, ERROR_INVALID_HANDLE, ERROR_TOO_MANY_OPEN_FILES,
 * ERROR_NOT_SUPPORTED (its driver has no such object). */
typedef HANDLE(WINAPI WINTUN_OPEN_ADAPTER_DEVICE_OBJECT_FUNC)(WINTUN_ADAPTER_HANDLE Adapter);

#ifdef WINTUN_LINKED
WINTUN_CREATE_ADAPTER_FUNC WintunCreateAdapter;
WINTUN_OPEN_ADAPTER_FUNC WintunOpenAdapter;
WINTUN_CLOSE_ADAPTER_FUNC WintunCloseAdapter;
WINTUN_DELETE_DRIVER_FUNC WintunDeleteDriver;
WINTUN_GET_ADAPTER_LUID_FUNC WintunGetAdapterLUID;
WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC WintunGetRunningDriverVersion;
WINTUN_SET_LOGGER_FUNC WintunSetLogger;
WINTUN_START_SESSION_FUNC WintunStartSession;
WINTUN_END_SESSION_FUNC WintunEndSession;
WINTUN_GET_READ_WAIT_EVENT_FUNC WintunGetReadWaitEvent;
WINTUN_RECEIVE_PACKET_FUNC WintunReceivePacket;
WINTUN_RELEASE_RECEIVE_PACKET_FUNC WintunReleaseReceivePacket;
WINTUN_ALLOCATE_SEND_PACKET_FUNC WintunAllocateSendPacket;
WINTUN_SEND_PACKET_FUNC WintunSendPacket;
WINTUN_RECEIVE_PACKETS_FUNC WintunReceivePackets;
WINTUN_RELEASE_RECEIVE_PACKETS_FUNC WintunReleaseReceivePackets;
WINTUN_ALLOCATE_SEND_PACKETS_FUNC WintunAllocateSendPackets;
WINTUN_SEND_PACKETS_FUNC WintunSendPackets;
WINTUN_GET_STATISTICS_FUNC WintunGetStatistics;
WINTUN_OPEN_ADAPTER_DEVICE_OBJECT_FUNC WintunOpenAdapterDeviceObject;
#endif

#ifdef __cplusplus
}
#endif

#endif
