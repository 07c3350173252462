"""pymobiledevice3's own tunnel classes on the embedded backend, against a phone that is a kernel behind a TUN device.

Everything of theirs is real; `wintun.compat.pymobiledevice3` is used as its docstring says. The phone's kernel is in
the test's own network namespace; the host's side needs no right and has no interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct

import pytest

from packets import HOST6, PEER6
from wintun import _native
from wintun.compat import pymobiledevice3 as on_wintun
from wintun.compat.pytun_pmd3 import TunTapDevice

tunnel_service = pytest.importorskip("pymobiledevice3.remote.tunnel_service")
pytestmark = pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")

MTU = 16000
HANDSHAKE = {"clientParameters": {"address": HOST6, "mtu": MTU}, "serverAddress": PEER6, "serverRSDPort": 58783}


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 100))


class Phone:
    """The far end: answers the handshake, then a kernel device carries the packets into this namespace."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self.longest = 0

    async def run(self):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            header = await self._reader.readexactly(10)
            await self._reader.readexactly(struct.unpack(">H", header[8:])[0])
            body = json.dumps(HANDSHAKE).encode()
            self._writer.write(b"CDTunnel" + struct.pack(">H", len(body)) + body)
            with TunTapDevice("phone") as tun:
                tun.addr, tun.mtu = PEER6, MTU
                tun.up()
                task = asyncio.ensure_future(self._send(tun))
                try:
                    while True:
                        header = await self._reader.readexactly(40)
                        packet = header + await self._reader.readexactly(struct.unpack(">H", header[4:6])[0])
                        self.longest = max(self.longest, len(packet))
                        tun.write(packet)
                finally:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
        self._writer.close()

    async def _send(self, tun):
        while True:
            for packet in await tun.async_read_batch():
                if packet[0] >> 4 == 6:
                    self._writer.write(packet)
            await self._writer.drain()


class Service:
    """What pymobiledevice3 calls a ServiceConnection, over our end of the stream."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    async def sendall(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def recvall(self, size):
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise tunnel_service.ConnectionTerminatedError from error

    async def close(self):
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def proxied():
    """By CoreDeviceTunnelProxy: packets through a ServiceConnection."""
    near, far = socket.socketpair()
    phone = Phone(*await asyncio.open_connection(sock=far))
    task = asyncio.ensure_future(phone.run())
    proxy = tunnel_service.CoreDeviceTunnelProxy(Service(*await asyncio.open_connection(sock=near)), "phone")
    async with proxy.start_tcp_tunnel() as tunnel:
        yield tunnel.client, phone
    await proxy.close()
    await task


@contextlib.asynccontextmanager
async def streamed():
    """By RemotePairingTcpTunnel: packets through a reader and a writer."""
    near, far = socket.socketpair()
    phone = Phone(*await asyncio.open_connection(sock=far))
    task = asyncio.ensure_future(phone.run())
    tunnel = tunnel_service.RemotePairingTcpTunnel(*await asyncio.open_connection(sock=near))
    answer = await tunnel.request_tunnel_establish()
    await tunnel.start_tunnel(answer["clientParameters"]["address"], answer["clientParameters"]["mtu"])
    try:
        yield tunnel, phone
    finally:
        await tunnel.stop_tunnel()
        await task


async def connect(tunnel, port):
    """As ServiceConnection.create_using_tcp does it, which tries until the phone's interface is there."""
    for _ in range(200):
        try:
            return await on_wintun.dial(tunnel)(PEER6, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    raise AssertionError("the phone's server never came")


async def serve(reader, writer):
    """Takes an upload to its end, and sends as much back."""
    size = len(await reader.read(-1))
    writer.write(bytes(size))
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("path", [proxied, streamed])
@pytest.mark.parametrize("limit", [None, 8192])
def test_uploads_and_downloads_go_through_the_tunnel(path, limit):
    async def main():
        server = await asyncio.start_server(serve, "::", 0)
        port = server.sockets[0].getsockname()[1]
        with on_wintun.tunnel_devices(packet_limit=limit):
            async with path() as (tunnel, phone):
                assert isinstance(tunnel.tun, on_wintun.TunnelDevice)
                assert (tunnel.tun.addr, tunnel.tun.mtu) == (HOST6, MTU)
                reader, writer = await connect(tunnel, port)
                assert writer.get_extra_info("socket") is not None
                content = os.urandom(5_000_000)
                writer.write(content)
                await writer.drain()
                writer.write_eof()
                assert len(await reader.read(-1)) == len(content)
                writer.close()
                await writer.wait_closed()
        assert phone.longest <= (limit or MTU)
        assert phone.longest > (limit or MTU) - 200
        server.close()
        await server.wait_closed()

    run(main())


def test_a_hundred_tunnels_one_after_another_leak_nothing():
    async def one(port):
        async with proxied() as (tunnel, _):
            reader, writer = await connect(tunnel, port)
            writer.write(b"x")
            writer.write_eof()
            assert len(await reader.read(-1)) == 1
            writer.close()
            await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(serve, "::", 0)
        port = server.sockets[0].getsockname()[1]
        with on_wintun.tunnel_devices():
            await one(port)
            before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
            for _ in range(100):
                await one(port)
            assert (len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))) == before
        server.close()

    run(main())


def test_their_own_connection_class_dials_through_the_tunnel():
    from pymobiledevice3.service_connection import ServiceConnection

    async def main():
        server = await asyncio.start_server(serve, "::", 58783)
        with on_wintun.tunnel_devices():
            async with proxied() as (tunnel, _):
                _, writer = await connect(tunnel, 58783)
                writer.close()
                connection = await ServiceConnection.create_using_tcp(
                    PEER6, 58783, open_connection=on_wintun.dial(tunnel)
                )
                await connection.sendall(b"hello")
                connection.writer.write_eof()
                assert await connection.recvall(5) == bytes(5)
                await connection.close()
        server.close()

    run(main())


@pytest.mark.no_device
def test_what_they_had_before_comes_back():
    before = tunnel_service.create_tun_device
    with on_wintun.tunnel_devices():
        assert tunnel_service.create_tun_device is not before
    assert tunnel_service.create_tun_device is before
    with pytest.raises(ValueError, match="kernel"), on_wintun.tunnel_devices("nonsense"):
        pass
    with pytest.raises(TypeError, match="tunnel"):
        on_wintun.dial(object())
