"""pymobiledevice3's own tunnel classes run on our device, against a phone that is played here.

Everything of theirs is real: the handshake, both read loops, the framing, QUIC with TLS, start and stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import threading

import pytest

from namespaces import enter_network_namespace
from packets import HOST6, PEER6, parse_udp, receiver, udp
from wintun.compat.pytun_pmd3 import TunTapDevice

tunnel_service = pytest.importorskip("pymobiledevice3.remote.tunnel_service")

MTU = 16000
HANDSHAKE = {"clientParameters": {"address": HOST6, "mtu": MTU}, "serverAddress": PEER6, "serverRSDPort": 58783}


@pytest.fixture(autouse=True)
def on_our_device(monkeypatch):
    monkeypatch.setattr(tunnel_service, "TunTapDevice", TunTapDevice)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 100))


def frame(text):
    body = json.dumps(text).encode()
    return b"CDTunnel" + struct.pack(">H", len(body)) + body


def echoed(packet):
    """A UDP packet on its way back; None for anything else."""
    datagram = parse_udp(packet)
    if datagram is None:
        return None
    return udp(datagram.destination, datagram.source, datagram.port, datagram.source_port, datagram.payload)


class Phone:
    """The far end of a stream: answers the handshake, sends each UDP packet back, and keeps what it saw."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.packets = []

    async def run(self):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            header = await self.reader.readexactly(10)
            request = json.loads(await self.reader.readexactly(struct.unpack(">H", header[8:])[0]))
            assert request == {"type": "clientHandshakeRequest", "mtu": MTU}
            self.writer.write(frame(HANDSHAKE))
            while True:
                header = await self.reader.readexactly(40)
                packet = header + await self.reader.readexactly(struct.unpack(">H", header[4:6])[0])
                self.packets.append(packet)
                reply = echoed(packet)
                if reply is not None:
                    self.writer.write(reply)
        self.writer.close()


class Service:
    """What pymobiledevice3 calls a ServiceConnection, over our end of the stream."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def sendall(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def recvall(self, size):
        try:
            return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise tunnel_service.ConnectionTerminatedError from error

    async def close(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def core_device_proxy():
    """A CoreDeviceTunnelProxy and the phone that it is connected to."""
    near, far = socket.socketpair()
    phone = Phone(*await asyncio.open_connection(sock=far))
    task = asyncio.create_task(phone.run())
    proxy = tunnel_service.CoreDeviceTunnelProxy(Service(*await asyncio.open_connection(sock=near)), "phone")
    try:
        yield proxy, phone
    finally:
        await proxy.close()
        await task


async def echo(content, sock):
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    sock.sendto(content, (PEER6, 4000))
    return await loop.sock_recv(sock, 65535)


def test_the_tcp_tunnel_runs_from_handshake_to_stop():
    async def main():
        async with core_device_proxy() as (proxy, phone):
            async with proxy.start_tcp_tunnel() as tunnel:
                assert tunnel.interface.startswith("tun")
                assert (tunnel.address, tunnel.port) == (PEER6, 58783)
                tun = tunnel.client.tun
                assert isinstance(tun, TunTapDevice)
                assert (tun.name, tun.mtu, tun.addr) == (tunnel.interface, MTU, HOST6)
                with receiver(HOST6) as sock:
                    for size in (0, 1, 1000, MTU - 48):
                        content = os.urandom(size)
                        assert await echo(content, sock) == content
                sent = [parse_udp(packet) for packet in phone.packets]
                assert [len(datagram.payload) for datagram in sent if datagram] == [0, 1, 1000, MTU - 48]
            with pytest.raises(OSError):
                socket.if_nametoindex(tunnel.interface)

    run(main())


def test_a_burst_arrives_whole_and_in_order():
    async def main():
        async with core_device_proxy() as (proxy, phone), proxy.start_tcp_tunnel():
            with receiver(HOST6) as sock:
                for number in range(100):
                    sock.sendto(struct.pack("!I", number), (PEER6, 4000))
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                got = [struct.unpack("!I", await loop.sock_recv(sock, 100))[0] for _ in range(100)]
            assert got == list(range(100))
            found = [parse_udp(packet) for packet in phone.packets]
            assert [struct.unpack("!I", datagram.payload)[0] for datagram in found if datagram] == list(range(100))

    run(main())


def test_a_hundred_tunnels_one_after_another_leak_nothing():
    async def one():
        async with core_device_proxy() as (proxy, _), proxy.start_tcp_tunnel() as tunnel:
            assert tunnel.interface == "tun0"
            with receiver(HOST6) as sock:
                assert await echo(b"x", sock) == b"x"

    async def main():
        await one()
        before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        for _ in range(100):
            await one()
        assert len(os.listdir("/proc/self/fd")) <= before[0]
        assert len(os.listdir("/proc/self/task")) <= before[1]
        assert [name for _, name in socket.if_nameindex()] == ["lo"]

    run(main())


def test_a_phone_that_goes_away_ends_the_tunnel_quietly(caplog):
    async def main():
        async with core_device_proxy() as (proxy, phone), proxy.start_tcp_tunnel() as tunnel:
            phone.writer.close()
            await tunnel.client.wait_closed()
        assert [name for _, name in socket.if_nameindex()] == ["lo"]

    run(main())
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_two_tunnels_carry_tcp_between_two_namespaces():
    """pymobiledevice3 at both ends: the kernel's TCP notices each lost, doubled or damaged packet."""
    content = os.urandom(5_000_000)
    connect = threading.Event()
    got = []

    def client():  # stays in the first namespace
        connect.wait()
        with socket.create_connection((PEER6, 5000), timeout=90) as sock:
            sock.sendall(content)

    def server(listener):
        connection, _ = listener.accept()
        with connection:
            while chunk := connection.recv(65536):
                got.append(chunk)

    sender = threading.Thread(target=client)
    sender.start()

    async def main():
        near, far = socket.socketpair()
        tunnels = []
        for sock, address in ((near, HOST6), (far, PEER6)):
            tunnel = tunnel_service.RemotePairingTcpTunnel(*await asyncio.open_connection(sock=sock))
            await tunnel.start_tunnel(address, MTU)
            tunnels.append(tunnel)
            await asyncio.sleep(0)  # the tunnel's tasks look at the device's MTU before its namespace is left
            if address == HOST6:
                enter_network_namespace()
        with socket.create_server((PEER6, 5000), family=socket.AF_INET6) as listener:
            listener.settimeout(90)
            connect.set()
            await asyncio.get_running_loop().run_in_executor(None, server, listener)
        for tunnel in tunnels:
            await tunnel.stop_tunnel()

    run(main())
    sender.join()
    assert b"".join(got) == content


