"""A drop-in for the package pytun_pmd3, whose device pymobiledevice3 makes its tunnels with.

The names and their behaviour are that package's; the device is ours. What differs, and why:

* `write` never blocks. A full ring drops the packet and counts it (`statistics`), since an error would end the
  caller's tunnel, and TCP recovers from a loss. Every error is an OSError, for the same reason.
* `async_read` and `async_read_batch` are there on every platform and give raw IP packets. `fileno()` serves to wait,
  as in `select`, to read and to write; packets are read by the methods, not from the descriptor.

Any thread may call anything.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Union

from wintun import TunDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Buffer, Self

__all__ = ["IFF_NO_PI", "IFF_TAP", "IFF_TUN", "Error", "PyWinTunException", "PytunError", "TunTapDevice"]

# linux/if_tun.h
IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

DEFAULT_ADAPTER_NAME = "pywintun"  # where interfaces have no numbers
DEFAULT_RING_CAPACITY = 0x400000

_INFORMATION = {4: b"\x00\x00\x08\x00", 6: b"\x00\x00\x86\xdd"}  # struct tun_pi: flags, EtherType
_MAX_INTERFACES = 10_000


class PytunError(OSError):
    """What the device refuses, and the system's errors."""


Error = PytunError  # its name in python-pytun
PyWinTunException = PytunError  # and on Windows


