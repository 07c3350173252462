"""pymobiledevice3 with `wintun.compat.pymobiledevice3`, as docs/pymobiledevice3.md says it, on both backends.

Their tunnels, their TLS, their service discovery and service connections are real; the phone is a process with a
network namespace of its own (phone.py), so nothing but the tunnel leads to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import socket
import ssl
import sys
from pathlib import Path
from unittest import mock

import pytest

from packets import HOST6, PEER6
from wintun import _native
from wintun.compat import pymobiledevice3 as on_wintun
from wintun.compat.pytun_pmd3 import TunTapDevice

tunnel_service = pytest.importorskip("pymobiledevice3.remote.tunnel_service")
phone_module = pytest.importorskip("phone")
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService  # noqa: E402
from pymobiledevice3.service_connection import ServiceConnection  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2:DeprecationWarning"),  # theirs, before Python 3.13
]

MTU, UDID, SINK_PORT = phone_module.MTU, phone_module.UDID, phone_module.SINK_PORT
PAGE = Path(__file__).resolve().parents[2] / "docs" / "pymobiledevice3.md"
KEY = bytes(range(32))

both_backends = pytest.mark.parametrize("backend", ["embedded", "kernel"])


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 110))


@pytest.fixture
def phone(namespace):
    with phone_module.Phone() as one:
        yield one


async def core_device(phone):
    """Their class for phones on USB: packets over a service connection."""
    reader, writer = await asyncio.open_connection(sock=phone.plug())
    return tunnel_service.CoreDeviceTunnelProxy(ServiceConnection(reader, writer), UDID)


class Pairing(tunnel_service.RemotePairingProtocol):
    """Their class for phones on a network, paired already: the key is agreed, the listener's port is known."""

    remote_identifier = UDID
    auxiliary_metadata: dict = {}

    def __init__(self, port):
        super().__init__()
        self.hostname, self.port, self.encryption_key = "127.0.0.1", port, KEY

    async def create_tcp_listener(self):
        return {"port": self.port}

    async def close(self): ...

    async def receive_response(self): ...

    async def send_request(self, data): ...


class WithCertificate(ssl.SSLContext):
    """In the place of their context for TLS with a shared key before Python 3.13: its package comes with an OpenSSL of
    its own, which fits into few Pythons. All else of their path stays; the phone shows a certificate instead."""

    psk = None

    def set_ciphers(self, ciphers):
        assert ciphers == "PSK"


def shared_key_context(certificate):
    """What a phone's listener is."""
    if sys.version_info < (3, 13):
        return certificate.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    context.set_psk_server_callback(lambda identity: KEY)
    return context


@contextlib.asynccontextmanager
async def by_core_device(phone, certificate=None):
    async with (await core_device(phone)).start_tcp_tunnel() as tunnel:
        yield tunnel


@contextlib.asynccontextmanager
async def by_pairing(phone, certificate):
    """The listener ends TLS and hands the bytes on to the phone."""

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accepted(reader, writer):
        phone_reader, phone_writer = await asyncio.open_connection(sock=phone.plug())
        await asyncio.gather(copy(reader, phone_writer), copy(phone_reader, writer))

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=shared_key_context(certificate))
    try:
        with mock.patch.object(tunnel_service, "SSLPSKContext", WithCertificate):
            async with Pairing(listener.sockets[0].getsockname()[1]).start_tcp_tunnel() as tunnel:
                yield tunnel
    finally:
        listener.close()


both_paths = pytest.mark.parametrize("path", [by_core_device, by_pairing])


async def transfer(dial, size):
    """An upload of random bytes and their download."""
    content = os.urandom(size)
    reader, writer = await dial(PEER6, SINK_PORT)
    writer.write(content)
    await writer.drain()
    writer.write_eof()
    received = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    assert received == content