def test_the_quic_tunnel_runs_from_handshake_to_stop():
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from pymobiledevice3.ca import make_cert
    from qh3.asyncio.protocol import QuicConnectionProtocol
    from qh3.asyncio.server import serve
    from qh3.quic.configuration import QuicConfiguration
    from qh3.quic.events import DatagramFrameReceived, StreamDataReceived

    mtu = 1280
    handshake = {**HANDSHAKE, "clientParameters": {"address": HOST6, "mtu": mtu}}

    class QuicPhone(QuicConnectionProtocol):
        def quic_event_received(self, event):
            if isinstance(event, StreamDataReceived):
                self._quic.send_stream_data(event.stream_id, frame(handshake))
            elif isinstance(event, DatagramFrameReceived) and event.data[0] >> 4 == 6:
                reply = echoed(event.data)
                if reply is not None:
                    self._quic.send_datagram_frame(reply)
            self.transmit()

    class Pairing(tunnel_service.RemotePairingProtocol):
        """Paired already: only the listener's port is asked of the phone."""

        remote_identifier = "phone"
        auxiliary_metadata: dict = {}

        def __init__(self, port):
            super().__init__()
            self.hostname, self.port = "::1", port

        async def create_quic_listener(self, private_key):
            return {"port": self.port}

        async def close(self): ...

        async def receive_response(self): ...

        async def send_request(self, data): ...

    async def main():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        configuration = QuicConfiguration(
            alpn_protocols=["RemotePairingTunnelProtocol"], is_client=False, max_datagram_frame_size=14000
        )
        configuration.load_cert_chain(
            make_cert(key, key.public_key()).public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        )
        phone = await serve("::1", 0, configuration=configuration, create_protocol=QuicPhone)
        port = phone._transport.get_extra_info("sockname")[1]
        async with Pairing(port).start_quic_tunnel() as tunnel:
            assert tunnel.interface.startswith("tun")
            assert (tunnel.client.tun.mtu, tunnel.client.tun.addr) == (mtu, HOST6)
            with receiver(HOST6) as sock:
                for size in (0, 1, 500, 1000):  # what QUIC's smallest path carries
                    content = os.urandom(size)
                    assert await echo(content, sock) == content
        with pytest.raises(OSError):
            socket.if_nametoindex(tunnel.interface)
        phone.close()

    run(main())
