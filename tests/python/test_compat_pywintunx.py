"""The drop-in for pywintunx_pmd3, as its README shows it."""

from __future__ import annotations

import errno
import select
import socket
import uuid

import pytest

from packets import HOST4, HOST6, PEER4, PEER6, Sender, numbers, receiver, udp
from wintun.compat import pywintunx_pmd3
from wintun.compat.pywintunx_pmd3 import Error, TunTapDevice


@pytest.fixture
def tun():
    with TunTapDevice("pywintunx") as device:
        device.addr4 = "10.77.0.1"
        device.addr = "fd77::1"
        device.up()
        yield device


def test_the_program_of_its_readme():
    lines = []
    pywintunx_pmd3.set_logger(lambda *line: lines.append(line))
    assert pywintunx_pmd3.get_driver_version() == 1
    tun = TunTapDevice(name="XX", type="xxx", guid=str(uuid.uuid4()), proto_aware=True)
    assert tun.name == "XX"
    tun.ring_capacity = 8 * 1024 * 1024
    tun.mtu4 = 1460
    tun.mtu = 1452
    tun.addr4 = "10.77.0.1"
    tun.addr = "fd77::1"
    tun.up()
    with Sender() as sender:
        sender.send_numbers(1)
    got = []
    while not got:
        packet = tun.read()
        if packet:
            got += numbers([packet])
        else:
            tun.wait_read_event()
    with receiver() as sock:
        assert tun.write(udp(PEER4, HOST4, 1, sock.getsockname()[1], b"x")) == 29
        assert sock.recv(10) == b"x"
    tun.down()
    tun.close()
    pywintunx_pmd3.delete_driver()
    pywintunx_pmd3.set_logger(None)
    assert lines


def test_every_argument_has_a_default():
    with TunTapDevice() as tun:
        assert tun.name


def test_addr_and_mtu_mean_ipv6(tun):
    assert (tun.addr, tun.addr4) == (HOST6, HOST4)
    tun.addr = "fd88::1/48"
    assert (tun.addr, tun.addr4) == ("fd88::1", HOST4)
    tun.mtu4 = 1400
    assert tun.mtu4 == 1400


def test_the_read_wait_event_can_be_waited_on(tun):
    while tun.read():
        pass
    assert select.select([tun.read_wait_event], [], [], 0)[0] == []
    with Sender() as sender:
        sender.send_numbers(1)
    assert select.select([tun.read_wait_event], [], [], 30)[0]


def test_proto_aware_leaves_out_what_the_device_has_no_address_of():
    with TunTapDevice("v6only") as tun:
        tun.addr = HOST6
        tun.up()
        assert tun.write(udp(PEER4, HOST4, 1, 2, b"x")) == 0
        assert tun.write(udp(PEER6, HOST6, 1, 2, b"x")) == 49
        assert tun.statistics["sent_packets"] == 1
    with TunTapDevice("both", proto_aware=False) as tun:
        tun.addr = HOST6
        tun.up()
        assert tun.write(udp(PEER4, HOST4, 1, 2, b"x")) == 29


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tun: setattr(tun, "mtu", 0),
        lambda tun: setattr(tun, "mtu", 1279),
        lambda tun: setattr(tun, "mtu", 0x10000),
        lambda tun: setattr(tun, "mtu4", 67),
        lambda tun: setattr(tun, "addr", "10.0.0.1"),
        lambda tun: setattr(tun, "addr4", "fd00::1"),
        lambda tun: setattr(tun, "ring_capacity", 1),
        lambda tun: tun.write(b""),
        lambda tun: tun.write(b"no packet"),
        lambda tun: TunTapDevice("lo"),
        lambda tun: TunTapDevice("x", guid="no guid"),
    ],
)
def test_every_refusal_is_error_and_an_oserror(tun, wrong):
    with pytest.raises(Error) as caught:
        wrong(tun)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno in (errno.EINVAL, errno.EEXIST)
    assert caught.value.strerror
    assert (tun.mtu, tun.addr, tun.addr4) == (1500, HOST6, HOST4)


def test_after_close_everything_is_error(tun):
    tun.close()
    tun.close()
    for operation in (tun.read, tun.wait_read_event, tun.up, lambda: tun.read_wait_event):
        with pytest.raises(Error) as caught:
            operation()
        assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError):
        socket.if_nametoindex("pywintunx")


def test_a_full_ring_drops(tun, monkeypatch):
    import wintun

    def full(self, data):
        raise BlockingIOError(errno.EAGAIN, "full")

    monkeypatch.setattr(wintun.TunDevice, "write", full)
    assert tun.write(udp(PEER6, HOST6, 1, 2, b"x")) == 49
