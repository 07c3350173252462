"""Nothing leaks: descriptors, threads, memory, references; and nothing is freed while somebody uses it."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import warnings
import weakref

import pytest

import wintun
from children import SETUP, run
from packets import HOST4, PEER4, Sender, numbers, udp

PACKET = udp(PEER4, HOST4, 1, 2, b"x" * 1000)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def threads():
    return len(os.listdir("/proc/self/task"))


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check_for_leaks(cycle, count, warm_up, bytes_a_cycle=1000):
    """Memory may grow by a few pages that an allocator keeps, not by something for each cycle."""
    for _ in range(warm_up):
        cycle()
    gc.collect()
    before = descriptors(), threads(), resident()
    for _ in range(count):
        cycle()
    gc.collect()
    assert descriptors() <= before[0]
    deadline = time.monotonic() + 60
    while threads() > before[1]:  # one that is done with its work is still listed for a moment
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert resident() - before[2] < max(count * bytes_a_cycle, 1_000_000)


def test_a_thousand_up_and_down_leak_nothing(make_tun):
    tun = make_tun(ring_capacity=0x20000)

    def cycle():
        tun.down()
        tun.up()
        tun.write(PACKET)
        tun.read()

    check_for_leaks(cycle, 1000, 100)


def test_a_thousand_devices_leak_nothing():
    def cycle():
        with wintun.TunDevice("cycle", ring_capacity=0x20000) as tun:
            tun.up()
            tun.write(PACKET)
            tun.read()
            tun.fileno()

    check_for_leaks(cycle, 1000, 50, bytes_a_cycle=2000)


def test_devices_that_are_dropped_without_close_leak_nothing():
    def cycle():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            tun = wintun.TunDevice("dropped")
            tun.up()
            tun.fileno()
            del tun

    check_for_leaks(cycle, 50, 10, bytes_a_cycle=5000)


def test_ten_thousand_packets_each_way_leak_nothing(make_tun):
    tun = make_tun(ring_capacity=0x20000)  # soon used all around, so that its pages are no growth later
    tun.addr4 = "10.77.0.1/24"
    tun.up()
    buffer = bytearray(2000)

    def cycle():
        with Sender() as sender:
            sender.send_numbers(20)
        tun.read()
        tun.read_into(buffer)
        with tun.receive() as packet:
            len(packet)
        tun.read_many(limit=5)
        batch = tun.read_batch()
        list(batch)
        tun.write(PACKET)
        tun.write_many([PACKET] * 5)
        tun.write_batch(batch)
        repr(tun), tun._repr_html_(), dict(tun.statistics), tun.addresses

    check_for_leaks(cycle, 500, 300)


def test_errors_leak_nothing(tun):
    def cycle():
        for bad in (
            lambda: tun.write(b""),
            lambda: tun.write(None),
            lambda: tun.read(timeout=0),
            lambda: tun.read(timeout=-1),
            lambda: tun.read_into(b""),
            lambda: setattr(tun, "mtu", 1),
            lambda: setattr(tun, "addr", "x"),
            lambda: wintun.TunDevice("testtun"),
            lambda: wintun.TunDevice("", ring_capacity=5),
            lambda: tun.write_many([PACKET, b"bad"]),
            lambda: tun.write_batch(5),
        ):
            try:
                bad()
            except (OSError, ValueError, TypeError, BufferError):
                pass

    check_for_leaks(cycle, 500, 50)


def test_readers_and_waits_leak_nothing(tun):
    def cycle():
        tun.start_reader(lambda packet: None).stop()
        tun.wait_read_event(0)

    check_for_leaks(cycle, 300, 50)


def test_asyncio_reads_and_cancellations_leak_nothing(tun):
    def cycle():
        async def main():
            task = asyncio.create_task(tun.async_read())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with Sender() as sender:
                sender.send_numbers(1)
            await tun.async_read()

        asyncio.run(main())

    check_for_leaks(cycle, 200, 20, bytes_a_cycle=5000)


@pytest.mark.no_device
def test_failed_constructors_leak_nothing():
    def cycle():
        for options in ({"ring_capacity": 1}, {"guid": "x"}, {"backend": "x"}, {"name": "lo"}, {"name": ""}):
            with pytest.raises((ValueError, OSError)):
                wintun.TunDevice(**{"name": "failed", **options})

    check_for_leaks(cycle, 200, 20, bytes_a_cycle=2000)


def test_loggers_leak_nothing():
    def cycle():
        wintun.set_logger(lambda *line: None)
        with wintun.TunDevice("logged"):
            pass
        wintun.set_logger(None)

    check_for_leaks(cycle, 50, 10, bytes_a_cycle=5000)


def test_a_forgotten_device_is_a_resource_warning_and_its_interface_goes():
    tun = wintun.TunDevice("forgotten")
    tun.up()
    with pytest.warns(ResourceWarning, match="forgotten"):
        del tun
        gc.collect()
    with wintun.TunDevice("forgotten"):  # the name is free again
        pass


def test_a_closed_device_is_no_resource_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tun = wintun.TunDevice("remembered")
        tun.up()
        tun.close()
        del tun
        gc.collect()


def test_a_device_in_a_reference_cycle_is_collected():
    class Holder:
        pass

    holder = Holder()
    with wintun.TunDevice("cyclic") as tun:
        tun.up()
        holder.tun = tun
        holder.lent = tun.receive()
        holder.self = holder
    gone = weakref.ref(holder)
    del holder, tun
    gc.collect()
    assert gone() is None


def test_a_view_keeps_what_it_shows_alive(tun):
    with Sender() as sender:
        sender.send_numbers(3)
    views = [memoryview(packet) for packet in tun.read_batch()]
    tun.close()
    gc.collect()
    assert numbers(views) == [0, 1, 2]


def test_daemon_threads_in_every_wait_do_not_disturb_the_end_of_the_process():
    run(
        SETUP
        + """
