"""start_reader: a native thread waits without the GIL and calls back, until it is stopped or the device ends."""

from __future__ import annotations

import errno
import gc
import os
import queue
import threading
import time
import weakref

import pytest

import wintun
from packets import Sender, number, numbers


def threads():
    return len(os.listdir("/proc/self/task"))


def await_threads(count):
    """A thread that is done with its work is still listed for a moment."""
    deadline = time.monotonic() + 60
    while threads() > count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_callback_gets_each_packet_in_order(tun):
    got: queue.Queue[int] = queue.Queue()

    def callback(packet):
        value = number(packet)
        if value is not None:
            got.put(value)

    reader = tun.start_reader(callback)
    assert isinstance(reader, wintun.Reader)
    with Sender() as sender:
        sender.send_numbers(100)
    assert [got.get(timeout=60) for _ in range(100)] == list(range(100))
    reader.stop()


def test_a_batch_reader_gets_batches(tun):
    got: queue.Queue[int] = queue.Queue()

    def callback(batch):
        assert isinstance(batch, wintun.PacketBatch)
        assert len(batch) > 0
        for value in numbers(batch):
            got.put(value)

    reader = tun.start_reader(callback, batch=True)
    with Sender() as sender:
        sender.send_numbers(100)
    assert [got.get(timeout=60) for _ in range(100)] == list(range(100))
    reader.stop()


def test_after_stop_no_callback_runs_and_packets_stay_for_others(tun):
    calls = []
    reader = tun.start_reader(calls.append)
    reader.stop()
    reader.stop()
    before = len(calls)
    with Sender() as sender:
        sender.send_numbers(5)
    assert numbers(tun.read_many()) == list(range(5))
    assert len(calls) == before


def test_stop_joins_the_thread(tun):
    before = threads()
    reader = tun.start_reader(lambda packet: None)
    assert threads() == before + 1
    assert reader.running
    reader.stop()
    assert not reader.running
    await_threads(before)


def test_stop_from_within_the_callback_does_not_hang(tun):
    done = threading.Event()

    def callback(packet):
        reader.stop()
        done.set()

    reader = tun.start_reader(callback)
    with Sender() as sender:
        sender.send_numbers(1)
    assert done.wait(60)
    reader.stop()


@pytest.mark.parametrize("batch", [False, True])
def test_a_stopped_reader_lets_go_of_a_callback_that_refers_to_its_holder(tun, batch):
    class Holder:
        def __init__(self):
            self.reader = tun.start_reader(self.callback, batch=batch)

        def callback(self, packet):
            pass

    holder = Holder()
    held = weakref.ref(holder)
    holder.reader.stop()
    del holder
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("end", ["close", "down"])
def test_the_end_of_the_device_ends_the_reader(tun, end):
    before = threads()
    reader = tun.start_reader(lambda packet: None)
    getattr(tun, end)()
    reader.stop()
    await_threads(before)


def test_close_from_within_the_callback_does_not_hang(make_tun):
    tun = make_tun()
    tun.addr4 = "10.77.0.1"
    tun.up()
    done = threading.Event()

    def callback(packet):
        tun.close()
        done.set()

    reader = tun.start_reader(callback)
    with Sender() as sender:
        sender.send_numbers(1)
    assert done.wait(60)
    reader.stop()
    assert tun.closed


def test_an_exception_in_the_callback_is_reported_and_the_reader_goes_on(tun, monkeypatch):
    import sys

    reported: queue.Queue[BaseException] = queue.Queue()
    monkeypatch.setattr(sys, "unraisablehook", lambda info: reported.put(info.exc_value))
    got: queue.Queue[int] = queue.Queue()

    def callback(packet):
        value = number(packet)
        if value is not None:
            got.put(value)
            raise RuntimeError(f"callback {value}")

    reader = tun.start_reader(callback)
    with Sender() as sender:
        sender.send_numbers(3)
    assert [got.get(timeout=60) for _ in range(3)] == [0, 1, 2]
    assert [str(reported.get(timeout=60)) for _ in range(3)] == ["callback 0", "callback 1", "callback 2"]
    reader.stop()


def test_a_callback_that_cannot_be_called_is_a_type_error(tun):
    with pytest.raises(TypeError):
        tun.start_reader(None)
    with pytest.raises(TypeError):
        tun.start_reader("print")


def test_a_reader_waits_while_its_device_is_down(make_tun):
    got: queue.Queue[int] = queue.Queue()

    def callback(packet):
        value = number(packet)
        if value is not None:
            got.put(value)

    tun = make_tun()
    tun.addr4 = "10.77.0.1/24"
    reader = tun.start_reader(callback)
    for count in range(5):
        tun.up()
        with Sender() as sender:
            sender.send_numbers(1, count)
        assert got.get(timeout=60) == count
        tun.down()
    reader.stop()


def test_a_reader_on_a_closed_device_is_refused(make_tun):
    tun = make_tun()
    tun.close()
    with pytest.raises(OSError) as caught:
        tun.start_reader(print)
    assert caught.value.errno == errno.EBADF


def test_several_readers_share_the_packets(tun):
    got: queue.Queue[int] = queue.Queue()

    def callback(packet):
        value = number(packet)
        if value is not None:
            got.put(value)

    readers = [tun.start_reader(callback) for _ in range(3)]
    with Sender() as sender:
        sender.send_numbers(200)
    assert sorted(got.get(timeout=60) for _ in range(200)) == list(range(200))
    for reader in readers:
        reader.stop()
    assert got.empty()


def test_a_reader_runs_while_the_main_thread_computes(tun):
    """The native thread waits without the GIL; to call back it needs the GIL, and gets it."""
    called = threading.Event()
    reader = tun.start_reader(lambda packet: called.set())
    with Sender() as sender:
        sender.send_numbers(1)
    while not called.is_set():
        sum(range(1000))
    reader.stop()
