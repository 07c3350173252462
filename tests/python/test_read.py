"""Reading: what the kernel's network stack sends arrives whole, exact and in order."""

from __future__ import annotations

import errno
import os

import pytest

from packets import HOST4, HOST6, PEER4, PEER6, Sender, numbers, parse_udp

PORT = 4000


def read_udp(tun):
    """The next UDP datagram; packets of the kernel's own are passed over."""
    while True:
        datagram = parse_udp(tun.read(timeout=30))
        if datagram is not None and datagram.port == PORT:
            return datagram


@pytest.mark.parametrize(("host", "peer", "largest"), [(HOST4, PEER4, 1472), (HOST6, PEER6, 1452)])
def test_every_size_up_to_the_mtu_arrives_exactly(tun, host, peer, largest):
    assert tun.mtu == 1500
    content = os.urandom(largest)
    with Sender(peer) as sender:
        for size in range(largest + 1):
            sender.send(content[:size])
            datagram = read_udp(tun)
            assert datagram.payload == content[:size]
            assert (datagram.source, datagram.destination) == (host, peer)


def test_a_read_without_packets_is_none_at_once(make_tun):
    tun = make_tun()
    tun.up()
    assert tun.read() is None
    assert tun.read() is None


def test_packets_come_in_the_order_of_sending(tun):
    with Sender() as sender:
        sender.send_numbers(200)
    got = []
    while len(got) < 200:
        got += numbers([tun.read(timeout=30)])
    assert got == list(range(200))


def test_a_packet_is_immutable_bytes(tun):
    with Sender() as sender:
        sender.send_numbers(1)
    assert type(tun.read(timeout=30)) is bytes


def test_bytes_stay_valid_after_close(tun):
    with Sender() as sender:
        sender.send(b"stays")
    packet = tun.read(timeout=30)
    copy = bytes(bytearray(packet))
    tun.close()
    assert packet == copy


def test_read_into_fills_the_callers_memory_and_nothing_behind_it(tun):
    buffer = bytearray(b"\xee" * 2000)
    with Sender() as sender:
        sender.send(b"into")
    size = None
    while size is None:
        tun.wait_read_event()
        size = tun.read_into(buffer)
    assert parse_udp(buffer[:size]).payload == b"into"
    assert buffer[size:] == b"\xee" * (2000 - size)
    assert tun.read_into(buffer) is None


@pytest.mark.parametrize("make", [bytearray, lambda size: memoryview(bytearray(size))])
def test_read_into_takes_any_writable_buffer(tun, make):
    with Sender() as sender:
        sender.send_numbers(1)
    tun.wait_read_event()
    assert tun.read_into(make(2000)) == 32


def test_read_into_refuses_memory_that_cannot_be_written(tun):
    with pytest.raises((TypeError, BufferError, ValueError)):
        tun.read_into(bytes(2000))


def test_read_into_a_small_buffer_says_so_and_loses_nothing(tun):
    with Sender() as sender:
        sender.send_numbers(1)
    tun.wait_read_event()
    small = bytearray(b"\xee" * 31)
    with pytest.raises(OSError, match="32 bytes") as caught:
        tun.read_into(small)
    assert caught.value.errno == errno.EMSGSIZE
    assert tun.wait_read_event(0)
    assert small == b"\xee" * 31
    assert numbers([tun.read()]) == [0]


def test_read_many_gives_what_is_there_in_order_up_to_its_limit(tun):
    with Sender() as sender:
        sender.send_numbers(50)
    assert numbers(tun.read_many(limit=20)) == list(range(20))
    assert numbers(tun.read_many(limit=1)) == [20]
    assert numbers(tun.read_many(limit=1000)) == list(range(21, 50))
    assert tun.read_many() == []


def test_read_many_refuses_a_limit_below_one(tun):
    with pytest.raises(ValueError):
        tun.read_many(limit=-1)


def test_receive_lends_the_packet_and_takes_it_back(tun):
    with Sender() as sender:
        sender.send(b"lent")
    tun.wait_read_event()
    with tun.receive() as packet:
        assert isinstance(packet, memoryview)
        assert parse_udp(packet).payload == b"lent"
    with pytest.raises(ValueError, match="released"):
        bytes(packet)


def test_receive_without_packets_lends_none(make_tun):
    tun = make_tun()
    tun.up()
    with tun.receive() as packet:
        assert packet is None


def test_many_lent_packets_go_back_in_any_order(tun):
    with Sender() as sender:
        sender.send_numbers(40)
    lent = [tun.receive() for _ in range(40)]
    views = [context.__enter__() for context in lent]
    assert numbers(views) == list(range(40))
    for index in [*range(0, 40, 2), *range(39, 0, -2)]:
        lent[index].__exit__(None, None, None)
    with Sender() as sender:
        sender.send_numbers(5)
    assert numbers(tun.read_many()) == list(range(5))


def test_a_lent_packet_survives_down_and_close(tun):
    with Sender() as sender:
        sender.send(b"survives")
    tun.wait_read_event()
    with tun.receive() as packet:
        tun.down()
        assert parse_udp(packet).payload == b"survives"
        tun.close()
        assert parse_udp(packet).payload == b"survives"


def test_up_while_a_packet_of_the_last_session_is_lent_is_refused_with_its_reason(tun):
    with Sender() as sender:
        sender.send(b"x")
    tun.wait_read_event()
    with tun.receive():
        tun.down()
        with pytest.raises(OSError, match="lent") as caught:
            tun.up()
        assert caught.value.errno == errno.EBUSY
    tun.up()
    assert tun.is_up


def test_packets_larger_than_1500_pass_with_a_larger_mtu(make_tun):
    tun = make_tun()
    tun.mtu = 65535
    tun.addr4 = HOST4
    tun.up()
    content = os.urandom(65507 - 20)
    with Sender() as sender:
        sender.send(content)
    assert read_udp(tun).payload == content


def test_two_devices_do_not_see_each_others_packets(make_tun):
    first, second = make_tun("first"), make_tun("second")
    first.addr4, second.addr4 = "10.1.0.1/24", "10.2.0.1/24"
    first.up()
    second.up()
    with Sender("10.1.0.2") as to_first, Sender("10.2.0.2") as to_second:
        to_first.send(b"one")
        to_second.send(b"two")
    assert read_udp(first).payload == b"one"
    assert read_udp(second).payload == b"two"
    assert first.read() is None or parse_udp(first.read() or b"\x45") is None
