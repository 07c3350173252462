"""What a program does in the TCP rows, and what it costs: connections that take or bring as much as they can.

The same for every stack: `dial()` gives asyncio's streams, `connect()` a blocking socket. Bytes are those that the
receiver has got, so a download is counted here and an upload by the peer (tcp_peer.py). The figures are of a part from
the middle: first the windows open, and the end is not waited for.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import mmap
import os
import resource
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from tcp_peer import BLOCK

LIMIT = 1 << 18  # bytes of a StreamReader, the same for all
BLOCK_SIZE = 1 << 18  # bytes that a writer brings at a time
DIALS = 50  # connections that are made at the same time


@dataclass
class Load:
    """What to do. `direction`: D to download, U to upload, E to hold connections open and idle."""

    direction: str
    connections: int
    warm: float  # seconds before the part that counts
    seconds: float
    counter: int  # descriptor of the peer's counter
    ahead: int = 0  # bytes that may be written before the peer has them, of all connections; 0: any number
    relay_cpu: Callable[[], float] = float  # seconds, of the relay's thread if it is in this process

    def peer_count(self) -> memoryview:
        return memoryview(mmap.mmap(self.counter, mmap.PAGESIZE)).cast("Q")


def cpu() -> float:
    """Seconds of CPU that this process has used, user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


class _Mallinfo2(ctypes.Structure):
    # In the C library's order. The names are its own, where one is used here.
    _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "hblkhd", "f", "g", "uordblks", "i", "j")]


def heap() -> int:
    """Bytes in use of the C library's heap, from which lwIP takes all it needs. Of one arena: MALLOC_ARENA_MAX=1."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # no glibc, or one older than 2.33
        return 0
    mallinfo2.restype = _Mallinfo2
    counts = mallinfo2()
    return int(counts.uordblks + counts.hblkhd)


class Meter:
    """From begin() to end(): what came, what it took."""

    def __init__(self, count: Callable[[], int], relay_cpu: Callable[[], float]) -> None:
        self._count, self._relay_cpu = count, relay_cpu
        self._resident = resident()

    def begin(self) -> None:
        self._start, self._cpu, self._bytes = time.monotonic(), cpu(), self._count()
        self._relay_start = self._relay_cpu()

    def end(self) -> dict[str, Any]:
        seconds, used = time.monotonic() - self._start, cpu() - self._cpu
        moved = self._count() - self._bytes
        return {
            "gbit_s": moved * 8e-9 / seconds,
            "cpu_s_per_gb": used / (moved * 1e-9) if moved else None,
            "relay_busy": (self._relay_cpu() - self._relay_start) / seconds or None,
            "mib": (resident() - self._resident) / (1 << 20),
        }


async def streams(dial: Callable[[], Any], load: Load) -> dict[str, float]:
    """By asyncio's streams."""
    if load.direction == "E":
        return await _hold(dial, load)
    got, written, peer = 0, 0, load.peer_count()
    meter = Meter(lambda: got if load.direction == "D" else peer[0], load.relay_cpu)

    async def download(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        writer.write(b"D")
        while data := await reader.read(LIMIT):
            got += len(data)
        raise ConnectionError("the peer has ended a download")

    async def upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"U")
        while True:
            while load.ahead and written - peer[0] > load.ahead:
                await asyncio.sleep(0.001)
            writer.write(BLOCK[:BLOCK_SIZE])
            written += BLOCK_SIZE
            await writer.drain()

    pairs = await _dial_all(dial, load.connections)
    work = download if load.direction == "D" else upload
    tasks = [asyncio.ensure_future(work(*pair)) for pair in pairs]
    await _sleep(load.warm, tasks)
    meter.begin()
    await _sleep(load.seconds, tasks)
    figures = meter.end()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _, writer in pairs:
        writer.transport.abort()
    return figures


async def _dial_all(dial: Callable[[], Any], count: int) -> list[Any]:
    pairs: list[Any] = []
    while len(pairs) < count:
        pairs += await asyncio.gather(*(dial() for _ in range(min(DIALS, count - len(pairs)))))
    return pairs


async def _sleep(seconds: float, tasks: list[Any]) -> None:
    """A task that fails ends the measurement: a figure without it would be of something else."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _hold(dial: Callable[[], Any], load: Load) -> dict[str, float]:
    async def opened() -> Any:
        reader, writer = await dial()
        writer.write(b"E")
        assert await reader.readexactly(1) == b"E"
        return reader, writer

    held = await _dial_all(opened, 2)  # what the first one needs is no connection's
    gc.collect()
    before, heap_before = resident(), heap()
    held += await _dial_all(opened, load.connections)
    gc.collect()
    figures = {
        "rss": (resident() - before) / load.connections,
        "heap": (heap() - heap_before) / load.connections,
    }
    for _, writer in held:
        writer.transport.abort()
    return figures


def blocking(connect: Callable[[], Any], load: Load) -> dict[str, float]:
    """By one blocking socket, in a thread of its own."""
    peer, got, failed = load.peer_count(), [0], []
    meter = Meter(lambda: got[0] if load.direction == "D" else peer[0], load.relay_cpu)
    rtt = _round_trip(connect)
    connection = connect()
    ending = False

    def work() -> None:
        try:
            connection.sendall(load.direction.encode())
            buffer = bytearray(1 << 20)
            while not ending:
                if load.direction == "U":
                    connection.sendall(BLOCK[:BLOCK_SIZE])
                elif size := connection.recv_into(buffer):
                    got[0] += size
                else:
                    raise ConnectionError("the peer has ended a download")
        except BaseException as error:
            if not ending:
                failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(load.warm)
    meter.begin()
    time.sleep(load.seconds)
    figures = meter.end()
    ending = True
    if hasattr(connection, "abort"):
        connection.abort()
    else:
        connection.shutdown(2)
    thread.join()
    connection.close()
    if failed:
        raise failed[0]
    return {**figures, "rtt": rtt}


def _round_trip(connect: Callable[[], Any]) -> float:
    """Seconds that a connection takes to be made: the link's delay, with what the relay adds to it."""
    times = []
    for _ in range(5):
        start = time.monotonic()
        connection = connect()
        times.append(time.monotonic() - start)
        connection.close()
    return statistics.median(times)


def allow_many_descriptors() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def counter() -> int:
    """The memory that the peer counts in."""
    descriptor = os.memfd_create("counter")
    os.set_inheritable(descriptor, True)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor
