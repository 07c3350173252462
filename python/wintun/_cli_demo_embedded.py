"""The demo's embedded part: two hosts in this process, each a TCP/IP stack behind a device, and a cable between them.
One serves HTTP, the other pings it and downloads; no kernel interface, no rights.

Three threads: the cable's carries packets both ways, as any program with a device would; the server's is an event
loop; the main one is the client, and shows.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import http.client
import os
import select
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Optional

import wintun
from wintun._cli_output import LiveTable, Output

NOT_BUILT = errno.EOPNOTSUPP
_CLIENT = ("10.3.0.1", "fd00:3::1")
_SERVER = ("10.3.0.2", "fd00:3::2")
_PORT = 80
_PATIENCE = 20.0  # seconds for one answer, on any machine
_MTU = 1420
_CHUNK = 0x40000


@dataclass
class _Peer:
    """What was seen of the server at one of its addresses."""

    address: str
    pings: int = 0
    fastest_us: int = 0
    downloaded: int = 0
    megabits_per_second: float = 0.0
    whole: bool = False  # every byte, by its checksum


class _Cable:
    """Carries packets between two devices until it is left."""

    def __init__(self, first: wintun.TunDevice, second: wintun.TunDevice) -> None:
        self._ends = (first, second)
        self._told, self._tell = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)

    def __enter__(self) -> _Cable:
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._tell.send(b"x")
        self._thread.join()
        self._tell.close()
        self._told.close()

    def _run(self) -> None:
        first, second = self._ends
        watched: list[Any] = [self._told, first, second]
        while self._told not in select.select(watched, [], [])[0]:
            for source, target in ((first, second), (second, first)):
                batch = source.read_batch()
                if batch:
                    # A full ring drops and counts, as every network does; TCP sends it again.
                    with suppress(BlockingIOError):
                        target.write_batch(batch)


class _Server:
    """Answers every request with the same body, at both addresses of its device."""

    def __init__(self, device: wintun.TunDevice, body: bytes) -> None:
        self._device, self._body = device, body
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._ready = threading.Event()
        self._error: Optional[BaseException] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stop: Optional[asyncio.Event] = None

    def __enter__(self) -> _Server:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # before it was ready: the main thread raises it
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        for host in _SERVER:
            await self._device.start_server(self._answer, host, _PORT)
        self._ready.set()
        await self._stop.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # the client sees it too, and says it
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._body))
            body = memoryview(self._body)
            for begin in range(0, len(body), _CHUNK):
                writer.write(body[begin : begin + _CHUNK])
                await writer.drain()
            writer.close()
            await writer.wait_closed()


class _View:
    """A live table on a terminal, plain lines elsewhere."""

    def __init__(self, output: Output, peers: list[_Peer], size: int) -> None:
        self._table = LiveTable(output)
        self._peers, self._size = peers, size

    def pinged(self, peer: _Peer, seconds: float) -> None:
        self._table.line(f"ping {peer.address}: {seconds * 1000:.3f} ms")
        self.update()

    def downloaded(self, peer: _Peer) -> None:
        what = "every byte as it was sent" if peer.whole else "NOT what was sent"
        self._table.line(
            f"HTTP from {peer.address}: {peer.downloaded:,} of {self._size:,} bytes, {what} (SHA-256), "
            f"{peer.megabits_per_second:,.0f} Mbit/s"
        )
        self.update(last=True)

    def update(self, last: bool = False) -> None:
        rows = [
            (peer.address, peer.pings, peer.fastest_us, peer.downloaded, peer.megabits_per_second)
            for peer in self._peers
        ]
        self._table.update(("peer", "pings", "fastest us", "bytes downloaded", "Mbit/s"), rows, last)

    def close(self) -> None:
        self._table.close()


def _ping(device: wintun.TunDevice, peer: _Peer, count: int, view: _View) -> None:
    for _ in range(count):
        seconds = device.ping(peer.address, _PATIENCE)
        peer.pings += 1
        peer.fastest_us = min(round(seconds * 1e6), peer.fastest_us or 1 << 40)
        view.pinged(peer, seconds)


def _download(device: wintun.TunDevice, peer: _Peer, digest: bytes, view: _View) -> None:
    """Python's own HTTP client, on a connection of the stack's."""
    client = http.client.HTTPConnection(peer.address, _PORT)
    start = time.monotonic()
    client.sock = device.create_connection((peer.address, _PORT), timeout=_PATIENCE)
    seen = hashlib.sha256()
    try:
        client.request("GET", "/")
        response = client.getresponse()
        while data := response.read(_CHUNK):
            seen.update(data)
            peer.downloaded += len(data)
            peer.megabits_per_second = round(peer.downloaded * 8e-6 / max(time.monotonic() - start, 1e-6), 1)
            view.update()
    finally:
        client.close()
    peer.whole = seen.digest() == digest
    view.downloaded(peer)


def _make(stack: ExitStack, name: str, addresses: tuple[str, str]) -> wintun.TunDevice:
    device = stack.enter_context(wintun.TunDevice(name, "wintun demo", backend="embedded"))
    device.mtu = _MTU
    for address in addresses:
        device.add_address(address)
    device.up()
    return device


def run(output: Output, quick: bool) -> dict[str, Any]:
    """Runs it.

    Returns:
        The results; `ok`: every ping was answered, and every byte of the downloads was the one that was sent.
    """
    pings, size = (1, 1 << 20) if quick else (5, 32 << 20)
    body = os.urandom(size)
    peers = [_Peer(address) for address in _SERVER]
    with ExitStack() as stack:
        client = _make(stack, "client", _CLIENT)
        server = _make(stack, "server", _SERVER)
        output.line(
            f"embedded: a TCP/IP stack in this process at {', '.join(_CLIENT)}, MTU {client.mtu}; it pings another at "
            f"{', '.join(_SERVER)}, and downloads from it"
        )
        stack.enter_context(_Cable(client, server))
        stack.enter_context(_Server(server, body))
        view = _View(output, peers, size)
        stack.callback(view.close)
        for peer in peers:
            _ping(client, peer, pings, view)
        for peer in peers:
            _download(client, peer, hashlib.sha256(body).digest(), view)
        counted = dict(client.statistics)
    ok = all(peer.whole and peer.downloaded == size for peer in peers)
    output.line(
        f"{sum(peer.downloaded for peer in peers):,} bytes came in "
        f"{counted['sent_packets']:,} packets and went to an HTTP client; "
        + ("all came through; nothing is left" if ok else "NOT all came through")
    )
    return {"ok": ok, "bytes": size, "peers": [asdict(peer) for peer in peers], "statistics": counted}
