"""Ending: down and close from any thread wake everybody, and everything can begin again at once."""

from __future__ import annotations

import errno
import select
import socket
import threading

import pytest

from packets import HOST4, PEER4, Sender, numbers, receiver, udp


def blocked(operation):
    """Starts a thread that blocks in `operation`; returns a function that joins it and gives its exception."""
    result = []

    def body():
        try:
            result.append(operation())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()

    def join():
        thread.join(60)
        assert not thread.is_alive(), "still blocked"
        return result[0]

    return join


def drain(tun):
    while tun.read() is not None:
        pass


WAYS = {
    "read": lambda tun: tun.read(timeout=None),
    "timed read": lambda tun: tun.read(timeout=3600),
    "wait": lambda tun: tun.wait_read_event(),
    "timed wait": lambda tun: tun.wait_read_event(3600),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("end", "code"), [("close", errno.EBADF), ("down", errno.ENETDOWN)])
def test_ending_wakes_every_blocked_reader(make_tun, way, end, code):
    for _ in range(5):  # the race of falling asleep and being woken, from several sides
        tun = make_tun()
        tun.up()
        drain(tun)
        joins = [blocked(lambda: way(tun)) for _ in range(3)]
        getattr(tun, end)()
        for join in joins:
            error = join()
            # A packet of the kernel's own may have come first; otherwise this error is all that a reader can get.
            if isinstance(error, BaseException):
                assert isinstance(error, OSError), error
                assert error.errno == code
        tun.close()


@pytest.mark.parametrize("end", ["close", "down"])
def test_ending_wakes_a_poll(make_tun, end):
    tun = make_tun()
    tun.up()
    drain(tun)
    poll = select.poll()
    poll.register(tun.fileno(), select.POLLIN)
    join = blocked(lambda: poll.poll(60_000))
    getattr(tun, end)()
    assert join()


def test_close_is_idempotent_and_everything_after_it_is_ebadf(make_tun):
    tun = make_tun()
    tun.up()
    tun.close()
    tun.close()
    assert tun.closed
    assert not tun.is_up
    operations = [
        tun.read,
        lambda: tun.read(timeout=None),
        lambda: tun.read(timeout=1),
        lambda: tun.read_into(bytearray(2000)),
        tun.read_many,
        tun.read_batch,
        tun.wait_read_event,
        lambda: tun.wait_read_event(1),
        lambda: tun.write(udp(PEER4, HOST4, 1, 2, b"")),
        lambda: tun.write_many([udp(PEER4, HOST4, 1, 2, b"")]),
        tun.fileno,
        tun.up,
        tun.cancel_read,
        lambda: tun.receive().__enter__(),
        lambda: tun.start_reader(print),
        lambda: tun.mtu,
        lambda: setattr(tun, "mtu", 1400),
        lambda: setattr(tun, "addr", "10.0.0.1"),
        lambda: tun.addr,
        lambda: tun.add_address("10.0.0.1"),
        lambda: tun.remove_address("10.0.0.1"),
    ]
    for operation in operations:
        with pytest.raises(OSError) as caught:
            operation()
        assert caught.value.errno == errno.EBADF, operation
        assert "closed" in str(caught.value)
        assert "testtun" in str(caught.value)
    tun.down()  # nothing is up: nothing to do


def test_down_is_idempotent_and_reading_then_is_enetdown(tun):
    tun.down()
    tun.down()
    for operation in (tun.read, lambda: tun.read(timeout=None), tun.read_many, tun.wait_read_event, tun.fileno):
        with pytest.raises(OSError) as caught:
            operation()
        assert caught.value.errno == errno.ENETDOWN
        assert "up()" in str(caught.value)
    with pytest.raises(OSError) as caught:
        tun.write(udp(PEER4, HOST4, 1, 2, b""))
    assert caught.value.errno == errno.ENETDOWN


def test_a_second_up_changes_nothing(tun):
    with Sender() as sender:
        sender.send_numbers(3)
    tun.up()
    assert numbers(tun.read_many()) == [0, 1, 2]


def test_addresses_and_settings_survive_down_and_up(tun):
    tun.mtu = 1400
    tun.down()
    tun.up()
    assert tun.mtu == 1400
    assert tun.addr4 == HOST4
    with Sender() as sender:
        sender.send_numbers(1)
    assert numbers([tun.read(timeout=30)]) == [0]


def test_packets_that_were_not_read_before_down_do_not_come_after_up(tun):
    with Sender() as sender:
        sender.send_numbers(5)
        tun.down()
        tun.up()
        sender.send_numbers(5, 100)
    assert numbers(tun.read_many()) == list(range(100, 105))


def test_the_interface_is_gone_when_close_returns(make_tun):
    tun = make_tun()
    assert socket.if_nametoindex(tun.interface) == tun.index
    tun.close()
    with pytest.raises(OSError):
        socket.if_nametoindex(tun.interface)


def test_a_name_can_be_used_again_at_once_many_times(make_tun):
    import wintun

    for count in range(30):
        with wintun.TunDevice("again") as tun:
            tun.addr4 = "10.77.0.1/24"
            tun.up()
            with Sender() as sender:
                sender.send_numbers(1, count)
            got = []
            while not got:
                got = numbers([tun.read(timeout=30)])
            assert got == [count]


def test_a_with_statement_closes(make_tun):
    import wintun

    with wintun.TunDevice("withtun") as tun:
        tun.up()
        index = tun.index
    assert tun.closed
    assert index not in [number for number, _ in socket.if_nameindex()]


def test_many_devices_live_in_one_process(make_tun):
    devices = [make_tun(f"many{number}") for number in range(40)]
    for number, tun in enumerate(devices):
        tun.addr4 = f"10.78.{number}.1/24"
        tun.up()
    senders = [Sender(f"10.78.{number}.2") for number in range(40)]
    for number, sender in enumerate(senders):
        with sender:
            sender.send_numbers(1, number)
    for number, tun in enumerate(devices):
        got = []
        while not got:
            got = numbers([tun.read(timeout=30)])
        assert got == [number]
    assert len({tun.index for tun in devices}) == 40
    assert len({tun.guid for tun in devices}) == 40
    assert len({tun.fileno() for tun in devices}) == 40
    assert len({tun.luid for tun in devices}) == 40


def test_writers_and_readers_may_run_while_another_thread_closes(make_tun):
    for _ in range(20):
        tun = make_tun()
        tun.addr4 = "10.77.0.1/24"
        tun.up()
        packet = udp(PEER4, HOST4, 1, 2, b"x")
        started = threading.Barrier(4)

        def run(operation):
            started.wait(60)
            while True:
                operation()

        joins = [
            blocked(lambda: run(lambda: tun.write(packet))),
            blocked(lambda: run(tun.read)),
            blocked(lambda: run(lambda: tun.write_many([packet] * 5))),
        ]
        started.wait(60)
        tun.close()
        for join in joins:
            error = join()
            assert isinstance(error, OSError), error
            assert error.errno == errno.EBADF


def test_writers_go_on_working_over_down_and_up_by_another_thread(tun):
    stop = threading.Event()
    errors = []

    def writer():
        while not stop.is_set():
            try:
                tun.write(udp(PEER4, HOST4, 1, 2, b"x"))
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    errors.append(error)

    thread = threading.Thread(target=writer)
    thread.start()
    for _ in range(50):
        tun.down()
        tun.up()
    stop.set()
    thread.join()
    assert errors == []
    with receiver() as sock:
        tun.write(udp(PEER4, HOST4, 1, sock.getsockname()[1], b"still"))
        assert sock.recv(10) == b"still"
