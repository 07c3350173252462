// The names that the library exports, for the kernel's TUN interfaces. ringtun.map lists them too; a test compares.
#define WINTUN_LINKED
#include "api.hpp"
#include "backend_linux.hpp"

using Kernel = wintun::Api<wintun::LinuxBackend>;

WINTUN_ADAPTER_HANDLE WINAPI WintunCreateAdapter(LPCWSTR name, LPCWSTR tunnel_type, const GUID* guid) {
  return Kernel::create_adapter(name, tunnel_type, guid);
}
WINTUN_ADAPTER_HANDLE WINAPI WintunOpenAdapter(LPCWSTR name) { return Kernel::open_adapter(name); }
void WINAPI WintunCloseAdapter(WINTUN_ADAPTER_HANDLE adapter) { Kernel::close_adapter(adapter); }
BOOL WINAPI WintunDeleteDriver() { return Kernel::delete_driver(); }
void WINAPI WintunGetAdapterLUID(WINTUN_ADAPTER_HANDLE adapter, NET_LUID* luid) {
  Kernel::get_adapter_luid(adapter, luid);
}
DWORD WINAPI WintunGetRunningDriverVersion() { return Kernel::get_running_driver_version(); }
void WINAPI WintunSetLogger(WINTUN_LOGGER_CALLBACK logger) { Kernel::set_logger(logger); }

WINTUN_SESSION_HANDLE WINAPI WintunStartSession(WINTUN_ADAPTER_HANDLE adapter, DWORD capacity) {
  return Kernel::start_session(adapter, capacity);
}
void WINAPI WintunEndSession(WINTUN_SESSION_HANDLE session) { Kernel::end_session(session); }
HANDLE WINAPI WintunGetReadWaitEvent(WINTUN_SESSION_HANDLE session) { return Kernel::get_read_wait_event(session); }

BYTE* WINAPI WintunReceivePacket(WINTUN_SESSION_HANDLE session, DWORD* size) {
  return Kernel::receive_packet(session, size);
}
void WINAPI WintunReleaseReceivePacket(WINTUN_SESSION_HANDLE session, const BYTE* packet) {
  Kernel::release_receive_packet(session, packet);
}
BYTE* WINAPI WintunAllocateSendPacket(WINTUN_SESSION_HANDLE session, DWORD size) {
  return Kernel::allocate_send_packet(session, size);
}
void WINAPI WintunSendPacket(WINTUN_SESSION_HANDLE session, const BYTE* packet) {
  Kernel::send_packet(session, packet);
}

DWORD WINAPI WintunReceivePackets(WINTUN_SESSION_HANDLE session, BYTE** packets, DWORD* sizes, DWORD count) {
  return Kernel::receive_packets(session, packets, sizes, count);
}
void WINAPI WintunReleaseReceivePackets(WINTUN_SESSION_HANDLE session, BYTE* const* packets, DWORD count) {
  Kernel::release_receive_packets(session, packets, count);
}
DWORD WINAPI WintunAllocateSendPackets(WINTUN_SESSION_HANDLE session, const DWORD* sizes, BYTE** packets,
                                       DWORD count) {
  return Kernel::allocate_send_packets(session, sizes, packets, count);
}
void WINAPI WintunSendPackets(WINTUN_SESSION_HANDLE session, BYTE* const* packets, DWORD count) {
  Kernel::send_packets(session, packets, count);
}
HANDLE WINAPI WintunOpenAdapterDeviceObject(WINTUN_ADAPTER_HANDLE adapter) {
  return Kernel::open_adapter_device_object(adapter);
}
BOOL WINAPI WintunGetStatistics(WINTUN_ADAPTER_HANDLE adapter, WINTUN_STATISTICS* statistics) {
  return Kernel::get_statistics(adapter, statistics);
}

DWORD WINAPI RingtunGetLastError() { return wintun::last_error(); }
void WINAPI RingtunSetLastError(DWORD code) { wintun::set_last_error(code); }
