"""The drop-in for pytun_pmd3, as its programs use it."""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import os
import select
import socket
import subprocess
import threading

import pytest

from packets import HOST4, PEER4, Sender, numbers, parse_udp, receiver, udp
from wintun.compat import pytun_pmd3
from wintun.compat.pytun_pmd3 import TunTapDevice

HOST, PEER = "fd77::1", "fd77::2"


@pytest.fixture
def tun():
    with TunTapDevice() as device:
        device.addr = HOST
        device.mtu = 1500
        device.up()
        yield device


def information(packet, kind=b"\x86\xdd"):
    assert packet[:4] == b"\0\0" + kind
    return packet[4:]


def test_the_order_of_calls_that_pymobiledevice3_makes():
    tun = TunTapDevice()
    tun.addr = "fd01::1"
    tun.mtu = 16000
    assert not inspect.isawaitable(tun.up())
    assert tun.name.startswith("tun")
    assert tun.mtu == 16000
    assert tun.addr == "fd01::1"
    assert hasattr(tun, "async_read_batch")
    shown = subprocess.run(["ip", "-6", "address", "show", "dev", tun.name], capture_output=True, text=True, check=True)
    assert "fd01::1/64" in shown.stdout
    assert tun.interface_index == socket.if_nametoindex(tun.name)
    assert tun.luid >> 48 == 53
    tun.close()
    tun.close()
    with pytest.raises(OSError):
        socket.if_nametoindex(tun.name)


def test_select_finds_the_device_writable_and_readable_while_there_is_a_packet(tun):
    descriptor = tun.fileno()
    assert descriptor == tun.fileno()
    assert select.select([], [tun], [], 0)[1] == [tun]
    with Sender(PEER) as sender:
        sender.send_numbers(3)
        received = []
        while len(received) < 3:
            assert select.select([tun], [], [], 10)[0] == [tun]
            received += numbers([information(tun.read())])
    assert received == [0, 1, 2]
    tun.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_the_device_is_not_readable_any_more_when_its_packet_was_read(tun):
    tun_has_packet(tun)
    while tun_readable(tun):  # the system sends some of its own
        tun.read(2000)
    assert select.select([], [tun], [], 0)[1] == [tun]


def test_the_descriptor_is_there_before_up_and_writable_from_then_on():
    with TunTapDevice() as tun:
        descriptor = tun.fileno()  # not writable yet: the system takes no packet of an interface that is down
        tun.addr = HOST
        tun.up()
        assert tun.fileno() == descriptor
        assert select.select([], [tun], [], 0)[1] == [tun]
        tun.down()
        assert select.select([], [tun], [], 0)[1] == [tun]
        assert tun.fileno() == descriptor


def test_a_hundred_devices_that_were_selected_leak_no_descriptor():
    kept = []  # so that it is close() that frees, and not the end of the object

    def one():
        with TunTapDevice() as tun:
            kept.append(tun)
            tun.up()
            assert select.select([], [tun], [], 0)[1] == [tun]

    one()  # the first one of a process opens what the process keeps
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        one()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_forgotten_device_whose_descriptor_was_asked_for_leaves_no_interface():
    tun = TunTapDevice()
    name = tun.name
    tun.fileno()
    with pytest.warns(ResourceWarning):
        del tun
        gc.collect()
    with pytest.raises(OSError):
        socket.if_nametoindex(name)


def test_unnamed_devices_are_numbered_and_free_their_numbers():
    with TunTapDevice() as first, TunTapDevice() as second:
        assert (first.name, second.name) == ("tun0", "tun1")
    with TunTapDevice() as third:
        assert third.name == "tun0"


def test_an_unnamed_device_never_takes_over_one_that_exists():
    subprocess.run(["ip", "tuntap", "add", "dev", "tun0", "mode", "tun"], check=True)
    with TunTapDevice("tun1"), TunTapDevice() as tun:
        assert tun.name == "tun2"