@both_backends
@both_paths
def test_both_tcp_paths_carry_uploads_and_downloads_whole(phone, certificate, path, backend):
    async def main():
        with on_wintun.tunnel_devices(backend):
            async with path(phone, certificate) as tunnel:
                tun = tunnel.client.tun
                assert isinstance(tun, on_wintun.TunnelDevice if backend == "embedded" else TunTapDevice)
                assert (tun.name, tun.addr, tun.mtu) == (tunnel.interface, HOST6, MTU)
                assert (tunnel.interface in dict(map(reversed, socket.if_nameindex()))) == (backend == "kernel")
                assert (tunnel.address, tunnel.port) == (PEER6, phone_module.RSD_PORT)
                await transfer(on_wintun.dial(tunnel.client), 3_000_000)
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
        with pytest.raises(ValueError, match="stopped"):
            on_wintun.dial(tunnel.client)

    run(main())
    seen = phone.unplugged()
    assert MTU - 100 < seen["longest"] <= MTU
    assert seen["interfaces"] == ["lo"]


@both_backends
def test_packets_to_the_phone_are_kept_short_with_the_mtu_untouched(phone, backend):
    async def main():
        with on_wintun.tunnel_devices(backend, packet_limit=8192):
            async with by_core_device(phone) as tunnel:
                await transfer(on_wintun.dial(tunnel.client), 3_000_000)
                assert tunnel.client.tun.mtu == MTU

    run(main())
    assert 8000 < phone.unplugged()["longest"] <= 8192


@both_backends
def test_the_page_does_what_it_says(phone, backend):
    """The very lines of docs/pymobiledevice3.md, with a phone that answers as one does."""
    (lines,) = re.findall(r"^```python\n(from wintun.*?)```", PAGE.read_text(), re.M | re.S)
    assert "tunnel_devices()" in lines
    lines = lines.replace("tunnel_devices()", f"tunnel_devices({backend!r})")
    told = []

    async def use(rsd):
        told.append((rsd.udid, rsd.product_type, rsd.product_version))
        service = await rsd.start_lockdown_service_without_checkin("com.example.sink")
        await service.sendall(b"through the discovered port")
        service.writer.write_eof()
        assert await service.recvall(27) == b"through the discovered port"
        await service.close()

    async def main():
        names = {
            "service": await core_device(phone),
            "start_tunnel": tunnel_service.start_tunnel,
            "RemoteServiceDiscoveryService": RemoteServiceDiscoveryService,
            "use": use,
        }
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        exec(f"async def page():\n{body}", names)  # noqa: S102
        await names["page"]()

    run(main())
    assert told == [(UDID, "Phone1,1", "18.0")]


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@both_backends
def test_a_hundred_tunnels_one_after_another_leave_nothing(phone, backend):
    def state():
        gc.collect()
        return (
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
            [name for _, name in socket.if_nameindex()],
            sum(isinstance(one, TunTapDevice) for one in gc.get_objects()),
        )

    async def one():
        async with by_core_device(phone) as tunnel:
            await transfer(on_wintun.dial(tunnel.client), 200_000)
        # Once the phone has seen the end: what it says comes over a socket, so the loop may not wait for it.
        await asyncio.get_running_loop().run_in_executor(None, phone.unplugged)

    async def main():
        with on_wintun.tunnel_devices(backend):
            for _ in range(10):  # arenas and caches have their size then
                await one()
            before, memory = state(), resident()
            for _ in range(100):
                await one()
            assert state() == before
            # A device's rings alone are 8 MiB, so one that stayed behind in ten would show.
            assert resident() - memory < 32 << 20

    run(main())


def test_what_is_not_right_is_refused_before_anything_is_made(phone):
    before = tunnel_service.create_tun_device
    for bad, kind in ((1279, ValueError), (65536, ValueError), ("8192", TypeError), (True, TypeError)):
        for backend in ("embedded", "kernel"):
            with pytest.raises(kind, match="packet_limit"), on_wintun.tunnel_devices(backend, packet_limit=bad):
                pass
        with pytest.raises(kind, match="packet_limit"):
            on_wintun.TunnelDevice(packet_limit=bad)
        with pytest.raises(kind, match="packet_limit"):
            on_wintun.KernelTunnelDevice(packet_limit=bad)
    with pytest.raises(ValueError, match="kernel"), on_wintun.tunnel_devices("both"):
        pass
    with pytest.raises(TypeError, match="tunnel"):
        on_wintun.dial(object())
    with on_wintun.tunnel_devices():
        assert tunnel_service.create_tun_device is not before
    assert tunnel_service.create_tun_device is before
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
