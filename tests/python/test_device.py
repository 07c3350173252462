"""The device's settings and names, and what it shows of itself."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import wintun
from namespaces import enter_network_namespace
from packets import Sender, numbers


def test_the_interface_exists_when_the_constructor_returns(make_tun):
    tun = make_tun("Demo", "tunnel", 0x40000)
    assert tun.name == "Demo"
    assert tun.interface == "Demo"
    assert tun.tunnel_type == "tunnel"
    assert tun.ring_capacity == 0x40000
    assert tun.backend == "kernel"
    assert tun.index == socket.if_nametoindex("Demo")
    assert not tun.is_up
    assert not tun.closed


def test_every_argument_has_a_default():
    with wintun.TunDevice() as tun:
        assert tun.name
        assert tun.ring_capacity == 0x400000


def test_a_device_is_true(make_tun):
    tun = make_tun()
    assert tun
    tun.up()
    assert tun


@pytest.mark.parametrize(
    "name",
    [
        "x" * 16,
        "x" * 127,
        "with space",
        "sl/ash",
        "co:lon",
        "per%cent",
        ".",
        "..",
        "ümläut-ümläut",
        "隧道" * 20,
        "a\tb",
    ],
    ids=lambda name: name[:20],
)
def test_a_name_that_linux_cannot_have_is_mapped(make_tun, name):
    tun = make_tun(name)
    assert tun.name == name
    assert 0 < len(tun.interface.encode()) <= 15
    assert tun.interface.isascii()
    assert tun.index == socket.if_nametoindex(tun.interface)
    interface = tun.interface
    tun.close()
    assert make_tun(name).interface == interface  # the same name gives the same interface, run after run


def test_a_name_of_other_letters_is_kept_if_linux_can_have_it(make_tun):
    assert make_tun("ümläut").interface == "ümläut"
    assert make_tun("隧道").interface == "隧道"


def test_long_names_with_one_beginning_do_not_collide(make_tun):
    names = [f"a long name that goes on for a while {number}" for number in range(20)]
    assert len({make_tun(name).interface for name in names}) == 20


def test_the_guid_comes_from_the_name_unless_given(make_tun):
    first = make_tun("one")
    guid = first.guid
    assert isinstance(guid, uuid.UUID)
    first.close()
    assert make_tun("one").guid == guid
    assert make_tun("two").guid != guid
    given = uuid.uuid4()
    assert make_tun("three", guid=given).guid == given
    assert make_tun("four", guid=str(given)).guid == given


def test_the_mtu_can_be_set_before_and_after_up(make_tun):
    tun = make_tun()
    tun.mtu = 1400
    assert tun.mtu == 1400
    tun.up()
    assert tun.mtu == 1400
    tun.mtu = 9000
    assert tun.mtu == 9000
    assert tun.mtu4 == 9000


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("10.2.0.1", "10.2.0.1/24"),
        ("10.2.0.0", "10.2.0.0/24"),
        ("10.2.0.1/16", "10.2.0.1/16"),
        ("10.2.0.1/32", "10.2.0.1/32"),
        (ipaddress.ip_address("10.2.0.1"), "10.2.0.1/24"),
        (ipaddress.ip_interface("10.2.0.1/30"), "10.2.0.1/30"),
        ("fd00::1", "fd00::1/64"),
        ("fd00::1/48", "fd00::1/48"),
        (ipaddress.ip_address("fd00::1"), "fd00::1/64"),
        (ipaddress.ip_interface("fd00::1/127"), "fd00::1/127"),
    ],
    ids=str,
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_addr_takes_each_kind_of_address(make_tun, value, address, when):
    tun = make_tun()
    if when == "after":
        tun.up()
    tun.addr = value
    if when == "before":
        tun.up()
    assert ipaddress.ip_interface(address) in map(ipaddress.ip_interface, tun.addresses)
    assert tun.addr == address.split("/")[0]


def test_each_family_has_its_own_address(make_tun):
    tun = make_tun()
    tun.addr4 = "10.2.0.1"
    tun.addr6 = "fd00::1"
    assert (tun.addr4, tun.addr6) == ("10.2.0.1", "fd00::1")
    tun.addr4 = "10.3.0.1"  # replaces that of its family only
    assert (tun.addr4, tun.addr6) == ("10.3.0.1", "fd00::1")
    assert "10.2.0.1/24" not in list(map(str, tun.addresses))


def test_a_device_without_address_has_none(make_tun):
    tun = make_tun()
    assert tun.addr is None
    assert tun.addr4 is None
    assert tun.addr6 is None


def test_addresses_can_be_added_and_removed(make_tun):
    tun = make_tun()
    tun.add_address("10.2.0.1/24")
    tun.add_address("10.3.0.1/24")
    tun.add_address("fd00::1/64")
    found = {str(address) for address in tun.addresses}
    assert {"10.2.0.1/24", "10.3.0.1/24", "fd00::1/64"} <= found
    tun.remove_address("10.2.0.1/24")
    assert "10.2.0.1/24" not in {str(address) for address in tun.addresses}
    with pytest.raises(OSError, match=r"10\.2\.0\.1"):
        tun.remove_address("10.2.0.1/24")


def test_settings_act_in_the_devices_own_namespace(make_tun):
    """From a thread in another one too, where an interface of the same index is that of somebody else."""
    tun = make_tun("Demo")

    def elsewhere():
        enter_network_namespace()
        other = make_tun("other")
        assert other.index == tun.index  # each is the first of its namespace
        tun.mtu = 1400
        tun.addr4 = "10.77.0.1/24"
        tun.add_address("fd77::1/64")
        tun.remove_address("fd77::1/64")
        tun.up()
        assert tun.interface == "Demo"
        assert tun.mtu == 1400
        assert list(map(str, tun.addresses)) == ["10.77.0.1/24"]
        with pytest.raises(OSError, match="Demo"):
            tun.add_address("10.77.0.1/24")
        assert other.interface == "other"
        assert other.mtu == 1500
        assert other.addresses == []

    with ThreadPoolExecutor(1) as threads:
        threads.submit(elsewhere).result()
    assert tun.mtu == 1400
    with Sender() as sender:  # from the address, in this thread's namespace
        sender.send_numbers(3)
    assert numbers(tun.read_many()) == [0, 1, 2]


@pytest.mark.parametrize("capacity", [0x20000, 0x40000, 0x4000000])
def test_each_power_of_two_in_range_is_a_ring(make_tun, capacity):
    tun = make_tun(ring_capacity=capacity)
    tun.addr4 = "10.77.0.1"
    tun.up()
    assert tun.ring_capacity == capacity
    with Sender() as sender:
        sender.send_numbers(10)
    assert numbers(tun.read_many()) == list(range(10))


def test_a_new_capacity_counts_from_the_next_up(tun):
    with Sender() as sender:
        sender.send_numbers(2)
        tun.ring_capacity = 0x20000
        assert tun.ring_capacity == 0x20000
        assert numbers(tun.read_many()) == [0, 1]
        tun.down()
        tun.up()
        sender.send_numbers(2)
        assert numbers(tun.read_many()) == [0, 1]


def test_repr_says_what_one_wants_to_know(make_tun):
    tun = make_tun("Demo", ring_capacity=0x40000)
    tun.addr = "10.2.0.1"
    assert "TunDevice" in repr(tun)
    assert "Demo" in repr(tun)
    assert "10.2.0.1" in repr(tun)
    assert "down" in repr(tun)
    tun.up()
    assert "down" not in repr(tun)
    tun.close()
    assert "closed" in repr(tun)


def test_notebooks_render_device_and_statistics(make_tun):
    tun = make_tun("De<mo>&")
    html = tun._repr_html_()
    assert "<table" in html
    assert "De&lt;mo&gt;&amp;" in html
    assert "De<mo>" not in html
    assert "<table" in tun.statistics._repr_html_()
    tun.close()
    assert "closed" in tun._repr_html_()


def test_the_driver_has_a_version():
    version = wintun.get_driver_version()
    assert isinstance(version, int)
    assert version >> 16 == 0
    assert version & 0xFFFF == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda tun: tun.create_connection(("10.0.0.1", 1)),
        lambda tun: asyncio.run(tun.open_connection("10.0.0.1", 1)),
        lambda tun: asyncio.run(tun.start_server(print, "10.0.0.1", 1)),
        lambda tun: tun.datagram(),
        lambda tun: tun.ping("10.0.0.1"),
    ],
    ids=["create_connection", "open_connection", "start_server", "datagram", "ping"],
)
def test_what_only_the_embedded_backend_has_says_so(make_tun, call):
    with pytest.raises(OSError, match="embedded") as caught:
        call(make_tun())
    assert caught.value.errno == errno.EOPNOTSUPP
