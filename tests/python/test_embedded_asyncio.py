"""asyncio on the embedded backend: streams and servers, TLS, cancelling, back-pressure, many connections."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from streams import THERE6 as THERE
from streams import echo, made_pair, run
from wintun import _native

pytestmark = [
    pytest.mark.no_device,
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
]


@pytest.fixture
def pair():
    with made_pair(mtu=16000) as both:
        yield both


def test_streams_carry_bytes_both_ways_and_end(pair):
    here, there = pair

    async def main():
        server = await there.start_server(echo, THERE, 0)
        assert server.is_serving() and server.address[0] == THERE
        reader, writer = await here.open_connection(*server.address)
        data = os.urandom(5_000_000)

        async def send():
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        sender = asyncio.ensure_future(send())
        assert await reader.read(-1) == data
        await sender
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        assert not server.is_serving()

    run(main())


def test_a_thousand_connections_in_one_loop(pair):
    here, there = pair

    async def client(address, number):
        reader, writer = await here.open_connection(*address)
        writer.write(b"%06d" % number)
        assert await reader.readexactly(6) == b"%06d" % number
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await there.start_server(echo, THERE, 0, backlog=255)
        for start in range(0, 1000, 100):
            await asyncio.gather(*(client(server.address, start + i) for i in range(100)))
        server.close()

    before = len(os.listdir("/proc/self/fd"))
    run(main())
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_slow_reader_holds_the_writer_back(pair):
    here, there = pair
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        try:
            while True:
                writer.write(bytes(1 << 20))
                sent += 1 << 20
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def main():
        server = await there.start_server(flood, THERE, 0)
        reader, writer = await here.open_connection(*server.address)
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.5)
        assert sent < 32 << 20
        assert len(await reader.readexactly(40 << 20)) == 40 << 20
        writer.transport.abort()
        server.close()
        await asyncio.sleep(0.1)

    run(main())


def test_cancelling_a_connect_leaves_nothing_behind(pair):
    here, _ = pair

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(here.open_connection("fd09::77", 80), 0.1)
        task = asyncio.ensure_future(here.open_connection("fd09::77", 80))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ConnectionRefusedError):
            await here.open_connection(THERE, 9)

    before = len(os.listdir("/proc/self/fd"))
    run(main())
    assert len(os.listdir("/proc/self/fd")) <= before


def test_cancelling_a_read_loses_no_byte(pair):
    here, there = pair

    async def main():
        server = await there.start_server(echo, THERE, 0)
        reader, writer = await here.open_connection(*server.address)
        for _ in range(20):
            task = asyncio.ensure_future(reader.readexactly(4))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            writer.write(b"abcd")
            assert await reader.readexactly(4) == b"abcd"
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main())


def test_errors_are_those_of_asyncio(pair):
    here, there = pair

    async def main():
        with pytest.raises(socket.gaierror):
            await here.open_connection("localhost", 80)
        server = await there.start_server(echo, THERE, 8000)
        with pytest.raises(OSError) as caught:
            await there.start_server(echo, THERE, 8000)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as caught:
            await there.start_server(echo, "fd09::77", 8001)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        reader, writer = await here.open_connection(THERE, 8000)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        here.close()
        with pytest.raises(OSError) as caught:
            await reader.readexactly(1)
        assert caught.value.errno == errno.ENODEV
        writer.close()
        server.close()

    run(main())


def test_an_abort_at_the_other_end_is_a_reset(pair):
    here, there = pair

    async def slam(reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()

    async def main():
        server = await there.start_server(slam, THERE, 0)
        reader, writer = await here.open_connection(*server.address)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        server.close()

    run(main())
