"""Batches: a burst held natively, read as a sequence of memoryviews, and written again untouched."""

from __future__ import annotations

import gc

import pytest

import wintun
from packets import HOST4, PEER4, Sender, numbers, parse_udp, receiver, udp


def test_a_batch_is_a_sequence_of_memoryviews(tun):
    with Sender() as sender:
        sender.send_numbers(10)
    batch = tun.read_batch()
    assert isinstance(batch, wintun.PacketBatch)
    assert len(batch) == 10
    assert batch
    assert all(isinstance(packet, memoryview) for packet in batch)
    assert numbers(batch) == list(range(10))
    assert numbers([batch[0], batch[-1]]) == [0, 9]
    assert numbers(reversed(batch)) == list(range(9, -1, -1))
    with pytest.raises(IndexError):
        batch[10]
    with pytest.raises(IndexError):
        batch[-11]
    with pytest.raises(TypeError):
        batch["0"]
    assert "10" in repr(batch)


def test_a_batch_without_packets_is_empty_and_false(make_tun):
    tun = make_tun()
    tun.up()
    batch = tun.read_batch()
    assert len(batch) == 0
    assert not batch
    assert list(batch) == []


def test_batches_drain_in_order(tun):
    with Sender() as sender:
        sender.send_numbers(300)
    got = []
    while batch := tun.read_batch():
        got += numbers(batch)
    assert got == list(range(300))


def test_a_batch_outlives_its_device(tun):
    with Sender() as sender:
        sender.send(b"outlives")
    batch = tun.read_batch()
    packet = batch[0]
    tun.close()
    del tun, batch
    gc.collect()
    assert parse_udp(packet).payload == b"outlives"


def test_a_batch_does_not_hold_up_the_ring(make_tun):
    """Batches are kept for as long as one likes: later packets come all the same, and down() and up() work."""
    tun = make_tun(ring_capacity=0x20000)
    tun.addr4 = HOST4
    tun.up()
    kept = []
    with Sender() as sender:
        for count in range(400):  # more than the ring would hold
            sender.send(bytes(1400))
            sender.send_numbers(1, count)
            while batch := tun.read_batch():
                kept.append(batch)
    assert sum(len(batch) for batch in kept) == 800
    tun.down()
    tun.up()
    assert sum(parse_udp(packet).payload == bytes(1400) for batch in kept for packet in batch) == 400


def test_a_batch_can_be_written_untouched(make_tun):
    left, right = make_tun("left"), make_tun("right")
    left.addr4, right.addr4 = "10.1.0.1/24", "10.77.0.1/24"
    left.up()
    right.up()
    with Sender("10.1.0.2") as sender:
        sender.send_numbers(20)
    batch = left.read_batch()
    assert right.write_batch(batch) == len(batch) == 20
    assert numbers(batch) == list(range(20))  # still ours to read
    assert right.write_batch(batch) == 20  # and to write again
    assert right.statistics["sent_packets"] == 40


def test_an_empty_batch_writes_nothing(make_tun):
    tun = make_tun()
    tun.up()
    assert tun.write_batch(tun.read_batch()) == 0


@pytest.mark.parametrize("thing", [None, b"packet", [b"x"], 7], ids=repr)
def test_write_batch_takes_nothing_but_a_batch(tun, thing):
    with pytest.raises(TypeError):
        tun.write_batch(thing)


def test_a_batch_arrives_at_the_kernel(make_tun):
    """Two devices: what the stack sends into one comes out at the other, its addresses already right."""
    left, right = make_tun("left"), make_tun("right")
    left.addr4, right.addr4 = "10.77.0.1/24", "10.1.0.1/24"
    left.up()
    right.up()
    with receiver("10.1.0.1") as sock:
        port = sock.getsockname()[1]
        left.write_many([udp(PEER4, "10.1.0.1", 1, port, b"%d" % index) for index in range(5)])
        assert [sock.recv(10) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
