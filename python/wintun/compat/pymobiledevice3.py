"""pymobiledevice3's tunnel on our device: through the kernel, or without any privilege.

    from wintun.compat import pymobiledevice3 as on_wintun

    with on_wintun.tunnel_devices():                                    # 1: its tunnels get our devices
        async with start_tunnel(...) as tunnel:                         #    (its own function, unchanged)
            dial = on_wintun.dial(tunnel.client)                        # 2: what connects through this tunnel
            rsd = RemoteServiceDiscoveryService((tunnel.address, tunnel.port), open_connection=dial)   # 3

With backend='embedded', the default, nothing here needs rights. With backend='kernel' the operating system's own
sockets reach the device, and dial() gives asyncio's function. Some USB links drop long packets in silence:
tunnel_devices(packet_limit=8192) keeps those that the host sends at 8192 bytes or less, with the MTU as it was agreed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
from collections.abc import Iterator
from typing import Any, Callable, Optional

from wintun import TunDevice

from .pytun_pmd3 import PytunError, TunTapDevice

__all__ = ["TunnelDevice", "dial", "tunnel_devices"]

_numbers = itertools.count()


class TunnelDevice(TunTapDevice):
    """What pymobiledevice3 takes a tunnel's device to be, with a stack in this process at its other end.

    Args:
        packet_limit: Bytes of the longest TCP packet that the host sends, whatever the MTU; None: no limit but that.
    """

    def __init__(self, *, packet_limit: Optional[int] = None) -> None:
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


@contextlib.contextmanager
def tunnel_devices(backend: str = "embedded", *, packet_limit: Optional[int] = None) -> Iterator[None]:
    """While it lasts, the tunnels that pymobiledevice3 starts get our devices; those that it has started keep them.

    Args:
        backend: 'embedded', without any rights, or 'kernel'.
        packet_limit: Bytes of the longest TCP packet that the host sends, 576 at least; None: the MTU decides.

    Raises:
        OSError: EOPNOTSUPP: a limit for a kernel device.
        ValueError: no such backend.
    """
    from pymobiledevice3.remote import tunnel_service

    factory: Callable[..., TunTapDevice]
    if backend == "embedded":
        factory = lambda *_arguments, **_options: TunnelDevice(packet_limit=packet_limit)  # noqa: E731
    elif backend == "kernel":
        if packet_limit is not None:
            raise PytunError(
                errno.EOPNOTSUPP, "packet_limit: on the kernel backend it is a setting of a route (advmss)"
            )
        factory = lambda *_arguments, **_options: TunTapDevice()  # noqa: E731
    else:
        raise ValueError(f"backend: 'embedded' or 'kernel', not {backend!r}")
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
    """
    device = getattr(tunnel, "tun", tunnel)
    if isinstance(device, TunnelDevice):
        return device.open_connection
    if isinstance(device, TunTapDevice):
        return asyncio.open_connection
    raise TypeError(f"dial: a tunnel with a device of tunnel_devices(), not {type(device).__name__}")
