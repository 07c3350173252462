"""A drop-in for the package pywintunx_pmd3: `TunTapDevice` and its module functions, on our device.

The names and their behaviour are that package's. `write` never blocks: a full ring drops the packet and counts it.
Every error is `Error`, an OSError. Any thread may call anything.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Callable, Union

import wintun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer, Self

__all__ = ["Error", "TunTapDevice", "delete_driver", "get_driver_version", "set_logger"]


class Error(OSError):
    """With `errno`, what was being done, and why it failed."""


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Error(error.errno, error.strerror or str(error)) from error
    except ValueError as error:
        raise Error(errno.EINVAL, str(error)) from error


class TunTapDevice:
    """A TUN device, made at once.

    Args:
        name: The adapter's, 1 to 127 characters.
        type: The tunnel's, a text of the caller's choice.
        guid: As text; none: derived from the name.
        proto_aware: Once an address was given, only packets of a version that has one are sent; others are left out.

    Raises:
        Error: as `wintun.TunDevice`, with the same `errno`.
    """

    def __init__(
        self,
        name: str = "wintun",
        type: str = "wintun",  # noqa: A002 - its published name
        guid: Union[str, uuid.UUID, None] = None,
        proto_aware: bool = True,
    ) -> None:
        self._proto_aware = proto_aware
        self._versions: set[int] = set()  # of the addresses given; none given: nothing to be aware of
        with _errors():
            self._device = wintun.TunDevice(name or "wintun", type or "wintun", guid=guid or None)

    @property
    def name(self) -> str:
        """As it was given."""
        return self._device.name

    @property
    def statistics(self) -> Mapping[str, int]:
        """Packets, bytes and drops each way, as `wintun.TunDevice.statistics`."""
        return self._device.statistics

    @property
    def ring_capacity(self) -> int:
        """In bytes, a power of two from 0x20000 to 0x4000000. Set: counts from the next up()."""
        return self._device.ring_capacity

    @ring_capacity.setter
    def ring_capacity(self, value: int) -> None:
        with _errors():
            self._device.ring_capacity = value

    @property
    def addr(self) -> Union[str, None]:
        """The IPv6 address; None without one. Set: means /64 unless it comes with a prefix."""
        with _errors():
            return _text(self._device.addr6)

    @addr.setter
    def addr(self, value: str) -> None:
        with _errors():
            self._device.addr6 = value
        self._versions.add(6)

    @property
    def addr4(self) -> Union[str, None]:
        """The IPv4 address; None without one. Set: means /24 unless it comes with a prefix."""
        with _errors():
            return _text(self._device.addr4)

    @addr4.setter
    def addr4(self, value: str) -> None:
        with _errors():
            self._device.addr4 = value
        self._versions.add(4)

    @property
    def mtu(self) -> int:
        """Of IPv6, in bytes; 1280 at least. On Linux both versions have one."""
        with _errors():
            return self._device.mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        with _errors():
            if 0 < value < 1280:
                raise ValueError(f"MTU {value} of '{self.name}': IPv6 needs 1280")
            self._device.mtu = value

    @property
    def mtu4(self) -> int:
        """Of IPv4, in bytes. On Linux both versions have one."""
        with _errors():
            return self._device.mtu4

    @mtu4.setter
    def mtu4(self, value: int) -> None:
        with _errors():
            self._device.mtu4 = value

    @property
    def read_wait_event(self) -> int:
        """What the system can wait on for a packet: a descriptor, on Windows an event's handle. While up."""
        with _errors():
            return self._device.fileno()

    def up(self) -> None:
        """Starts the session."""
        with _errors():
            self._device.up()

    def down(self) -> None:
        """Ends the session. Blocked readers get Error."""
        with _errors():
            self._device.down()

    def close(self) -> None:
        """Removes the interface; idempotent. Blocked readers get Error."""
        with _errors():
            self._device.close()

    def read(self) -> Union[bytes, None]:
        """A packet, or None at once if there is none."""
        with _errors():
            return self._device.read()

    def wait_read_event(self) -> None:
        """Waits until there is a packet."""
        with _errors():
            self._device.wait_read_event()

    def write(self, data: Buffer) -> int:
        """Sends a packet and returns its size; 0 if `proto_aware` left it out.

        Never blocks: a packet that finds the ring full is dropped and counted.
        """
        view = memoryview(data)
        if self._proto_aware and self._versions and view.nbytes:
            version = view.cast("B")[0] >> 4
            if version in (4, 6) and version not in self._versions:
                return 0
        with _errors(), contextlib.suppress(BlockingIOError):  # counted by the device
            self._device.write(data)
        return view.nbytes

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


def _text(address: object) -> Union[str, None]:
    return None if address is None else str(address)


def set_logger(callback: Union[Callable[[int, int, str], object], None]) -> None:
    """`callback(level, ticks of 100 ns since 1601-01-01 UTC, text)`, from any thread; None: no more."""
    wintun.set_logger(callback)


def get_driver_version() -> int:
    """`major << 16 | minor`; Error if there is no driver."""
    with _errors():
        return wintun.get_driver_version()


def delete_driver() -> None:
    """Removes the driver where one was installed. On Linux it is part of this process, and there is nothing to do."""
