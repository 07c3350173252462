"""Bad input: refused before anything has changed, with the right type, errno and a text that helps."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import textwrap

import pytest

from children import SETUP, Child, run
from packets import Sender, numbers, udp


@pytest.mark.parametrize(
    "capacity",
    [0, 1, 0x10000, 0x1FFFF, 0x20001, 0x30000, 0x8000000, 1 << 32, 1 << 40, 1 << 80, -1, -0x20000],
    ids=hex,
)
def test_a_capacity_that_is_no_power_of_two_in_range_is_a_value_error(make_tun, capacity):
    with pytest.raises(ValueError, match="power of two"):
        make_tun(ring_capacity=capacity)
    assert no_devices()
    tun = make_tun()
    with pytest.raises(ValueError, match="power of two"):
        tun.ring_capacity = capacity
    assert tun.ring_capacity == 0x400000


@pytest.mark.parametrize("capacity", ["0x400000", 4194304.0, None, b"1"], ids=repr)
def test_a_capacity_that_is_no_integer_is_a_type_error(make_tun, capacity):
    with pytest.raises(TypeError):
        make_tun(ring_capacity=capacity)
    tun = make_tun()
    with pytest.raises(TypeError):
        tun.ring_capacity = capacity


@pytest.mark.no_device
@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize(
    ("name", "text"), [("", "empty"), ("x" * 128, "127"), ("nul\0inside", "null|NUL|\\\\0|\\\\x00")], ids=repr
)
def test_a_name_that_the_abi_cannot_have_is_a_value_error(make_tun, name, text):
    with pytest.raises(ValueError, match=text):
        make_tun(name)


@pytest.mark.no_device
@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize("name", [None, b"bytes", 7, ["x"]], ids=repr)
def test_a_name_that_is_no_text_is_a_type_error(make_tun, name):
    with pytest.raises(TypeError):
        make_tun(name)
    with pytest.raises(TypeError):
        make_tun("x", name)


@pytest.mark.no_device
@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize("guid", ["no guid", "12345678-1234-1234-1234-12345678901", ""], ids=repr)
def test_a_guid_that_is_none_is_a_value_error(make_tun, guid):
    with pytest.raises(ValueError, match="(?i)guid|uuid"):
        make_tun(guid=guid)


@pytest.mark.no_device
@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize("backend", ["", "kernal", "Kernel"])
def test_a_backend_that_does_not_exist_is_a_value_error(make_tun, backend):
    with pytest.raises(ValueError, match="kernel"):
        make_tun(backend=backend)


def test_a_backend_is_never_replaced_silently(make_tun, monkeypatch):
    for options in ({"backend": "embedded"}, {}):
        try:
            with make_tun(**options) as tun:
                assert tun.backend == "embedded"
                assert no_devices()
        except OSError as error:  # where it is not built in
            assert "embedded" in str(error)
        monkeypatch.setenv("WINTUN_BACKEND", "embedded")
    monkeypatch.setenv("WINTUN_BACKEND", "nonsense")
    with pytest.raises(ValueError, match="WINTUN_BACKEND"):
        make_tun()
    assert no_devices()


@pytest.mark.parametrize("mtu", [0, 67, -1, 65536, 1 << 31, 1 << 32, 1 << 70])
def test_an_mtu_out_of_range_is_a_value_error_that_names_the_range(tun, mtu):
    with pytest.raises(ValueError, match="68.*65535"):
        tun.mtu = mtu
    assert tun.mtu == 1500


@pytest.mark.parametrize("mtu", ["1500", 1500.0, None], ids=repr)
def test_an_mtu_that_is_no_integer_is_a_type_error(tun, mtu):
    with pytest.raises(TypeError):
        tun.mtu = mtu
    assert tun.mtu == 1500


def test_ipv6_needs_an_mtu_of_1280_and_says_so(tun):
    with pytest.raises(ValueError, match="1280"):
        tun.mtu = 1279
    assert tun.mtu == 1500
    assert tun.addr6 == "fd77::1"


def test_an_ipv6_address_on_a_small_mtu_says_so(make_tun):
    tun = make_tun()
    tun.mtu = 1000
    with pytest.raises((ValueError, OSError), match="1280"):
        tun.addr = "fd00::1"
    tun.addr = "10.0.0.1"
    assert tun.addr == "10.0.0.1"


@pytest.mark.parametrize("address", ["", "10.2.0", "10.2.0.256", "10.2.0.1/33", "fd00::1/129", "fd00:::1", "host", "1"])
@pytest.mark.parametrize("member", ["addr", "add_address", "remove_address"])
def test_an_address_that_is_none_is_a_value_error(tun, address, member):
    before = sorted(map(str, tun.addresses))
    with pytest.raises(ValueError):
        if member == "addr":
            tun.addr = address
        else:
            getattr(tun, member)(address)
    assert sorted(map(str, tun.addresses)) == before


@pytest.mark.parametrize("address", [None, 7.5, b"10.2.0.1", ["10.2.0.1"]], ids=repr)
def test_an_address_of_a_wrong_type_is_a_type_error(tun, address):
    with pytest.raises(TypeError):
        tun.addr = address
    assert tun.addr4 == "10.77.0.1"


def test_an_address_of_the_other_family_is_a_value_error(tun):
    with pytest.raises(ValueError):
        tun.addr4 = "fd00::1"
    with pytest.raises(ValueError):
        tun.addr6 = "10.0.0.1"
    assert (tun.addr4, tun.addr6) == ("10.77.0.1", "fd77::1")


@pytest.mark.parametrize("name", ["lo", "testtun"])
def test_a_taken_name_is_file_exists(make_tun, name):
    make_tun()
    with pytest.raises(FileExistsError) as caught:
        make_tun(name)
    assert caught.value.errno == errno.EEXIST
    assert name in str(caught.value)


def test_a_name_taken_by_another_process_is_file_exists(make_tun):
    with Child(SETUP + "print('up')\nsys.stdin.readline()") as child:
        child.expect_line("up")
        with pytest.raises(FileExistsError, match="child"):
            make_tun("child")


def test_a_persistent_tun_is_opened_and_stays(make_tun):
    subprocess.run(["ip", "tuntap", "add", "dev", "kept", "mode", "tun"], check=True)
    tun = make_tun("kept")
    tun.addr4 = "10.77.0.1"
    tun.up()
    with Sender() as sender:
        sender.send_numbers(1)
    got = []
    while not got:
        got = numbers([tun.read(timeout=30)])
    tun.close()
    assert socket.if_nametoindex("kept")


def test_a_persistent_tap_is_not_taken_for_a_tun(make_tun):
    subprocess.run(["ip", "tuntap", "add", "dev", "tapped", "mode", "tap"], check=True)
    with pytest.raises(FileExistsError, match="tapped"):
        make_tun("tapped")


def test_a_removed_interface_ends_the_device_with_an_error(make_tun):
    tun = make_tun()
    tun.up()
    while tun.read() is not None:
        pass
    subprocess.run(["ip", "link", "del", tun.interface], check=True)
    with pytest.raises(OSError, match="testtun"):
        tun.read(timeout=30)
    with pytest.raises(OSError):
        for _ in range(2):
            tun.write(udp("10.1.0.2", "10.1.0.1", 1, 2, b""))
    tun.close()


def test_without_rights_the_error_says_what_to_do():
    code = """
    import os, errno
    import wintun
    os.setgid(65534); os.setuid(65534)
    try:
        wintun.TunDevice("norights")
    except PermissionError as error:
        assert error.errno in (errno.EPERM, errno.EACCES), error
        text = str(error)
        assert "norights" in text, text
        assert "root" in text or "CAP_NET_ADMIN" in text, text
        assert text.count("embedded") == 1, text  # said, and said once
    else:
        raise SystemExit("no error")
    """
    if os.getuid() == 0 and not _mapped(65534):
        code = code.replace("os.setgid(65534); os.setuid(65534)", _DROP_CAPABILITIES)
    run(code)


def test_without_dev_net_tun_the_error_says_what_to_do():
    """In a mount namespace whose /dev has no net/tun."""
    code = textwrap.dedent("""
    import ctypes, os
    import wintun
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x20000) == 0, os.strerror(ctypes.get_errno())
    assert libc.mount(b"none", b"/", None, 0x44000, None) == 0, os.strerror(ctypes.get_errno())
    assert libc.mount(b"none", b"/dev/net", b"tmpfs", 0, None) == 0, os.strerror(ctypes.get_errno())
    for make in (lambda: wintun.TunDevice("nodriver"), wintun.get_driver_version):
        try:
            make()
        except FileNotFoundError as error:
            assert error.errno == 2
            assert "/dev/net/tun" in str(error), error
        else:
            raise SystemExit("no error")
    """)
    run(code)


def test_every_error_of_the_system_is_an_oserror_with_its_operation(make_tun):
    tun = make_tun()
    with pytest.raises(OSError) as caught:
        tun.remove_address("10.9.9.9/24")
    assert caught.value.errno
    assert caught.value.strerror
    assert "testtun" in str(caught.value)


def test_unknown_attributes_cannot_be_set_by_mistake(tun):
    with pytest.raises(AttributeError):
        tun.name = "other"
    for member in ("interface", "tunnel_type", "guid", "luid", "index", "backend", "is_up", "closed", "statistics"):
        with pytest.raises(AttributeError):
            setattr(tun, member, None)


def test_bad_input_leaves_queued_packets_alone(tun):
    with Sender() as sender:
        sender.send_numbers(20)
    for bad in (
        lambda: setattr(tun, "ring_capacity", 3),
        lambda: setattr(tun, "mtu", 1),
        lambda: setattr(tun, "addr", "none"),
        lambda: tun.write(b""),
        lambda: tun.write(b"\xff" * 70000),
        lambda: tun.read(timeout=-1),
        lambda: tun.read_into(b"read only"),
        lambda: tun.read_many(limit=-5),
        lambda: tun.read(1, 2, 3),
    ):
        with pytest.raises((ValueError, TypeError)):
            bad()
    assert numbers(tun.read_many(limit=100)) == list(range(20))


_DROP_CAPABILITIES = """import ctypes, struct
    assert ctypes.CDLL(None).capset(struct.pack("II", 0x20080522, 0), bytes(24)) == 0  # all of them
"""


def _mapped(uid: int) -> bool:
    with open("/proc/self/uid_map") as file:
        return any(int(start) <= uid < int(start) + int(count) for start, _, count in map(str.split, file))


@pytest.fixture
def nothing_made():
    """Bad arguments need no namespace to fail in: the interfaces there are afterwards are those of before."""
    before = socket.if_nameindex()
    yield
    assert socket.if_nameindex() == before


def no_devices() -> bool:
    return [name for _, name in socket.if_nameindex()] == ["lo"]
