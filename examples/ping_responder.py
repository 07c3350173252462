"""Answers pings to every address of a network that does not exist.

sudo python ping_responder.py &
ping 10.66.0.7
"""

from __future__ import annotations

import contextlib

import wintun


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(data[0::2]) * 256 + sum(data[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answer(packet: bytes) -> bytes | None:
    """The echo reply to an IPv4 echo request; None for anything else."""
    header_size = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != 1 or packet[header_size] != 8:
        return None
    # The addresses change places, which does not change the IP header's checksum.
    header = packet[:12] + packet[16:20] + packet[12:16] + packet[20:header_size]
    body = b"\0\0\0\0" + packet[header_size + 4 :]  # type 0, echo reply
    return header + body[:2] + checksum(body).to_bytes(2, "big") + body[4:]


def main() -> None:
    with wintun.TunDevice("pingtun") as tun:
        tun.addr = "10.66.0.1/24"
        tun.up()
        print(f"answering pings to 10.66.0.2 to 10.66.0.254 on {tun.interface}; Ctrl-C ends", flush=True)
        while True:
            reply = answer(tun.read(timeout=None))
            if reply is not None:
                tun.write(reply)
                print(f"answered {reply[12]}.{reply[13]}.{reply[14]}.{reply[15]}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
