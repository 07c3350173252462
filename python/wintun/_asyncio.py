"""Reading in asyncio: no thread, and no packet is lost when a read is cancelled.

A read that finds nothing waits for the loop to see the wait descriptor readable, and then reads in its own task: so a
packet is taken only by code that returns it without another await. Each loop watches a descriptor of its own, a copy:
its number cannot be used again by others while it is watched, and it becomes readable when the device goes down or
is closed, from whichever thread. Tasks of one loop share one; each loop's state is touched in its own thread only.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Callable, Optional, TypeVar

from . import _native

_Self = TypeVar("_Self", bound="AsyncReading")
_Result = TypeVar("_Result")

# After so many reads that found a packet at once, the loop's other tasks get a turn.
_READS_A_TURN = 32


class _Watch:
    """The tasks of one loop that wait for packets of one device. In that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # it holds us, by a key that must not live because of us
        self.waiters: deque[asyncio.Future[bool]] = deque()
        self.descriptor = -1
        self.reads = 0

    def start(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.add_reader(descriptor, self._readable)
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptor = descriptor

    def stop(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(descriptor)
        os.close(descriptor)

    def _readable(self) -> None:
        # One task: more would find the packet gone. If there is another packet, the loop calls this again.
        if self.waiters:
            self._wake(self.waiters.popleft(), True)
        if not self.waiters:
            self.stop()

    def cancel(self, waiters: Sequence[asyncio.Future[bool]]) -> None:
        for waiter in waiters:
            self._wake(waiter, False)
            self.leave(waiter)

    def leave(self, waiter: asyncio.Future[bool]) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        if not self.waiters:
            self.stop()

    @staticmethod
    def _wake(waiter: asyncio.Future[bool], readable: bool) -> None:
        if not waiter.done():
            waiter.set_result(readable)

    def __del__(self) -> None:
        # The loop ended while tasks were waiting; it watches nothing any more.
        if self.descriptor >= 0:
            os.close(self.descriptor)


class Watches:
    """A watch for each loop. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = weakref.WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop) -> _Watch:
        with self._lock:
            watch = self._of.get(loop)
            if watch is None:
                watch = self._of[loop] = _Watch(loop)
            return watch

    def cancel(self) -> None:
        with self._lock:
            watches = list(self._of.items())
        for loop, watch in watches:
            waiters = list(watch.waiters)  # those of this moment; one call of C, so no other thread comes between
            if waiters:
                try:
                    loop.call_soon_threadsafe(watch.cancel, waiters)
                except RuntimeError:  # the loop was closed meanwhile, and nobody waits there
                    pass


class AsyncReading(_native.Device):
    """The asyncio part of TunDevice."""

    __slots__ = ()

    _async: Watches  # a slot of TunDevice

    def _init_async(self) -> None:
        self._async = Watches()

    async def async_read(self) -> Optional[bytes]:
        """One packet, when there is one. None after `cancel_read()`.

        Any number of tasks and loops may read; each packet goes to one of them. Cancelling loses no packet.

        Raises:
            OSError: as `read()`; EBADF when it is closed, from whichever thread.
        """
        return await self._async_next(self.read)

    async def async_read_batch(self) -> list[bytes]:
        """The packets that are there, at least one, in order; as `read_many()`. Empty after `cancel_read()`.

        Raises:
            OSError: as `async_read()`.
        """
        return await self._async_next(self.read_many) or []

    async def _async_next(self, read: Callable[[], Optional[_Result]]) -> Optional[_Result]:
        loop = asyncio.get_running_loop()
        watch = self._async.of(loop)
        watch.reads += 1
        if watch.reads >= _READS_A_TURN:
            watch.reads = 0
            await asyncio.sleep(0)
        while True:
            result = read()
            if result:
                return result
            watch.reads = 0
            if not await self._async_readable(loop, watch):
                return None

    async def _async_readable(self, loop: asyncio.AbstractEventLoop, watch: _Watch) -> bool:
        if watch.descriptor < 0:
            watch.start(self.wait_descriptor(), loop)
        waiter: asyncio.Future[bool] = loop.create_future()
        watch.waiters.append(waiter)
        try:
            return await waiter
        finally:
            watch.leave(waiter)

    def cancel_read(self) -> None:
        """Wake whoever waits for a packet at this moment, in a thread or a task, once: their reads give None."""
        super().cancel_read()
        self._async.cancel()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Packet after packet, until the device is closed: OSError. cancel_read() ends the iteration."""
        return self._async_packets()

    async def _async_packets(self) -> AsyncIterator[bytes]:
        while True:
            packet = await self.async_read()
            if packet is None:
                return
            yield packet

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
