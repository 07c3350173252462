"""TLS through the embedded stack: asyncio's own on its streams and servers, and OpenSSL in memory on a blocking one."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import ssl
import threading
from pathlib import Path

import pytest

from certificates import NAME
from streams import THERE6 as THERE
from streams import echo, made_pair, run
from wintun import _native
from wintun._stack_asyncio import StackTransport

pytestmark = [
    pytest.mark.no_device,
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stack.md"


@pytest.fixture
def pair():
    with made_pair(mtu=16000) as both:
        yield both


async def over(writer):
    writer.close()
    await writer.wait_closed()


def test_streams_and_servers_speak_tls(pair, certificate):
    here, there = pair

    async def main():
        async with await there.start_server(echo, THERE, 0, ssl=certificate.server) as server:
            reader, writer = await here.open_connection(
                *server.address, ssl=certificate.client, server_hostname=NAME, ssl_handshake_timeout=60
            )
            assert writer.get_extra_info("ssl_object").version().startswith("TLS")
            assert writer.get_extra_info("peername")[:2] == server.address
            content = os.urandom(3_000_000)
            sender = asyncio.ensure_future(send(writer, content))
            assert await reader.readexactly(len(content)) == content
            await sender
            await over(writer)

    async def send(writer, content):
        writer.write(content)
        await writer.drain()

    run(main())


def test_a_connection_in_the_clear_can_be_upgraded(pair, certificate):
    """As pymobiledevice3 does with services that ask for TLS after a few words."""
    here, there = pair

    async def upgrading(reader, writer):
        assert await reader.readline() == b"tls please\n"
        writer.write(b"go on\n")
        await writer.drain()
        await start_tls(reader, writer, certificate.server)
        await echo(reader, writer)

    async def start_tls(reader, writer, context, name=None):
        loop = asyncio.get_running_loop()
        if hasattr(writer, "start_tls"):
            await writer.start_tls(context, server_hostname=name)
        else:  # Python before 3.11
            protocol = writer.transport.get_protocol()
            transport = await loop.start_tls(
                writer.transport, protocol, context, server_side=name is None, server_hostname=name
            )
            writer._transport = reader._transport = protocol._transport = transport

    async def main():
        async with await there.start_server(upgrading, THERE, 0) as server:
            reader, writer = await here.open_connection(*server.address)
            writer.write(b"tls please\n")
            assert await reader.readline() == b"go on\n"
            await start_tls(reader, writer, certificate.client, NAME)
            content = os.urandom(100_000)
            writer.write(content)
            assert await reader.readexactly(len(content)) == content
            await over(writer)

    run(main())


def test_a_certificate_that_is_not_trusted_or_of_another_is_refused(pair, certificate, caplog):
    here, there = pair

    async def main():
        async with await there.start_server(echo, THERE, 0, ssl=certificate.server) as server:
            for options in (
                {"ssl": True, "server_hostname": NAME},  # not trusted
                {"ssl": certificate.client, "server_hostname": "other.test"},
                {"ssl": certificate.client},  # the name is the address then
            ):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await here.open_connection(*server.address, **options)
            while len(caplog.records) < 3:  # the server's side says so, and goes on
                await asyncio.sleep(0.01)
            reader, writer = await here.open_connection(*server.address, ssl=certificate.client, server_hostname=NAME)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await over(writer)

    with caplog.at_level("INFO", "wintun"):
        run(main())
        gc.collect()  # what asyncio would report as never looked at, it reports now
    assert all("'there': no TLS with [fd09::1]:" in record.getMessage() for record in caplog.records)


def test_who_speaks_no_tls_does_not_hold_the_server_up(pair, certificate):
    here, there = pair

    async def main():
        server = await there.start_server(echo, THERE, 0, ssl=certificate.server, ssl_handshake_timeout=0.2)
        silent_reader, silent = await here.open_connection(*server.address)
        loud_reader, loud = await here.open_connection(*server.address)
        loud.write(b"GET / HTTP/1.0\r\n\r\n")
        reader, writer = await here.open_connection(*server.address, ssl=certificate.client, server_hostname=NAME)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await over(writer)
        for stranger in (silent_reader, loud_reader):  # both are sent away
            try:
                while await stranger.read(1000):
                    pass
            except ConnectionResetError:
                pass
        silent.close()
        loud.close()
        server.close()

    run(main())


def test_cancelling_a_handshake_leaves_nothing_behind(pair, certificate):
    here, there = pair

    async def never(reader, writer):
        try:
            await reader.read(-1)
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    async def main():
        server = await there.start_server(never, THERE, 0)  # takes the greeting and says nothing
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(
                    here.open_connection(*server.address, ssl=certificate.client, server_hostname=NAME), 0.02
                )
        server.close()
        while any(isinstance(one, StackTransport) and not one.is_closing() for one in gc.get_objects()):
            await asyncio.sleep(0.01)

    run(main())  # what is made once has been made then
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    run(main())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_options_of_tls_that_make_no_sense_are_refused_at_once(pair, certificate):
    here, there = pair

    async def main():
        for options in ({"server_hostname": NAME}, {"ssl_handshake_timeout": 1}, {"ssl": None, "server_hostname": ""}):
            with pytest.raises(ValueError, match="ssl only"):
                await here.open_connection(THERE, 80, **options)
        for bad in ("yes", 1, object()):
            with pytest.raises(TypeError, match="SSLContext"):
                await here.open_connection(THERE, 80, ssl=bad)
            with pytest.raises(TypeError, match="SSLContext"):
                await there.start_server(echo, THERE, 0, ssl=bad)
        with pytest.raises(ValueError, match="ssl only"):
            await there.start_server(echo, THERE, 0, ssl_handshake_timeout=1)

    run(main())


def test_a_blocking_connection_speaks_tls_as_the_document_says(pair, certificate):
    here, there = pair
    (lines,) = re.findall(r"^```python\n(def tls_over.*?)```", PAGE.read_text(), re.M | re.S)
    names = {"ssl": ssl}
    exec(lines, names)  # noqa: S102
    address, done = [], threading.Event()

    def serve():
        async def main():
            async with await there.start_server(echo, THERE, 0, ssl=certificate.server) as server:
                address.append(server.address)
                done.set()
                await asyncio.get_running_loop().run_in_executor(None, finished.wait)

        asyncio.run(main())

    finished = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert done.wait(60)
        with here.create_connection(address[0], timeout=60) as connection:
            tls, send, receive = names["tls_over"](connection, certificate.client, NAME)
            assert tls.version().startswith("TLS")
            for content in (b"x", os.urandom(200_000)):
                send(content)
                got = b""
                while len(got) < len(content):
                    got += receive(65536)
                assert got == content
    finally:
        finished.set()
        thread.join()


def test_pythons_own_wrap_socket_says_that_it_wants_a_descriptor(pair, certificate):
    here, there = pair
    listener = _native.StackListener.listen(there, (bytes.fromhex("fd09" + "0" * 26 + "02"), 0), 1)
    with here.create_connection((THERE, listener.local[1]), timeout=60) as connection:
        with pytest.raises(OSError, match="SSLObject"):
            certificate.client.wrap_socket(connection, server_hostname=NAME)
        assert connection.getpeername()[0] == THERE  # and it is as it was
    listener.close()
