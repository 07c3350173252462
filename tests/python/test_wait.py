"""Waiting: with and without a limit, by several threads, without the GIL, interruptible, cancellable."""

from __future__ import annotations

import select
import selectors
import threading
import time

import pytest

from children import SETUP, Child, run
from packets import Sender, number, numbers

WAITS = {
    "read": "tun.read(timeout=None)",
    "timed read": "tun.read(timeout=3600)",
    "wait": "tun.wait_read_event()",
    "timed wait": "tun.wait_read_event(3600)",
}


def test_a_read_with_a_limit_waits_so_long_and_times_out(tun):
    drain(tun)
    start = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        while True:
            tun.read(timeout=0.1)
    assert time.monotonic() - start >= 0.1
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == 110  # ETIMEDOUT
    assert "testtun" in str(caught.value)


def test_a_read_with_limit_zero_never_waits(tun):
    drain(tun)
    with pytest.raises(TimeoutError):
        tun.read(timeout=0)
    with Sender() as sender:
        sender.send_numbers(1)
    assert numbers([tun.read(timeout=0)]) == [0]


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_a_limit_below_zero_is_a_value_error(tun, timeout):
    with pytest.raises(ValueError):
        tun.read(timeout=timeout)
    with pytest.raises(ValueError):
        tun.wait_read_event(timeout)


@pytest.mark.parametrize("timeout", ["1", b"1", [1]])
def test_a_limit_that_is_no_number_is_a_type_error(tun, timeout):
    with pytest.raises(TypeError):
        tun.read(timeout=timeout)
    with pytest.raises(TypeError):
        tun.wait_read_event(timeout)


@pytest.mark.parametrize("timeout", [1e9, 1e300, float("inf")])
def test_a_huge_limit_is_no_overflow(tun, timeout):
    with Sender() as sender:
        sender.send_numbers(1)
    assert tun.wait_read_event(timeout)
    assert tun.read(timeout=timeout)


def test_wait_read_event_says_whether_there_is_a_packet(tun):
    drain(tun)
    assert tun.wait_read_event(0.05) is False
    assert tun.wait_read_event(0) is False
    with Sender() as sender:
        sender.send_numbers(1)
    assert tun.wait_read_event(0) is True
    assert tun.wait_read_event() is True  # reading ends it, waiting does not
    assert tun.read() is not None


def test_the_descriptor_is_readable_as_long_as_a_packet_can_be_read(tun):
    drain(tun)
    assert not readable(tun)
    with Sender() as sender:
        sender.send_numbers(3)
    for _ in range(3):
        assert readable(tun)
        assert tun.read() is not None
    assert not readable(tun)


def test_the_descriptor_stays_readable_for_packets_that_are_already_in_the_ring(tun):
    drain(tun)
    with Sender() as sender:
        sender.send_numbers(10)
    got = numbers(tun.read_many(limit=1))
    while readable(tun):
        packet = tun.read()
        assert packet is not None
        got += numbers([packet])
    assert got == list(range(10))


def test_the_device_works_in_selectors_and_poll(tun):
    drain(tun)
    with selectors.DefaultSelector() as selector:
        selector.register(tun, selectors.EVENT_READ)
        assert selector.select(0) == []
        with Sender() as sender:
            sender.send_numbers(1)
        assert [key.fileobj for key, _ in selector.select(30)] == [tun]
    poll = select.poll()
    poll.register(tun, select.POLLIN)
    assert poll.poll(30_000)


@pytest.mark.parametrize("count", [2, 5])
def test_each_of_several_waiting_threads_is_served(tun, count):
    """Each thread that has a packet waits for all others to have one, so one packet each is the only way out."""
    drain(tun)
    barrier = threading.Barrier(count + 1)
    got = []

    def reader():
        while True:
            value = number(tun.read(timeout=30))
            if value is not None:
                break
        got.append(value)
        barrier.wait(60)

    threads = [threading.Thread(target=reader) for _ in range(count)]
    for thread in threads:
        thread.start()
    with Sender() as sender:
        sender.send_numbers(count)
    barrier.wait(60)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(count))