class TunTapDevice:
    """A TUN device, made at once.

    Args:
        name: The interface's; none given: the first free one of tun0, tun1, ... on Linux.
        flags: IFF_TUN, with IFF_NO_PI if `read` is to give packets without their 4 bytes of packet information
            (struct tun_pi of linux/if_tun.h).
        dev: /dev/net/tun, nothing else.

    Raises:
        FileExistsError: a name that is taken.
        PermissionError: no rights to make one.
        PytunError: EINVAL: any other argument.
    """

    def __init__(self, name: str = "", flags: int = IFF_TUN, dev: str = "/dev/net/tun") -> None:
        if flags & IFF_TAP or not flags & IFF_TUN:
            raise PytunError(errno.EINVAL, f"flags {flags:#x}: the device is a TUN (IFF_TUN), never a TAP")
        if dev != "/dev/net/tun":
            raise PytunError(errno.EINVAL, f"dev {dev!r}: the device is made by /dev/net/tun")
        # pymobiledevice3 takes the Windows format, without packet information, and a name only there.
        self._begin(has_information=sys.platform != "win32" and not flags & IFF_NO_PI)
        try:
            self._device = TunDevice(name) if name else _make_unnamed()
        except ValueError as error:
            raise PytunError(errno.EINVAL, str(error)) from error

    def _begin(self, has_information: bool) -> None:
        """All that a device has but the device itself; for subclasses that make another."""
        self._has_information = has_information
        self._prefix4 = 32
        self._other_end: Union[str, None] = None
        self._release_descriptor: Union[Callable[[], object], None] = None
        self._descriptor = -1
        self._descriptor_lock = threading.Lock()

    @property
    def name(self) -> str:
        """The interface's name."""
        return self._device.interface if sys.platform != "win32" else self._device.name

    @property
    def luid(self) -> int:
        """NET_LUID of the interface."""
        return self._device.luid

    @property
    def interface_index(self) -> int:
        """The system's index of the interface."""
        return self._device.index

    @property
    def statistics(self) -> Mapping[str, int]:
        """Packets, bytes and drops each way, as `wintun.TunDevice.statistics`."""
        return self._device.statistics

    @property
    def mtu(self) -> int:
        """In bytes."""
        return self._device.mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        try:
            self._device.mtu = value
        except ValueError as error:
            raise PytunError(errno.EINVAL, str(error)) from error

    @property
    def addr(self) -> str:
        """The IPv6 address, without its prefix; the IPv4 address if there is no IPv6 one.

        Set: an IPv6 address means /64, an IPv4 address means /32, each unless it comes with a prefix.
        """
        address = self._device.addr6 or self._device.addr4
        if address is None:
            raise PytunError(errno.EADDRNOTAVAIL, f"'{self.name}' has no address yet; set addr first")
        return str(address)

    @addr.setter
    def addr(self, value: str) -> None:
        try:
            interface = ipaddress.ip_interface(value)
            if "/" in str(value):
                self._device.addr = interface
            elif interface.version == 6:
                self._device.addr = ipaddress.ip_interface(f"{value}/64")
            else:
                self._device.addr = ipaddress.ip_interface(f"{value}/{self._prefix4}")
        except ValueError as error:
            raise PytunError(errno.EINVAL, f"address {value!r} of '{self.name}': {error}") from error

    @property
    def netmask(self) -> str:
        """The mask of the address, as an address. Set: counts for the IPv4 address there is, and those set later."""
        for address in map(ipaddress.ip_interface, self._device.addresses):
            if str(address.ip) == self.addr:
                return str(address.netmask)
        raise PytunError(errno.EADDRNOTAVAIL, f"'{self.name}' has no address yet; set addr first")

    @netmask.setter
    def netmask(self, value: str) -> None:
        try:
            self._prefix4 = ipaddress.IPv4Network(f"0.0.0.0/{value}").prefixlen
        except ValueError as error:
            raise PytunError(errno.EINVAL, f"netmask {value!r} of '{self.name}': {error}") from error
        if self._device.addr4 is not None:
            self._device.addr4 = ipaddress.ip_interface(f"{self._device.addr4}/{self._prefix4}")

    @property
    def dstaddr(self) -> str:
        """The address of the other end, as it was set. It is reached by the address's prefix, see `netmask`."""
        if self._other_end is None:
            raise PytunError(errno.EADDRNOTAVAIL, f"'{self.name}' has no address of the other end yet; set dstaddr")
        return self._other_end

    @dstaddr.setter
    def dstaddr(self, value: str) -> None:
        try:
            self._other_end = str(ipaddress.ip_address(value))
        except ValueError as error:
            raise PytunError(errno.EINVAL, f"dstaddr {value!r} of '{self.name}': {error}") from error

    def persist(self, flag: bool = True) -> None:
        """Refused but for False: the device ends with close() or with its program."""
        if flag:
            raise PytunError(errno.EOPNOTSUPP, f"'{self.name}' cannot outlive this program; use `ip tuntap add`")

    def mq_attach(self, flag: bool = True) -> None:
        """Refused: the device has one queue. Several threads may read it."""
        raise PytunError(errno.EOPNOTSUPP, f"'{self.name}' has one queue; several threads may read it")

    def up(self, capacity: int = DEFAULT_RING_CAPACITY) -> None:
        """Starts. `capacity`: the ring's, in bytes, a power of two from 0x20000 to 0x4000000."""
        try:
            if capacity != self._device.ring_capacity:
                self._device.ring_capacity = capacity
        except ValueError as error:
            raise PytunError(errno.EINVAL, str(error)) from error
        self._device.up()

    def down(self) -> None:
        """Ends what up() started. Blocked readers get OSError."""
        self._device.down()

    def close(self) -> None:
        """Removes the interface; idempotent. Blocked readers get OSError."""
        with self._descriptor_lock:  # a copy that stayed open would keep the interface
            self._device.close()
            if self._release_descriptor is not None:
                self._release_descriptor()

    def fileno(self) -> int:
        """A descriptor that is readable while a packet can be read, and writable, as programs that `select` expect.

        On Linux it is the system's own, open until close(): this class never leaves a packet in the ring, so what the
        kernel has is all there is. Elsewhere it is `TunDevice.fileno()`.
        """
        if sys.platform == "win32":
            return self._device.fileno()
        with self._descriptor_lock:
            if self._release_descriptor is None or self._device.closed:
                self._descriptor = self._device.open_packet_descriptor()
                self._release_descriptor = weakref.finalize(self, os.close, self._descriptor)
            return self._descriptor

    def read(self, size: Union[int, None] = None) -> Union[bytes, None]:
        """Waits for a packet; None after cancel_read().

        On Linux, `size` is the most to return, in bytes: what is longer is cut off, as by the system's own device.
        The packet comes behind 4 bytes of packet information unless the device was made with IFF_NO_PI.
        On Windows, `size` is the limit of the wait in milliseconds: TimeoutError after it.
        """
        if sys.platform == "win32":
            return self._read_for(size)
        if size is not None and size <= 0:
            raise ValueError(f"size {size}: must be above 0")
        packet = self._device.read(timeout=None)
        if packet is not None and self._has_information:
            packet = _INFORMATION[packet[0] >> 4] + packet
        return packet[:size] if packet is not None else None

    def _read_for(self, milliseconds: Union[int, None]) -> Union[bytes, None]:
        if milliseconds is None or milliseconds == 0xFFFFFFFF:
            return self._device.read(timeout=None)
        return self._device.read(timeout=milliseconds / 1000)

    def cancel_read(self) -> None:
        """Wakes those who are blocked in read() at this moment."""
        self._device.cancel_read()

    async def async_read(self) -> Union[bytes, None]:
        """Waits for a packet, and gives it without packet information. Cancelling loses none."""
        return await self._device.async_read()

    async def async_read_batch(self) -> list[bytes]:
        """Waits for a packet, and gives what is there, in order, without packet information. Cancelling loses none."""
        return await self._device.async_read_batch()

    def write(self, data: Buffer) -> int:
        """Sends a packet, with or without packet information in front, and returns the size of `data`.

        Never blocks: a packet that finds the ring full is dropped and counted.
        """
        try:
            with contextlib.suppress(BlockingIOError):  # counted by the device
                self._device.write(data)
        except ValueError as error:
            raise PytunError(errno.EINVAL, str(error)) from error
        return memoryview(data).nbytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TunTapDevice on {self._device!r}>"


def _make_unnamed() -> TunDevice:
    if sys.platform == "win32":
        return TunDevice(DEFAULT_ADAPTER_NAME)
    # Its name begins with tun: pymobiledevice3's daemon takes another name for a new USB link.
    for number in range(_MAX_INTERFACES):
        name = f"tun{number}"
        try:
            socket.if_nametoindex(name)  # also a persistent one, which TunDevice would open
        except OSError:
            try:
                return TunDevice(name)
            except FileExistsError:
                continue  # somebody else was faster
    raise PytunError(errno.ENOSPC, f"{_MAX_INTERFACES} TUN interfaces: {os.strerror(errno.ENOSPC)}")
