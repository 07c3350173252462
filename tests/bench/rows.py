"""The variants that run.py measures. One thread, but for the wake-ups."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import resource
import select
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Callable, Optional

import wintun
from packets import udp

try:
    import pytun
except ImportError:
    pytun = None

QUEUE = 5000  # packets of a TUN's transmit queue, the same for all
BURST = 400
NOWHERE = "192.0.2.1"  # no address of this namespace, which forwards nothing: the kernel drops at once what goes there
SIZES = (64, 1400)
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def raw_tun(name: str) -> int:
    """A non-blocking TUN descriptor, the plainest way."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Bench:
    """The devices, all up, each in a network of its own."""

    def __init__(self, scale: float) -> None:
        self._repeats = max(1, int(20 * scale))
        self._calls = max(10, int(20_000 * scale))
        self._wakes = max(5, int(300 * scale))
        self._clean = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        self._tun = self._clean.enter_context(wintun.TunDevice("benchours"))
        self._tun.up()
        self._network("benchours", 1)
        self._raw = raw_tun("benchraw")
        self._clean.callback(os.close, self._raw)
        self._network("benchraw", 2)
        if pytun is not None:
            self._pytun = pytun.TunTapDevice("benchpytun", pytun.IFF_TUN | pytun.IFF_NO_PI)
            self._clean.callback(self._pytun.close)
            self._network("benchpytun", 3)
        self._socket = self._clean.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._clean.close()

    @staticmethod
    def _network(interface: str, number: int) -> None:
        for command in (
            f"ip link set {interface} txqueuelen {QUEUE} addrgenmode none up",
            f"ip address add 10.99.{number}.1/24 dev {interface}",
        ):
            subprocess.run(command.split(), check=True)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """(name, unit, variants, peer, goal, stretch), see run.Row; the goals are those of the project."""
        tun, raw, read, write = self._tun, self._raw, os.read, os.write
        for size in SIZES:
            variants = {
                "wintun": self._reading(1, size, tun.read),
                "os.read": self._reading(2, size, read, raw, 2048),
            }
            if pytun is not None:
                variants["python-pytun"] = self._reading(3, size, self._pytun.read, 2048)
            yield f"read {size} B", "CPU ns a packet", variants, "os.read", 1.0, 0.8
        yield (
            "read nothing",
            "CPU ns a call",
            {"wintun": self._calling(tun.read), "os.read": self._calling(lambda: _read_nothing(raw))},
            "os.read",
            0.4,
            0.1,
        )
        for size in SIZES:
            packet = udp("10.99.9.9", NOWHERE, 1, 2, bytes(size - 28))
            variants = {
                "wintun": self._calling(tun.write, packet),
                "os.write": self._calling(write, raw, packet),
            }
            if pytun is not None:
                variants["python-pytun"] = self._calling(self._pytun.write, packet)
            yield f"write {size} B", "CPU ns a packet", variants, "os.write", 1.05, 0.95
        for size in SIZES:
            packets = [udp("10.99.9.9", NOWHERE, 1, 2, bytes(size - 28))] * 64
            batches = {"wintun": self._reading_many(size)}
            writes = {"wintun": self._calling(tun.write_many, packets, packets_a_call=64)}
            peer_read, peer_write = "os.read", "os.write"
            batches["os.read"] = self._reading(2, size, read, raw, 2048)
            writes["os.write"] = self._calling(write, raw, packets[0])
            yield f"read_many {size} B", "CPU ns a packet", batches, peer_read
            yield f"write_many {size} B", "CPU ns a packet", writes, peer_write
        event = os.eventfd(0, os.EFD_CLOEXEC) if hasattr(os, "eventfd") else None
        if event is not None:
            self._clean.callback(os.close, event)
            poll = select.poll()
            poll.register(raw, select.POLLIN)
            to_raw = self._send_to(2)
            yield (
                "wake-up",
                "ns from before the send to after the wait, p50",
                {
                    "wintun": self._waking(tun.wait_read_event, self._send_to(1), tun.read),
                    "poll, raw TUN": self._waking(poll.poll, self._send_to(2), lambda: read(raw, 2048)),
                    # The same send first, so that only the way of waking differs.
                    "send, eventfd": self._waking(
                        lambda: os.eventfd_read(event),
                        lambda: (to_raw(), os.eventfd_write(event, 1)),
                        lambda: read(raw, 2048),
                    ),
                    "eventfd alone": self._waking(
                        lambda: os.eventfd_read(event), lambda: os.eventfd_write(event, 1), lambda: None
                    ),
                },
                "send, eventfd",
                1.2,
                1.0,
            )

    def _send_to(self, number: int, size: int = 64) -> Callable[[], object]:
        address, content = (f"10.99.{number}.2", 4000), bytes(size - 28)
        return lambda: self._socket.sendto(content, address)

    def _reading(self, number: int, size: int, read: Callable[..., object], *arguments: object) -> Callable[[], float]:
        def measure() -> float:
            send, total = self._send_to(number, size), 0.0
            for _ in range(self._repeats):
                for _ in range(BURST):
                    send()
                start = cpu()
                for _ in itertools.repeat(None, BURST):
                    read(*arguments)
                total += cpu() - start
            return total * 1e9 / (BURST * self._repeats)

        return measure

    def _reading_many(self, size: int) -> Callable[[], float]:
        def measure() -> float:
            send, total, read_many = self._send_to(1, size), 0.0, self._tun.read_many
            for _ in range(self._repeats):
                for _ in range(BURST):
                    send()
                start, got = cpu(), 0
                while got < BURST:
                    got += len(read_many())
                total += cpu() - start
            return total * 1e9 / (BURST * self._repeats)

        return measure

    def _calling(self, call: Callable[..., object], *arguments: object, packets_a_call: int = 1) -> Callable[[], float]:
        count = self._calls // packets_a_call

        def measure() -> float:
            start = cpu()
            for _ in itertools.repeat(None, count):
                call(*arguments)
            return (cpu() - start) * 1e9 / (count * packets_a_call)

        return measure

    def _waking(
        self, wait: Callable[[], object], send: Callable[[], object], take: Callable[[], object]
    ) -> Callable[[], float]:
        def measure() -> float:
            woken: list[int] = []
            answer = os.pipe()

            def body() -> None:
                for _ in range(self._wakes):
                    wait()
                    woken.append(time.perf_counter_ns())
                    take()
                    os.write(answer[1], b"x")

            thread = threading.Thread(target=body)
            thread.start()
            sent = []
            for _ in range(self._wakes):
                time.sleep(0.0003)  # the other one has gone to sleep by then, nearly always
                sent.append(time.perf_counter_ns())
                send()
                os.read(answer[0], 1)
            thread.join()
            for end in answer:
                os.close(end)
            return statistics.median(after - before for before, after in zip(sent, woken))

        return measure


def _read_nothing(descriptor: int) -> None:
    try:
        os.read(descriptor, 2048)
    except BlockingIOError:
        pass
