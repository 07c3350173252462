"""The benchmark's own link: what it loses, delays and splits. Its speed is measured, not tested."""

from __future__ import annotations

import select
import socket
import sys
import time
from pathlib import Path

import pytest

import wintun
from wintun import _native

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))
from relay import QUEUE, Relay, StreamEnd, _Line

pytestmark = pytest.mark.no_device


class End:
    """Gives batches of numbered packets, and keeps what it gets."""

    def __init__(self, batches=()):
        self.batches = list(batches)
        self.got = []
        self.room = 1 << 30

    def read_batch(self):
        return self.batches.pop(0) if self.batches else []

    def write_many(self, packets):
        taken = packets[: self.room]
        if packets and not taken:
            raise BlockingIOError
        self.got += taken
        return len(taken)

    write_batch = write_many


def numbered(count, batch=64):
    packets = [number.to_bytes(4, "big") for number in range(count)]
    return [packets[at : at + batch] for at in range(0, count, batch)]


def carry(line):
    while line.take():
        line.give()


def test_a_line_without_loss_loses_nothing():
    source, target = End(numbered(1000)), End()
    line = _Line(source, target, 0.0, 0.0, 1)
    carry(line)
    assert target.got == [number.to_bytes(4, "big") for number in range(1000)]
    assert (line.packets, line.lost, line.dropped) == (1000, 0, 0)


@pytest.mark.parametrize("loss", [0.001, 0.1, 0.9])
def test_a_line_loses_the_part_it_was_told_and_keeps_the_order(loss):
    count = 100_000
    source, target = End(numbered(count)), End()
    line = _Line(source, target, 0.0, loss, 1)
    carry(line)
    assert target.got == sorted(target.got)
    assert len(set(target.got)) == len(target.got) == count - line.lost
    # Six standard deviations.
    assert abs(line.lost - count * loss) < 6 * (count * loss * (1 - loss)) ** 0.5
    assert line.dropped == 0


def test_the_same_seed_loses_the_same_packets_whatever_the_batches():
    got = []
    for batch in (1, 7, 256):
        target = End()
        carry(_Line(End(numbered(5000, batch)), target, 0.0, 0.01, 3))
        got.append(target.got)
    assert got[0] == got[1] == got[2]


def test_what_finds_no_room_is_counted():
    target = End()
    target.room = 10
    line = _Line(End(numbered(64)), target, 0.0, 0.0, 1)
    carry(line)
    assert line.dropped == 54
    target.room = 0
    line = _Line(End(numbered(64)), target, 0.0, 0.0, 1)
    carry(line)
    assert line.dropped == 64


def test_a_line_holds_no_more_than_its_queue():
    line = _Line(End(numbered(2 * QUEUE, 50)), End(), 3600.0, 0.0, 1)
    carry(line)
    assert line.dropped == QUEUE
    assert line.due() > time.monotonic()


@pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")
def test_a_packet_is_never_early():
    with (
        wintun.TunDevice("here", backend="embedded") as here,
        wintun.TunDevice("there", backend="embedded") as there,
    ):
        here.addr, there.addr = "fd09::1", "fd09::2"
        here.up()
        there.up()
        with Relay(here, there, delay=0.05) as relay:
            assert here.ping("fd09::2", timeout=30) >= 0.1
        assert (relay.packets, relay.lost, relay.dropped) == (2, 0, 0)


def packet(size):
    return b"\x60\0\0\0" + size.to_bytes(2, "big") + bytes(34) + bytes([size % 251]) * size


def test_a_stream_is_split_into_its_packets_wherever_it_was_cut():
    packets = [packet(size) for size in (0, 1, 1400, 15960)]
    near, far = socket.socketpair()
    with near, far:
        end = StreamEnd(near)
        stream, got = b"".join(packets), []
        for at in range(0, len(stream), 777):
            far.sendall(stream[at : at + 777])
            got += end.read_batch()
        assert got == packets
        far.close()
        assert end.read_batch() == []
        assert end.ended


def test_a_full_stream_is_never_waited_for():
    near, far = socket.socketpair()
    with near, far:
        end = StreamEnd(near)
        packets = [packet(15000)] * 100
        assert end.write_many(packets) == 100
        assert end.full
        received = b""
        while end.full or select.select([far], [], [], 0)[0]:
            received += far.recv(1 << 20)
            end.flush()
        assert received == b"".join(packets)