import asyncio
while tun.read() is not None: pass
ways = [lambda: tun.read(timeout=None), lambda: tun.read(timeout=3600), tun.wait_read_event,
        lambda: tun.wait_read_event(3600), lambda: asyncio.run(tun.async_read())]
for way in ways * 2:
    threading.Thread(target=way, daemon=True).start()
reader = tun.start_reader(lambda packet: None)
wintun.set_logger(lambda *line: None)
time.sleep(0.05)
os.environ["PYTHONWARNINGS"] = "ignore"
import warnings
warnings.simplefilter("ignore")
"""
    )


def test_a_process_may_end_with_everything_open():
    done = run(
        """
import warnings
warnings.simplefilter("ignore")
import wintun
tun = wintun.TunDevice("open")
tun.up()
reader = tun.start_reader(print)
lent = tun.receive()
packet = lent.__enter__()
batch = tun.read_batch()
print("end")
"""
    )
    assert "end" in done.stdout


def test_a_killed_process_leaves_no_interface():
    import socket

    from children import Child

    with Child(SETUP + "print('up'); tun.read(timeout=3600)\nwhile True: time.sleep(1)") as child:
        child.expect_line("up")
        assert socket.if_nametoindex("child")
    deadline = time.monotonic() + 60
    while "child" in [name for _, name in socket.if_nameindex()]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_forked_child_does_not_disturb_its_parent(tun):
    """The child has copies of all descriptors; neither its work, nor its end, nor its collector touches the device."""
    tun.wait_read_event(0)
    for end in ("os._exit(0)", "close", "collect"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                if end == "close":
                    tun.close()
                if end == "collect":
                    gc.collect()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        with Sender() as sender:
            sender.send_numbers(2)
        got = []
        while len(got) < 2:
            got += numbers([tun.read(timeout=30)])
        assert got == [0, 1]
        assert tun.is_up


def test_descriptors_are_not_inherited_by_programs_that_are_started(tun):
    import subprocess

    tun.fileno()
    listing = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], check=True, capture_output=True, text=True, close_fds=False
    ).stdout
    assert "net/tun" not in listing
    assert "eventfd" not in listing
    assert "eventpoll" not in listing
