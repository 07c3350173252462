"""The tunnel's side of a measurement: pymobiledevice3's own tunnel class, with its userspace stack or with our device.

    tcp_tunnel.py JSON DESCRIPTOR COUNTER

Packets come and go through the descriptor, a stream as the tunnel's own would be, but without encryption. PyTCP, its
userspace stack, is a peer of this benchmark only; nothing else here uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from typing import Any

from pymobiledevice3.remote import tunnel_service
from pymobiledevice3.remote.userspace_tunnel import UserspaceDialPlane

import tcp_load
from tcp_host import HOST, PEER, PORT, load_of
from wintun.compat import pymobiledevice3 as on_wintun


async def measure(config: dict[str, Any], packets: socket.socket, load: tcp_load.Load) -> dict[str, float]:
    theirs = config["stack"] == "pytcp"
    tunnel = tunnel_service.RemotePairingTcpTunnel(*await asyncio.open_connection(sock=packets))
    async with contextlib.AsyncExitStack() as clean:
        if theirs:
            tunnel_service.USE_USERSPACE_TUNNEL = True
        else:
            clean.enter_context(on_wintun.tunnel_devices())
        await tunnel.start_tunnel(HOST, config["mtu"])
        clean.push_async_callback(tunnel.stop_tunnel)
        dial: Any
        if theirs:
            tunnel.tun.set_peer(PEER)
            dial = (await clean.enter_async_context(UserspaceDialPlane(tunnel.tun, PEER))).dial
        else:
            dial = on_wintun.dial(tunnel)
        return await tcp_load.streams(lambda: dial(PEER, PORT, limit=tcp_load.LIMIT), load)


def main() -> None:
    logging.disable(logging.CRITICAL)  # their tunnel tells how it was ended
    config = json.loads(sys.argv[1])
    tcp_load.allow_many_descriptors()
    with socket.socket(fileno=int(sys.argv[2])) as packets:
        print(json.dumps(asyncio.run(measure(config, packets, load_of(config, int(sys.argv[3]))))))


if __name__ == "__main__":
    main()
