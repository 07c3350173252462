"""Two devices on a cable: a thread carries packets both ways, in batches, until it is told to stop. And half a cable,
whose other half may be in another process: a device at a socket, a message a packet."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType
from typing import Callable, Optional

import wintun


class Cable:
    """A context manager. `keep`: asked for each packet (from_first, packet); False loses it."""

    def __init__(
        self,
        first: wintun.TunDevice,
        second: wintun.TunDevice,
        keep: Optional[Callable[[bool, memoryview], bool]] = None,
    ) -> None:
        self._ends = (first, second)
        self._keep = keep
        self._told, self._tell = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="cable")

    def __enter__(self) -> Cable:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._tell.send(b"x")
        self._thread.join()
        self._tell.close()
        self._told.close()

    def _run(self) -> None:
        first, second = self._ends
        try:
            while not select.select([self._told, first, second], [], [])[0][:1] == [self._told]:
                while self._carry(first, second) or self._carry(second, first):
                    pass
        except (OSError, ValueError):  # a test closed a device: its descriptor is none any more
            pass

    def _carry(self, source: wintun.TunDevice, target: wintun.TunDevice) -> bool:
        batch = source.read_batch()
        if not batch:
            return False
        if self._keep is None:
            target.write_batch(batch)
        else:
            from_first = source is self._ends[0]
            target.write_many([bytes(packet) for packet in batch if self._keep(from_first, packet)])
        return True


class Plug:
    """A context manager: carries packets between a device and a SOCK_SEQPACKET socket, which it closes at its end."""

    def __init__(self, device: wintun.TunDevice, wire: socket.socket) -> None:
        self._device, self._wire = device, wire
        self._threads = [threading.Thread(target=self._from_wire), threading.Thread(target=self._to_wire)]

    def __enter__(self) -> Plug:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._wire.shutdown(socket.SHUT_RDWR)
        self._device.down()
        for thread in self._threads:
            thread.join()
        self._wire.close()

    def _from_wire(self) -> None:
        try:
            while packet := self._wire.recv(65536):
                try:
                    self._device.write(packet)
                except BlockingIOError:
                    pass  # counted by the device; TCP sends it again
        except OSError:
            pass  # the other half has gone, or the device is down

    def _to_wire(self) -> None:
        try:
            while (packet := self._device.read(timeout=None)) is not None:
                self._wire.send(packet)
        except OSError:
            pass