@pytest.mark.parametrize("way", ["read", "wait and read", "read_many"])
def test_several_waiting_threads_lose_and_double_nothing(tun, way):
    total, window = 3000, 200  # at most `window` packets are under way, so that no queue overflows
    got: list[list[int]] = []
    room = threading.Semaphore(window)

    def reader():
        mine: list[int] = []
        got.append(mine)
        try:
            while True:
                if way == "read":
                    packets = [tun.read(timeout=None)]
                else:
                    tun.wait_read_event()
                    packets = tun.read_many(limit=7) if way == "read_many" else [tun.read()]
                found = numbers(packet for packet in packets if packet is not None)
                mine.extend(found)
                for _ in found:
                    room.release()
        except OSError:
            return

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for thread in threads:
        thread.start()
    with Sender() as sender:
        for value in range(total):
            assert room.acquire(timeout=60)
            sender.send_numbers(1, value)
        for _ in range(window):  # all room back: all packets have been read
            assert room.acquire(timeout=60)
    tun.close()
    for thread in threads:
        thread.join()
    assert sorted(value for mine in got for value in mine) == list(range(total))
    for mine in got:
        assert mine == sorted(mine)


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_other_threads_run_while_one_waits(wait):
    """The waiting thread would wait for ever: the other one, which needs the GIL, is what ends it."""
    run(
        SETUP
        + f"""
while tun.read() is not None: pass
import socket
started = threading.Event()
def wait():
    started.set()
    try:
        {wait}
    except OSError:
        pass
thread = threading.Thread(target=wait)
thread.start()
started.wait()
total = sum(range(300000))  # longer than the interpreter lets one thread run without a switch
tun.close()
thread.join()
"""
    )


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_control_c_ends_a_wait(wait):
    with Child(SETUP + f"while tun.read() is not None: pass\nprint('waiting')\nwhile True: {wait}") as child:
        child.expect_line("waiting")
        child.wait_until_asleep()
        child.interrupt()
        code, _, error = child.finish()
    assert code == -2  # SIGINT
    assert "KeyboardInterrupt" in error


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_signal_handler_that_returns_does_not_end_a_wait(wait):
    code = (
        SETUP
        + f"""
import signal
signal.signal(signal.SIGINT, lambda *_: print("handled"))
while tun.read() is not None: pass
threading.Thread(target=lambda: (sys.stdin.readline(), tun.close()), daemon=True).start()
print("waiting")
try:
    while True: {wait}
except OSError as error:
    print("ended", error.errno)
"""
    )
    with Child(code) as child:
        child.expect_line("waiting")
        child.wait_until_asleep()
        child.interrupt()
        child.expect_line("handled")
        child.wait_until_asleep()
        child.write_line()
        child.expect_line("ended 9")
        assert child.finish()[0] == 0


def test_the_wait_goes_on_for_the_rest_of_its_limit_after_a_signal():
    code = (
        SETUP
        + """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while tun.read() is not None: pass
start = time.monotonic()
try:
    tun.read(timeout=0.3)
except TimeoutError:
    pass
assert time.monotonic() - start >= 0.3
assert tun.wait_read_event(0.3) is False
assert time.monotonic() - start >= 0.6
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    )
    run(code)


def test_cancel_read_wakes_all_blocked_readers_once(tun):
    drain(tun)
    ended = []
    waits = [lambda: tun.read(timeout=None), lambda: tun.read(timeout=3600), tun.wait_read_event]
    threads = [threading.Thread(target=lambda wait=wait: ended.append(wait())) for wait in waits]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):  # some may not have been asleep yet at the first call
        tun.cancel_read()
        time.sleep(0.005)
    assert sorted(map(repr, ended)) == ["False", "None", "None"]
    with Sender() as sender:  # nobody later is affected
        sender.send_numbers(1)
    assert numbers([tun.read(timeout=30)]) == [0]


def test_cancel_read_without_readers_leaves_no_mark(tun):
    drain(tun)
    for _ in range(3):
        tun.cancel_read()
    with pytest.raises(TimeoutError):
        tun.read(timeout=0.02)
    with Sender() as sender:
        sender.send_numbers(1)
    assert tun.wait_read_event() is True


def drain(tun):
    while tun.read() is not None:
        pass


def readable(tun):
    return bool(select.select([tun], [], [], 0)[0])
