"""pymobiledevice3's tunnel on our device: through the kernel, or without any privilege.

    from wintun.compat import pymobiledevice3 as on_wintun

    with on_wintun.tunnel_devices():                                    # 1: its tunnels get our devices
        async with start_tunnel(...) as tunnel:                         #    (its own function, unchanged)
            dial = on_wintun.dial(tunnel.client)                        # 2: what connects through this tunnel
            rsd = RemoteServiceDiscoveryService((tunnel.address, tunnel.port), open_connection=dial)   # 3

With backend='embedded', the default, nothing here needs rights. With backend='kernel' the operating system's own
sockets reach the device. Some USB links drop long packets in silence: tunnel_devices(packet_limit=8192) keeps those of
the connections that dial() makes at 8192 bytes or less, with the MTU as it was agreed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import Iterator
from typing import Any, Callable, Optional

from wintun import TunDevice

from .pytun_pmd3 import PytunError, TunTapDevice

__all__ = ["KernelTunnelDevice", "TunnelDevice", "dial", "tunnel_devices"]

_numbers = itertools.count()
_LEAST_LIMIT = 1280  # bytes of a packet that every link of IPv6 carries
_HEADERS = 60  # bytes: IPv6 and TCP; TCP's options count as its segment's
_MOST_SEGMENT = 32767  # bytes that Linux takes


class TunnelDevice(TunTapDevice):
    """What pymobiledevice3 takes a tunnel's device to be, with a stack in this process at its other end.

    Args:
        packet_limit: Bytes of the longest TCP packet that the host sends, whatever the MTU; None: no limit but that.
    """

    def __init__(self, *, packet_limit: Optional[int] = None) -> None:
        if packet_limit is not None:
            _check_limit(packet_limit)
        self._begin(has_information=False)
        self._device = TunDevice(f"tun-{next(_numbers)}-of-pymobiledevice3", backend="embedded")
        try:
            if packet_limit is not None:
                self._device.limit_packets(packet_limit)
        except BaseException:
            self._device.close()
            raise

    @property
    def name(self) -> str:
        """It begins with tun; no interface of the system's has it."""
        return self._device.name

    def fileno(self) -> int:
        """Readable while a packet can be read; no interface of the system's is behind it, so nothing else."""
        return self._device.fileno()

    @property
    def device(self) -> TunDevice:
        """The device itself: ping(), datagram(), start_server()..."""
        return self._device

    async def open_connection(
        self, host: str, port: int, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As asyncio.open_connection, through this tunnel."""
        return await self._device.open_connection(host, port, **options)


class KernelTunnelDevice(TunTapDevice):
    """The same with an interface of the operating system.

    packet_limit  as for TunnelDevice, for connections of open_connection(); other programs' are the kernel's business
    """

    def __init__(self, *, packet_limit: Optional[int] = None) -> None:
        self._segment_limit: Optional[int] = None
        if packet_limit is not None:
            _check_limit(packet_limit)
            if not hasattr(socket, "TCP_MAXSEG"):
                raise PytunError(errno.EOPNOTSUPP, "packet_limit: this system's sockets cannot; use backend='embedded'")
            self._segment_limit = min(packet_limit - _HEADERS, _MOST_SEGMENT)
        super().__init__()

    async def open_connection(
        self, host: str, port: int, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """asyncio.open_connection, with the segment size set before the connection is made."""
        if self._segment_limit is None:
            return await asyncio.open_connection(host, port, **options)
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, self._segment_limit)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return await asyncio.open_connection(sock=sock, **options)
        except BaseException:
            sock.close()
            raise


def _check_limit(packet_limit: object) -> None:
    if isinstance(packet_limit, bool) or not isinstance(packet_limit, int):
        raise TypeError(f"packet_limit: a number of bytes or None, not {type(packet_limit).__name__}")
    if not _LEAST_LIMIT <= packet_limit <= 0xFFFF:
        raise ValueError(f"packet_limit: bytes from {_LEAST_LIMIT} to 65535 or None, not {packet_limit}")


@contextlib.contextmanager
def tunnel_devices(backend: str = "embedded", *, packet_limit: Optional[int] = None) -> Iterator[None]:
    """While it lasts, the tunnels that pymobiledevice3 starts get our devices; those that it has started keep them.

    Args:
        backend: 'embedded', without any rights, or 'kernel'.
        packet_limit: Bytes of the longest TCP packet that dial()'s connections send, 1280 to 65535; None: the MTU
            decides. A kernel device's phone sends no longer ones then, either.

    Raises:
        ValueError: no such backend, or limit.
        OSError: EOPNOTSUPP: a limit for a kernel device where sockets have no TCP_MAXSEG.
    """
    from pymobiledevice3.remote import tunnel_service

    if packet_limit is not None:
        _check_limit(packet_limit)
    kinds: dict[str, Callable[..., TunTapDevice]] = {"embedded": TunnelDevice, "kernel": KernelTunnelDevice}
    if backend not in kinds:
        raise ValueError(f"backend: 'embedded' or 'kernel', not {backend!r}")

    def factory(*_arguments: Any, **_options: Any) -> TunTapDevice:
        return kinds[backend](packet_limit=packet_limit)

    before = tunnel_service.create_tun_device
    tunnel_service.create_tun_device = factory
    try:
        yield
    finally:
        tunnel_service.create_tun_device = before


def dial(tunnel: Any) -> Callable[..., Any]:
    """The function that connects through a started tunnel, for `open_connection=`.

    Args:
        tunnel: Its client (a RemotePairingTunnel, `TunnelResult.client`), or its device.

    Raises:
        TypeError: a tunnel whose device is none of `tunnel_devices()`.
        ValueError: the tunnel was stopped.
    """
    device = getattr(tunnel, "tun", tunnel)
    if isinstance(device, (TunnelDevice, KernelTunnelDevice)):
        return device.open_connection
    if isinstance(device, TunTapDevice):  # the drop-in, which has an interface of the system's
        return asyncio.open_connection
    if device is None:
        raise ValueError("dial: the tunnel is stopped, or not started yet; it has no device")
    raise TypeError(f"dial: a tunnel with a device of tunnel_devices(), not {type(device).__name__}")
