"""docs/errors.md is true: each row of its tables is raised here, with its class, its errno and its words.

A row without a function here fails, and so does a function without a row. Rows of the last table cannot be raised on
this machine: their words have to stand in the sources.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

import wintun
from cable import Cable
from children import run as run_child
from packets import Sender
from wintun import _native

ROOT = Path(__file__).resolve().parents[2]
HERE, THERE = "10.9.0.1", "10.9.0.2"
Row = tuple[str, str, str]  # class, errno's name or nothing, words


def rows(raised: bool) -> list[Row]:
    text = (ROOT / "docs/errors.md").read_text()
    before, after = text.split("\n## Not raised in a test\n")
    cells = (re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in (before if raised else after).splitlines())
    return [tuple(cell.strip("`") for cell in row[:3]) for row in cells if len(row) >= 4 and row[0].startswith("`")]


raisers: dict[Row, Callable[..., Any]] = {}


def raises(kind: str, number: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        raisers[kind, number, words] = function
        return function

    return add


# ---- Making a device ----

_IN_A_CHILD = """
import json, os
import wintun
{}
try:
    wintun.TunDevice("refused")
except Exception as error:
    print(json.dumps([type(error).__name__, error.errno, str(error)]))
"""


class InAChild(Exception):
    """What a child caught."""


def in_a_child(preparation: str) -> None:
    kind, number, text = json.loads(run_child(_IN_A_CHILD.format(preparation)).stdout)
    raise InAChild(kind, number, text)


@raises("PermissionError", "EPERM", "CAP_NET_ADMIN")
def without_rights(make_tun):
    in_a_child(
        "import ctypes, struct\n"
        "assert ctypes.CDLL(None).capset(struct.pack('II', 0x20080522, 0), bytes(24)) == 0  # all of them"
    )


@raises("FileNotFoundError", "ENOENT", "modprobe tun")
def without_a_driver(make_tun):
    in_a_child(
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "assert libc.unshare(0x20000) == 0  # mounts of its own\n"
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0\n"
        "assert libc.mount(b'none', b'/dev/net', b'tmpfs', 0, None) == 0"
    )


@raises("FileExistsError", "EEXIST", "choose another name")
def a_taken_name(make_tun):
    make_tun("lo")


@raises("ValueError", "", "power of two")
def a_capacity(make_tun):
    make_tun(ring_capacity=1000)


@raises("ValueError", "", "1 to 127 characters")
def a_name_too_long(make_tun):
    make_tun("x" * 128)


@raises("ValueError", "", "'kernel' or 'embedded'")
def a_backend(make_tun):
    make_tun(backend="hardware")


@raises("ValueError", "", "is no GUID")
def a_guid(make_tun):
    make_tun(guid="mine")


# ---- Settings ----


@raises("ValueError", "", "68 to 65535 bytes")
def an_mtu(make_tun):
    make_tun().mtu = 67


@raises("ValueError", "", "IPv6 needs 1280 bytes")
def an_mtu_below_ipv6(make_tun):
    tun = make_tun()
    tun.addr = "fd77::1"
    tun.mtu = 1000


@raises("ValueError", "", "set mtu first")
def ipv6_on_a_small_mtu(make_tun):
    tun = make_tun()
    tun.mtu = 1000
    tun.addr = "fd77::1"


@raises("ValueError", "", "is no IP address")
def an_address(make_tun):
    make_tun().addr = "10.2.0.256"


@raises("FileExistsError", "EEXIST", "add")
def an_address_twice(make_tun):
    tun = make_tun()
    tun.add_address("10.77.0.1")
    tun.add_address("10.77.0.1")


@raises("OSError", "EADDRNOTAVAIL", "remove")
def an_address_that_is_not_there(make_tun):
    make_tun().remove_address("10.77.0.1")


@raises("OSError", "ENOSPC", "one IPv4 address")
def a_second_ipv4_address(embedded):
    embedded().add_address("10.77.0.9")


@raises("OSError", "EOPNOTSUPP", "only the backend 'embedded' has this")
def sockets_of_a_kernel_device(tun):
    tun.create_connection((THERE, 80))


# ---- Life ----


@raises("OSError", "ENETDOWN", "call up() first")
def reading_while_down(make_tun):
    make_tun().read()


@raises("OSError", "EBADF", "make another TunDevice")
def reading_after_close(tun):
    tun.close()
    tun.read()


@raises("OSError", "ENODEV", "its interface is gone")
def a_removed_interface(tun):
    subprocess.run(["ip", "link", "del", tun.interface], check=True)
    while True:
        tun.read(timeout=30)


@raises("OSError", "EBUSY", "lent")
def up_with_a_packet_lent(tun):
    with Sender() as sender:
        sender.send(b"x")
    tun.wait_read_event()
    with tun.receive():
        tun.down()
        tun.up()


# ---- Reading and writing ----


@raises("TimeoutError", "ETIMEDOUT", "no packet came in time")
def no_packet(make_tun):
    tun = make_tun()
    tun.up()
    while True:
        tun.read(timeout=0)


@raises("OSError", "EMSGSIZE", "the packet has")
def a_small_buffer(tun):
    with Sender() as sender:
        sender.send(b"x")
    tun.wait_read_event()
    tun.read_into(bytearray(3))


@raises("ValueError", "", "the number of seconds is too large")
def a_timeout_beyond_the_clock(tun):
    tun.read(timeout=10**400)


@raises("ValueError", "", "the packet is empty")
def nothing(tun):
    tun.write(b"")


@raises("ValueError", "", "65535 is the most")
def a_long_packet(tun):
    tun.write(b"\x45" + bytes(65535))


@raises("ValueError", "", "the packet is truncated")
def half_a_packet(tun):
    tun.write(b"\x45\0\0\x64" + bytes(30))


@raises("ValueError", "", "no IP packet")
def an_ethernet_frame(tun):
    tun.write(bytes(60))


@raises("TypeError", "", "takes no size")
def a_size_as_for_files(tun):
    tun.read(1500)


# ---- The embedded backend's sockets ----


@pytest.fixture
def embedded() -> Iterator[Callable[..., wintun.TunDevice]]:
    """Makes embedded devices that are up, with an IPv4 address."""
    if not _native.has_stack:
        pytest.skip("this build has no embedded driver")
    with contextlib.ExitStack() as stack:

        def make(address: str = HERE) -> wintun.TunDevice:
            device = stack.enter_context(wintun.TunDevice(f"at {address}", backend="embedded"))
            device.addr = address
            device.up()
            return device

        yield make


@pytest.fixture
def peers(embedded) -> Iterator[tuple[wintun.TunDevice, wintun.TunDevice]]:
    here, there = embedded(HERE), embedded(THERE)
    with Cable(here, there):
        yield here, there


@contextlib.contextmanager
def connected(peers) -> Iterator[tuple[Any, Any]]:
    """A connection, and the native one at the other end."""
    here, there = peers
    listener = _native.StackListener.listen(there, (socket.inet_aton(THERE), 0), 4)
    with here.create_connection((THERE, listener.local[1]), timeout=30) as connection:
        listener.wait_readable(None)
        other = listener.accept()
        try:
            yield connection, other
        finally:
            other.abort()
            listener.close()


@raises("ConnectionRefusedError", "ECONNREFUSED", "connecting to")
def nobody_listens(peers):
    peers[0].create_connection((THERE, 9), timeout=30)


@raises("ConnectionResetError", "ECONNRESET", "receiving from")
def the_peer_resets(peers):
    with connected(peers) as (connection, other):
        other.abort()
        connection.recv(1)


@raises("BrokenPipeError", "EPIPE", "sending to")
def sending_after_the_end(peers):
    with connected(peers) as (connection, _):
        connection.shutdown(socket.SHUT_WR)
        connection.sendall(b"x")


@raises("TimeoutError", "ETIMEDOUT", "not within")
def nobody_answers(embedded):
    embedded().create_connection((THERE, 80), timeout=0.01)


@raises("TimeoutError", "ETIMEDOUT", "no answer within")
def nobody_answers_a_ping(embedded):
    embedded().ping(THERE, timeout=0.01)


@raises("OSError", "ENETUNREACH", "cannot connect")
def no_address_of_the_family(embedded):
    embedded().create_connection(("fd09::2", 80))


@raises("OSError", "ENETDOWN", "cannot connect")
def connecting_while_down(embedded):
    tun = embedded()
    tun.down()
    tun.create_connection((THERE, 80))


@raises("OSError", "EADDRINUSE", "cannot")
def a_taken_port(embedded):
    tun = embedded()
    with tun.datagram((HERE, 5353)):
        tun.datagram((HERE, 5353))


@raises("OSError", "EADDRNOTAVAIL", "cannot")
def a_local_address_that_is_not_there(embedded):
    embedded().create_connection((THERE, 80), source_address=("10.9.0.77", 0))


@raises("OSError", "ENODEV", "receiving from")
def a_device_closed_under_a_connection(peers):
    with connected(peers) as (connection, _):
        peers[0].close()
        connection.recv(1)


@raises("gaierror", "EAI_NONAME", "resolves no names")
def a_host_name(embedded):
    embedded().create_connection(("example.com", 80))


@raises("BlockingIOError", "EAGAIN", "not possible without waiting")
def nothing_to_receive(peers):
    with connected(peers) as (connection, _):
        connection.settimeout(0)
        connection.recv(1)


@raises("OSError", "EDESTADDRREQ", "sending")
def a_datagram_to_nobody(embedded):
    with embedded().datagram() as sender:
        sender.send(b"x")


@raises("OSError", "ENOTCONN", "without a remote address")
def the_peer_of_nobody(embedded):
    with embedded().datagram() as sender:
        sender.getpeername()


@raises("OSError", "ENOPROTOOPT", "TCP_NODELAY only")
def an_option_that_is_not_there(peers):
    with connected(peers) as (connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


@raises("OSError", "ENOPROTOOPT", "ssl.SSLObject")
def tls_by_a_descriptor(peers):
    with connected(peers) as (connection, _):
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)


@raises("OSError", "EOPNOTSUPP", "has no flags")
def a_look_without_taking(peers):
    with connected(peers) as (connection, _):
        connection.recv(1, socket.MSG_PEEK)


@raises("OSError", "EMSGSIZE", "too long for one packet")
def a_datagram_that_is_too_long(embedded):
    with embedded().datagram() as sender:
        sender.sendto(bytes(70_000), (THERE, 9))


# ---- The table ----


@pytest.mark.no_device
def test_the_table_and_the_functions_here_are_the_same_rows():
    assert sorted(rows(raised=True)) == sorted(raisers)


def parameters(row: Row) -> list[str]:
    """The fixtures that a row's function wants."""
    return list(inspect.signature(raisers[row]).parameters) if row in raisers else []


