"""Packets for tests, made by hand so that nothing under test checks itself, and sockets that make the kernel send."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import NamedTuple, Union

HOST4, PEER4 = "10.77.0.1", "10.77.0.2"
HOST6, PEER6 = "fd77::1", "fd77::2"


def checksum(data: bytes) -> int:
    """RFC 1071, as its text says it."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IxxxB", length, protocol)


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 or IPv6 packet, by the addresses' version."""
    from_, to = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if from_.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + from_.packed + to.packed + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + from_.packed + to.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def udp(source: str, destination: str, source_port: int, port: int, payload: bytes) -> bytes:
    """A UDP packet with valid checksums."""
    from_, to = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    length = 8 + len(payload)
    header = struct.pack("!HHHH", source_port, port, length, 0)
    sum_ = checksum(_pseudo_header(from_, to, 17, length) + header + payload) or 0xFFFF
    return ip(source, destination, 17, header[:6] + struct.pack("!H", sum_) + payload)


class Udp(NamedTuple):
    source: str
    destination: str
    source_port: int
    port: int
    payload: bytes


def parse_udp(packet: Union[bytes, memoryview]) -> Union[Udp, None]:
    """The UDP datagram in a packet; None if there is none. A wrong length or checksum is an AssertionError."""
    packet = bytes(packet)
    version = packet[0] >> 4
    if version == 4:
        header_size, protocol = (packet[0] & 15) * 4, packet[9]
        source, destination = packet[12:16], packet[16:20]
        assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
        assert checksum(packet[:header_size]) == 0
    else:
        assert version == 6
        header_size, protocol = 40, packet[6]
        source, destination = packet[8:24], packet[24:40]
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - 40
    if protocol != 17:
        return None
    datagram = packet[header_size:]
    source_port, port, length, sum_ = struct.unpack_from("!HHHH", datagram)
    assert length == len(datagram)
    assert sum_ and checksum(_pseudo_header(source, destination, 17, length) + datagram) == 0
    return Udp(
        str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), source_port, port, datagram[8:]
    )


class Sender:
    """A kernel UDP socket that sends to the peer behind the device, and counts what it sent."""

    def __init__(self, peer: str = PEER4, port: int = 4000) -> None:
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self.address = (peer, port)
        self.sent = 0

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, payload: bytes) -> None:
        self._socket.sendto(payload, self.address)
        self.sent += 1

    def send_numbers(self, count: int, start: int = 0) -> None:
        """Datagrams that carry start, start + 1, ..., 4 bytes each."""
        for value in range(start, start + count):
            self.send(struct.pack("!I", value))


def number(packet: Union[bytes, memoryview], port: int = 4000) -> Union[int, None]:
    """What send_numbers put into the packet; None if it is another one (the kernel's own)."""
    datagram = parse_udp(packet)
    if datagram is None or datagram.port != port:
        return None
    (value,) = struct.unpack("!I", datagram.payload)
    return int(value)


def numbers(packets: object, port: int = 4000) -> list[int]:
    """The numbers of all numbered packets, in order."""
    found = (number(packet, port) for packet in packets)  # type: ignore[attr-defined]
    return [value for value in found if value is not None]


def receiver(address: str = HOST4, port: int = 0) -> socket.socket:
    """A kernel UDP socket bound to the device's address, with a time limit as a safety net."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    sock.settimeout(30)
    return sock


def echo_request(source: str, destination: str, identifier: int, sequence: int, payload: bytes = b"x" * 56) -> bytes:
    """An ICMP echo request (IPv4)."""
    body = struct.pack("!BBHHH", 8, 0, 0, identifier, sequence) + payload
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return ip(source, destination, 1, body)