def test_unnamed_devices_of_several_threads_get_names_of_their_own():
    made = []
    threads = [threading.Thread(target=lambda: made.append(TunTapDevice())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tun.name for tun in made) == [f"tun{number}" for number in range(10)]
    for tun in made:
        tun.close()


def test_a_hundred_devices_one_after_another_leak_no_descriptor():
    def one():
        tun = TunTapDevice()
        tun.addr = HOST
        tun.mtu = 16000
        tun.up()
        assert tun.name == "tun0"
        tun.close()

    one()  # the first one of a process opens what the process keeps
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        one()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_read_gives_packet_information_as_the_system_does(tun):
    with Sender(PEER) as sender:
        sender.send(b"hello")
    while True:
        packet = information(tun.read(tun.mtu + 4))
        if parse_udp(packet):
            break
    assert parse_udp(packet).payload == b"hello"


def test_read_cuts_off_what_is_longer_than_its_size(tun):
    assert len(tun.read(20)) == 20 if tun_has_packet(tun) else True
    with pytest.raises(ValueError):
        tun.read(0)


def tun_has_packet(tun):
    with Sender(PEER) as sender:
        sender.send(b"a packet")
    return bool(select.select([tun], [], [], 30)[0])


def test_without_packet_information_packets_are_raw():
    with TunTapDevice(flags=pytun_pmd3.IFF_TUN | pytun_pmd3.IFF_NO_PI) as tun:
        tun.addr = "10.77.0.1/24"
        tun.up()
        with Sender() as sender:
            sender.send_numbers(1)
        while not numbers([packet := tun.read(2000)]):
            pass
        assert packet[0] == 0x45


@pytest.mark.parametrize("header", [b"", b"\0\0\x86\xdd"], ids=["raw", "with information"])
def test_write_reaches_the_kernel_and_tells_the_size_of_what_it_got(tun, header):
    with receiver(HOST) as sock:
        data = header + udp(PEER, HOST, 1, sock.getsockname()[1], b"hello")
        assert tun.write(data) == len(data)
        assert sock.recv(100) == b"hello"


def test_ipv4_works_the_same(tun):
    tun.addr = "10.77.0.1/24"
    assert tun.addr == HOST
    with receiver(HOST4) as sock:
        tun.write(b"\0\0\x08\0" + udp(PEER4, HOST4, 1, sock.getsockname()[1], b"4"))
        assert sock.recv(10) == b"4"


def test_async_read_gives_raw_packets(tun):
    async def main():
        with Sender(PEER) as sender:
            sender.send(b"hello")
        while True:
            datagram = parse_udp(await tun.async_read())
            if datagram:
                return datagram.payload

    assert asyncio.run(asyncio.wait_for(main(), 60)) == b"hello"


def test_async_read_batch_gives_a_list_of_all_raw_packets_in_order(tun):
    async def main():
        with Sender(PEER) as sender:
            sender.send_numbers(200)
        got = []
        while len(got) < 200:
            batch = await tun.async_read_batch()
            assert isinstance(batch, list)
            assert batch
            assert all(type(packet) is bytes for packet in batch)
            got += numbers(batch)
        return got

    assert asyncio.run(asyncio.wait_for(main(), 60)) == list(range(200))


def test_cancelling_async_read_batch_loses_no_packet(tun):
    async def main():
        got = []
        with Sender(PEER) as sender:
            for count in range(100):
                task = asyncio.ensure_future(tun.async_read_batch())
                for _ in range(count % 4):
                    await asyncio.sleep(0)
                sender.send_numbers(1, count)
                for _ in range(count // 4 % 4):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    got += numbers(await task)
                except asyncio.CancelledError:
                    pass
            while len(got) < 100:
                got += numbers(await tun.async_read_batch())
        return got

    assert asyncio.run(asyncio.wait_for(main(), 60)) == list(range(100))


@pytest.mark.parametrize("read", ["async_read", "async_read_batch"])
def test_close_ends_a_pending_read_with_an_oserror(tun, read):
    async def main():
        while tun_readable(tun):
            tun.read(2000)
        task = asyncio.ensure_future(getattr(tun, read)())
        await asyncio.sleep(0)
        tun.close()
        with pytest.raises(OSError):
            await task

    asyncio.run(asyncio.wait_for(main(), 60))


def tun_readable(tun):
    return bool(select.select([tun], [], [], 0)[0])


@pytest.mark.parametrize("data", [b"", b"\0\0\x86\xdd", b"junk", b"\0" * 100, b"\xff" * 70000], ids=len)
def test_every_refusal_is_an_oserror(tun, data):
    with pytest.raises(OSError) as caught:
        tun.write(data)
    assert isinstance(caught.value, pytun_pmd3.PytunError)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "refused",
    [
        lambda: TunTapDevice(flags=pytun_pmd3.IFF_TAP),
        lambda: TunTapDevice(flags=0),
        lambda: TunTapDevice(flags=pytun_pmd3.IFF_TAP | pytun_pmd3.IFF_TUN),
        lambda: TunTapDevice(dev="/dev/null"),
        lambda: TunTapDevice("x" * 200),
        lambda: TunTapDevice("lo"),
    ],
)
def test_a_device_that_cannot_be_is_an_oserror(refused):
    with pytest.raises(OSError):
        refused()
    assert [name for _, name in socket.if_nameindex()] == ["lo"]


@pytest.mark.parametrize(
    ("member", "value"), [("mtu", 0), ("mtu", 70000), ("addr", "nonsense"), ("netmask", "300.0.0.0")]
)
def test_a_bad_setting_is_an_oserror_and_changes_nothing(tun, member, value):
    with pytest.raises(OSError):
        setattr(tun, member, value)
    assert (tun.mtu, tun.addr) == (1500, HOST)


def test_a_device_without_address_says_so():
    with TunTapDevice() as tun, pytest.raises(OSError, match="address"):
        tun.addr  # noqa: B018


def test_after_close_everything_is_an_oserror(tun):
    tun.close()
    for operation in (lambda: tun.read(100), lambda: tun.write(udp(PEER, HOST, 1, 2, b"")), tun.fileno, tun.up):
        with pytest.raises(OSError) as caught:
            operation()
        assert caught.value.errno == errno.EBADF


def test_a_full_ring_drops_and_counts(tun, monkeypatch):
    """The kernel takes what is written at once, so a ring that is full is put in its place here."""
    import wintun

    def full(self, data):
        raise BlockingIOError(errno.EAGAIN, "full")

    monkeypatch.setattr(wintun.TunDevice, "write", full)
    packet = udp(PEER, HOST, 1, 2, b"")
    assert tun.write(packet) == len(packet)


def test_a_netmask_counts_for_an_ipv4_address_before_and_after():
    with TunTapDevice() as tun:
        tun.addr = "10.1.0.1"
        assert tun.netmask == "255.255.255.255"
        tun.netmask = "255.255.255.0"
        assert tun.netmask == "255.255.255.0"
        assert tun.addr == "10.1.0.1"
        tun.addr = "10.2.0.1"
        assert tun.netmask == "255.255.255.0"


def test_the_settings_of_python_pytun_are_there():
    with TunTapDevice(flags=pytun_pmd3.IFF_TUN | pytun_pmd3.IFF_NO_PI) as tun:
        with pytest.raises(pytun_pmd3.Error):
            tun.dstaddr  # noqa: B018
        tun.addr = "10.8.0.1"
        tun.dstaddr = "10.8.0.2"
        tun.netmask = "255.255.255.0"
        assert (tun.addr, tun.dstaddr, tun.netmask) == ("10.8.0.1", "10.8.0.2", "255.255.255.0")
        with pytest.raises(pytun_pmd3.Error):
            tun.dstaddr = "nonsense"
        tun.persist(False)
        for refused in (tun.persist, tun.mq_attach):
            with pytest.raises(pytun_pmd3.Error) as caught:
                refused()
            assert caught.value.errno == errno.EOPNOTSUPP


def test_repr_names_the_interface(tun):
    assert tun.name in repr(tun)
