"""Answers echo requests, IPv4 and IPv6, on raw packets: for demo and capture. Pure functions."""

from __future__ import annotations

from typing import Union

_ICMP, _ICMPV6 = 1, 58


def echo_reply(packet: Union[bytes, bytearray, memoryview]) -> bytes | None:
    """The answer to a ping.

    Args:
        packet: A whole IP packet.

    Returns:
        The packet to send back; None if `packet` is no echo request, or one that is broken or in fragments.
    """
    reply = bytearray(packet)
    if len(reply) >= 28 and reply[0] >> 4 == 4 and reply[9] == _ICMP:
        header = (reply[0] & 15) * 4
        fragment = int.from_bytes(reply[6:8], "big") & 0x3FFF  # more fragments, or an offset
        if fragment or header < 20 or len(reply) < header + 8 or reply[header : header + 2] != b"\x08\0":
            return None
        reply[12:16], reply[16:20] = reply[16:20], reply[12:16]
        _change_type(reply, header, 8, 0)
        return bytes(reply)
    if len(reply) >= 48 and reply[0] >> 4 == 6 and reply[6] == _ICMPV6 and reply[40:42] == b"\x80\0":
        reply[8:24], reply[24:40] = reply[24:40], reply[8:24]
        _change_type(reply, 40, 128, 129)
        return bytes(reply)
    return None


def _change_type(packet: bytearray, offset: int, old: int, new: int) -> None:
    """Sets the ICMP type and mends the checksum by the difference (RFC 1624); swapped addresses do not change it."""
    checksum = int.from_bytes(packet[offset + 2 : offset + 4], "big")
    total = (~checksum & 0xFFFF) + (~(old << 8) & 0xFFFF) + (new << 8)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    packet[offset] = new
    packet[offset + 2 : offset + 4] = (~total & 0xFFFF).to_bytes(2, "big")
