"""A link between two ends, with a delay and with losses: what netem would do, had every kernel netem.

A thread carries batches both ways, as they are: a burst is one object, and nothing is done for a packet unless one of
them is lost. The end under test and the peer's TUN are both read without waiting, so a burst can be any size.
An end is what has read_batch() and write_batch() as a wintun.TunDevice has them, and fileno().
"""

from __future__ import annotations

import math
import random
import select
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Optional

QUEUE = 5000  # packets that a direction holds, and the transmit queue of each TUN
HEADER = 40  # bytes, of IPv6
STREAM = 16 << 20  # bytes that may wait for room in a stream; then packets are dropped


class StreamEnd:
    """The end of a process that has its IPv6 packets from a stream, as pymobiledevice3's tunnels have them.

    It never waits, since the other process may have stopped reading and wait for us to read.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._came = b""
        self._goes = bytearray()
        self.ended = False

    @property
    def full(self) -> bool:
        """What was written waits for room in the stream: flush() when there is some."""
        return bool(self._goes) and not self.ended

    def fileno(self) -> int:
        return self._socket.fileno()

    def read_batch(self) -> list[bytes]:
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            data = b""
        self.ended = self.ended or not data
        self._came += data
        packets, at = [], 0
        while len(self._came) - at >= HEADER:
            end = at + HEADER + int.from_bytes(self._came[at + 4 : at + 6], "big")
            if end > len(self._came):
                break
            packets.append(self._came[at:end])
            at = end
        self._came = self._came[at:]
        return packets

    def write_many(self, packets: Any) -> int:
        if self.ended or len(self._goes) > STREAM:
            return 0
        for packet in packets:
            self._goes += packet
        self.flush()
        return len(packets)

    write_batch = write_many

    def flush(self) -> None:
        try:
            while self._goes:
                del self._goes[: self._socket.send(self._goes)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True


class _Line:
    """One direction."""

    def __init__(self, source: Any, target: Any, delay: float, loss: float, seed: int) -> None:
        self._source, self._target = source, target
        self._delay, self._loss = delay, loss
        self._random = random.Random(seed)
        self._waiting: deque[tuple[float, Any]] = deque()
        self._held = 0
        self._good = self._draw()  # packets until one is lost
        self.packets = self.lost = self.dropped = 0

    def take(self) -> bool:
        """What has come, onto the line. False: nothing had."""
        batch = self._source.read_batch()
        if not batch:
            return False
        self.packets += len(batch)
        if not self._delay:
            self._deliver(batch)
        elif self._held + len(batch) > QUEUE:
            self.dropped += len(batch)
        else:
            self._held += len(batch)
            self._waiting.append((time.monotonic() + self._delay, batch))
        return True

    def give(self) -> None:
        """What is due, to the other end."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            batch = self._waiting.popleft()[1]
            self._held -= len(batch)
            self._deliver(batch)

    def due(self) -> Optional[float]:
        return self._waiting[0][0] if self._waiting else None

    def _draw(self) -> int:
        return 1 << 62 if not self._loss else int(math.log(1 - self._random.random()) / math.log(1 - self._loss))

    def _deliver(self, batch: Any) -> None:
        if self._good >= len(batch):
            self._good -= len(batch)
            self._write(self._target.write_batch if hasattr(batch, "nbytes") else self._target.write_many, batch)
            return
        kept, start = [], 0
        while self._good < len(batch) - start:
            kept += batch[start : start + self._good]
            start += self._good + 1
            self.lost += 1
            self._good = self._draw()
        kept += batch[start:]
        self._good -= len(batch) - start
        if kept:
            self._write(self._target.write_many, kept)

    def _write(self, write: Any, packets: Any) -> None:
        try:
            self.dropped += len(packets) - write(packets)
        except BlockingIOError:
            self.dropped += len(packets)


class Relay:
    """A context manager. `delay`: seconds in each direction. `loss`: the part of all packets, in each direction."""

    def __init__(self, first: Any, second: Any, delay: float = 0.0, loss: float = 0.0, seed: int = 1) -> None:
        self._ends = (first, second)
        self._lines = (_Line(first, second, delay, loss, seed), _Line(second, first, delay, loss, seed + 1))
        self._told, self._tell = socket.socketpair()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="relay")
        self._error: Optional[BaseException] = None

    def cpu(self) -> float:
        """Seconds of CPU that the thread has used: what ends do in it, and the relay itself."""
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident or 0))

    @property
    def packets(self) -> int:
        return sum(line.packets for line in self._lines)

    @property
    def lost(self) -> int:
        """By intention."""
        return sum(line.lost for line in self._lines)

    @property
    def dropped(self) -> int:
        """Because a queue was full."""
        return sum(line.dropped for line in self._lines)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._ending = True
        self._tell.send(b"x")
        self._thread.join()
        self._tell.close()
        self._told.close()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        try:
            self._carry()
        except BaseException as error:
            self._error = error

    def _carry(self) -> None:
        lines, streams = self._lines, [end for end in self._ends if isinstance(end, StreamEnd)]
        while not self._ending:
            first_due = min((due for due in (line.due() for line in lines) if due is not None), default=None)
            wait = None if first_due is None else max(0.0, first_due - time.monotonic())
            ends = [end for end in self._ends if not getattr(end, "ended", False)]
            select.select([self._told, *ends], [stream for stream in streams if stream.full], [], wait)
            for stream in streams:
                stream.flush()
            moved = True
            while moved and not self._ending:
                moved = False
                for line in lines:
                    moved = line.take() or moved
                    line.give()