def marked(row: Row) -> Any:
    """The embedded backend's rows need no TUN device, and run where there is none."""
    needs_none = {"embedded", "peers"}.intersection(parameters(row))
    return pytest.param(row, id=" ".join(row), marks=[pytest.mark.no_device] if needs_none else [])


@pytest.mark.parametrize("row", [marked(row) for row in rows(raised=True)])
def test_each_error_of_the_table_is_raised_as_it_says(request, row):
    kind, number, words = row
    arguments = [request.getfixturevalue(name) for name in parameters(row)]
    with pytest.raises(Exception) as caught:
        raisers[row](*arguments)
    error = caught.value
    if isinstance(error, InAChild):
        found_kind, found_number, text = error.args
    else:
        found_kind, found_number, text = type(error).__name__, getattr(error, "errno", None), str(error)
    assert found_kind == kind, text
    if number:
        assert found_number == getattr(socket if number.startswith("EAI_") else errno, number), text
    assert words in text


@pytest.mark.no_device
@pytest.mark.parametrize("row", rows(raised=False), ids=" ".join)
def test_the_words_of_errors_that_no_test_raises_stand_in_the_sources(row):
    # A text may go on in the next literal: a quote, an end of line, a quote.
    joined = (
        re.sub(r'"\s*\n\s*(?:what \+\s*)?"', "", path.read_text())
        for folder in ("src", "dll", "driver", "python")
        for path in (ROOT / folder).rglob("*.cpp")
    )
    assert any(row[2] in text for text in joined)
    assert hasattr(errno, row[1])
