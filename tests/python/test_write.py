"""Writing: the kernel's network stack gets exactly what was written, and refuses nothing silently."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import threading

import pytest

from namespaces import enter_network_namespace
from packets import HOST4, HOST6, PEER4, PEER6, ip, receiver, udp


@pytest.mark.parametrize(("host", "peer", "largest"), [(HOST4, PEER4, 1472), (HOST6, PEER6, 1452)])
def test_every_size_up_to_the_mtu_is_delivered_exactly(tun, host, peer, largest):
    content = os.urandom(largest)
    with receiver(host) as sock:
        port = sock.getsockname()[1]
        for size in range(largest + 1):
            packet = udp(peer, host, 4000, port, content[:size])
            assert tun.write(packet) == len(packet)
            data, address = sock.recvfrom(65535)
            assert data == content[:size]
            assert address[:2] == (peer, 4000)


def test_the_largest_packet_is_delivered(tun):
    content = os.urandom(0xFFFF - 28)
    with receiver() as sock:
        packet = udp(PEER4, HOST4, 4000, sock.getsockname()[1], content)
        assert len(packet) == 0xFFFF
        tun.write(packet)
        assert sock.recv(0xFFFF) == content


@pytest.mark.parametrize(
    "convert",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: array.array("B", data),
        lambda data: memoryview(bytearray(b"ab" + data + b"cd"))[2:-2],
        lambda data: memoryview(bytes(byte for pair in zip(data, data) for byte in pair))[::2],
    ],
    ids=["bytes", "bytearray", "memoryview", "array", "slice", "with gaps"],
)
def test_any_buffer_can_be_written(tun, convert):
    with receiver() as sock:
        packet = udp(PEER4, HOST4, 4000, sock.getsockname()[1], b"hello")
        assert tun.write(convert(packet)) == len(packet)
        assert sock.recv(100) == b"hello"


@pytest.mark.parametrize(
    ("header", "peer", "host"), [(b"\0\0\x86\xdd", PEER6, HOST6), (b"\0\0\x08\0", PEER4, HOST4)], ids=["ipv6", "ipv4"]
)
def test_a_packet_information_header_is_stripped(tun, header, peer, host):
    with receiver(host) as sock:
        tun.write(header + udp(peer, host, 4000, sock.getsockname()[1], b"behind it"))
        assert sock.recv(100) == b"behind it"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        udp(PEER4, HOST4, 1, 2, b"")[:19],
        udp(PEER6, HOST6, 1, 2, b"")[:39],
        b"\x00" * 40,
        b"\x55" + b"\x00" * 60,
        b"\xff" * 100,
        b"\0\0\x86\xdd",
        b"\0\0\x08\0",
        b"\x45" + b"\0" * 0xFFFF,
    ],
    ids=[
        "empty",
        "1 byte",
        "cut IPv4",
        "cut IPv6",
        "zeros",
        "version 5",
        "ones",
        "no IPv6",
        "no IPv4",
        "0x10000 bytes",
    ],
)
def test_what_is_no_packet_is_a_value_error_and_disturbs_nothing(tun, packet):
    before = tun.statistics["sent_packets"]
    with pytest.raises(ValueError):
        tun.write(packet)
    assert tun.statistics["sent_packets"] == before
    with receiver() as sock:
        tun.write(udp(PEER4, HOST4, 4000, sock.getsockname()[1], b"next"))
        assert sock.recv(100) == b"next"


@pytest.mark.parametrize("thing", [None, "text", 7, 1.5, [b"x"], object()], ids=repr)
def test_what_is_no_buffer_is_a_type_error(tun, thing):
    with pytest.raises(TypeError):
        tun.write(thing)


def test_write_many_delivers_all_in_order(tun):
    with receiver() as sock:
        port = sock.getsockname()[1]
        packets = [udp(PEER4, HOST4, 4000, port, b"%d" % index) for index in range(100)]
        assert tun.write_many(packets) == 100
        assert [sock.recv(100) for _ in packets] == [b"%d" % index for index in range(100)]


def test_write_many_takes_any_iterable_of_any_buffers(tun):
    with receiver() as sock:
        port = sock.getsockname()[1]
        assert tun.write_many(bytearray(udp(PEER4, HOST4, 1, port, b"%d" % index)) for index in range(3)) == 3
        assert [sock.recv(10) for _ in range(3)] == [b"0", b"1", b"2"]
    assert tun.write_many([]) == 0


def test_write_many_with_a_bad_packet_among_them_writes_none(tun):
    with receiver() as sock:
        port = sock.getsockname()[1]
        good = udp(PEER4, HOST4, 1, port, b"good")
        with pytest.raises(ValueError):
            tun.write_many([good, b"bad", good])
        tun.write(udp(PEER4, HOST4, 1, port, b"after"))
        assert sock.recv(10) == b"after"


def test_the_reader_gets_no_packet_that_was_written(tun):
    tun.write(ip("10.77.0.2", "10.77.0.1", 253, b"unclaimed"))
    seen = [packet for packet in tun.read_many() if b"unclaimed" in packet and packet[9] == 253]
    assert seen == []


def test_tcp_between_two_namespaces_arrives_whole(make_tun):
    """The kernel's TCP, which notices each lost, doubled or damaged packet, talks to itself through two devices."""
    left = make_tun("left")
    left.addr4 = "10.77.0.1/24"
    left.up()
    connect = threading.Event()
    content = os.urandom(1_000_000)

    def client():  # stays in the namespace of the left device
        connect.wait()
        with socket.create_connection(("10.77.0.2", 5000), timeout=60) as sock:
            sock.sendall(content)

    def pump(source, target):
        with contextlib.suppress(OSError):  # the end of a device
            while True:
                target.write(source.read(timeout=None))

    threads = [threading.Thread(target=client)]
    threads[0].start()
    enter_network_namespace()
    right = make_tun("right")
    right.addr4 = "10.77.0.2/24"
    right.up()
    pumps = [threading.Thread(target=pump, args=pair) for pair in ((left, right), (right, left))]
    for thread in pumps:
        thread.start()
    with socket.create_server(("10.77.0.2", 5000)) as server:
        server.settimeout(60)
        connect.set()
        connection, _ = server.accept()
        with connection:
            got = b"".join(iter(lambda: connection.recv(65536), b""))
    threads[0].join()
    left.close()
    right.close()
    for thread in pumps:
        thread.join()
    assert got == content
