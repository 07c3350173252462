"""A phone for pymobiledevice3: a process with a network namespace and a kernel of its own behind each tunnel.

The test hands it one end of a stream a tunnel. It answers the tunnel's handshake, makes a kernel device, and carries
packets; its services listen in its namespace. Only what a tunnel brings can reach them. Run as a program by `Phone`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from typing import Any

from namespaces import enter_network_namespace
from packets import HOST6, PEER6

MTU = 16000
UDID = "00008110-000A1B2C3D4E5F60"
RSD_PORT, SINK_PORT = 58783, 5000
HANDSHAKE = {"clientParameters": {"address": HOST6, "mtu": MTU}, "serverAddress": PEER6, "serverRSDPort": RSD_PORT}


class Phone:
    """The process: a context manager in the test."""

    def __enter__(self) -> Phone:
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(far.fileno())],
            pass_fds=[far.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        far.close()
        self._control.settimeout(90)
        assert self._control.recv(100) == b"ready", "the phone did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        try:
            assert self._process.wait(30) == 0
        finally:
            self._process.kill()

    def plug(self) -> socket.socket:
        """Our end of a new tunnel's stream."""
        near, far = socket.socketpair()
        socket.send_fds(self._control, [b"tunnel"], [far.fileno()])
        far.close()
        return near

    def unplugged(self) -> dict[str, Any]:
        """Waits for the end of a tunnel; what the phone saw of it: `longest`, the longest packet from the host, and
        `interfaces`, those that are left."""
        seen: dict[str, Any] = json.loads(self._control.recv(1000))
        return seen


# ---- The process ----


async def _tunnel(sock: socket.socket, control: socket.socket) -> None:
    from wintun.compat.pytun_pmd3 import TunTapDevice

    reader, writer = await asyncio.open_connection(sock=sock)
    longest = 0
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        header = await reader.readexactly(10)
        request = json.loads(await reader.readexactly(struct.unpack(">H", header[8:])[0]))
        assert request == {"type": "clientHandshakeRequest", "mtu": MTU}, request
        with TunTapDevice("phone") as tun:  # before the answer: who gets it may connect at once
            tun.addr, tun.mtu = PEER6, MTU
            tun.up()
            body = json.dumps(HANDSHAKE).encode()
            writer.write(b"CDTunnel" + struct.pack(">H", len(body)) + body)
            task = None
            try:
                while True:
                    header = await reader.readexactly(40)
                    packet = header + await reader.readexactly(struct.unpack(">H", header[4:6])[0])
                    # Not before: what their handshake's read() gets beside the answer is lost.
                    task = task or asyncio.ensure_future(_send(tun, writer))
                    longest = max(longest, len(packet))
                    tun.write(packet)
            finally:
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
    writer.close()
    left = [name for _, name in socket.if_nameindex()]
    control.send(json.dumps({"longest": longest, "interfaces": left}).encode())


async def _send(tun: Any, writer: asyncio.StreamWriter) -> None:
    while True:
        for packet in await tun.async_read_batch():
            if packet[0] >> 4 == 6:
                writer.write(packet)
        await writer.drain()


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes an upload to its end, and sends it back."""
    with contextlib.suppress(OSError):
        content = await reader.read(-1)
        writer.write(content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _discovery(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RemoteXPC's service discovery: HTTP/2 frames, and after the host's handshake what this phone is and offers."""
    from hyperframe.frame import DataFrame, Frame, SettingsFrame
    from pymobiledevice3.remote.xpc_message import XpcMessageType, XpcWrapper, create_xpc_wrapper, decode_xpc_object

    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        assert (await reader.readexactly(24)).startswith(b"PRI * HTTP/2.0")
        writer.write(SettingsFrame(settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 100}).serialize())
        while True:
            frame, size = Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
            frame.parse_body(memoryview(await reader.readexactly(size)))
            if not isinstance(frame, DataFrame):
                continue
            payload = XpcWrapper.parse(frame.data).payload
            if payload is None or payload.type != XpcMessageType.DICTIONARY or not payload.data:
                continue
            assert decode_xpc_object(payload)["MessageType"] == "Handshake"
            services = {f"com.example.service{i}": {"Port": str(6000 + i), "Entitlement": "none"} for i in range(200)}
            services["com.example.sink"] = {"Port": str(SINK_PORT), "Entitlement": "none"}
            properties = {"UniqueDeviceID": UDID, "ProductType": "Phone1,1", "OSVersion": "18.0"}
            answer = create_xpc_wrapper({"MessageType": "Handshake", "Properties": properties, "Services": services})
            for at in range(0, len(answer), 16384):
                writer.write(DataFrame(stream_id=1, data=answer[at : at + 16384]).serialize())
            await writer.drain()
    writer.close()


async def _main(control: socket.socket) -> None:
    servers = [
        await asyncio.start_server(_sink, "::", SINK_PORT),
        await asyncio.start_server(_discovery, "::", RSD_PORT),
    ]
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    tunnels: set[asyncio.Task[None]] = set()
    over = loop.create_future()

    def asked() -> None:
        data, descriptors = b"", []
        with contextlib.suppress(ConnectionResetError):  # the test has gone without hearing what was seen
            data, descriptors, _, _ = socket.recv_fds(control, 100, 1)
        if not data:
            over.set_result(None)
        for descriptor in descriptors:
            task = loop.create_task(_tunnel(socket.socket(fileno=descriptor), control))
            tunnels.add(task)
            task.add_done_callback(tunnels.discard)

    loop.add_reader(control.fileno(), asked)
    control.send(b"ready")
    await over
    loop.remove_reader(control.fileno())
    for server in servers:
        server.close()


if __name__ == "__main__":
    enter_network_namespace()
    with socket.socket(fileno=int(sys.argv[1])) as own_control:
        asyncio.run(_main(own_control))
