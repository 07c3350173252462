"""A UDP echo server for every address and port of a network that does not exist, under asyncio.

sudo python asyncio_echo.py &
nc -u 10.67.0.7 1234
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

import wintun


def echo(packet: bytes) -> bytes | None:
    """The same datagram on its way back; None for what is no IPv4 UDP packet.

    Addresses and ports change places, and a checksum is a sum, so both checksums stay right.
    """
    if packet[0] >> 4 != 4 or packet[9] != 17:
        return None
    size = (packet[0] & 15) * 4
    header = packet[:12] + packet[16:20] + packet[12:16] + packet[20:size]
    return header + packet[size + 2 : size + 4] + packet[size : size + 2] + packet[size + 4 :]


async def serve(tun: wintun.TunDevice) -> None:
    async for packet in tun:
        reply = echo(packet)
        if reply is not None:
            tun.write(reply)


async def main() -> None:
    async with wintun.TunDevice("echotun") as tun:
        tun.addr = "10.67.0.1/24"
        tun.up()
        print(f"echoing UDP sent to 10.67.0.2 to 10.67.0.254 on {tun.interface}; Ctrl-C ends", flush=True)
        server = asyncio.create_task(serve(tun))
        # Python before 3.11 raises Ctrl-C in whatever task runs at that moment: so it is a cancellation instead.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, server.cancel)
        while not server.done():
            await asyncio.wait([server], timeout=10)
            print(f"{tun.statistics['sent_packets']} packets echoed", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await server


if __name__ == "__main__":
    asyncio.run(main())
