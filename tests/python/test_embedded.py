"""The embedded backend: a stack in this process, its blocking sockets, UDP and ping. No rights, no namespace."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import os
import select
import socket
import threading
import time
import warnings

import pytest

import wintun
from cable import Cable
from children import run as run_child
from wintun import _native

pytestmark = [
    pytest.mark.no_device,
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
]

HERE4, THERE4, HERE6, THERE6 = "10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"


def make(name, *addresses, mtu=1500):
    device = wintun.TunDevice(name, backend="embedded")
    device.mtu = mtu
    for address in addresses:
        device.add_address(address)
    device.up()
    return device


@pytest.fixture
def pair():
    with make("here", HERE4, HERE6) as here, make("there", THERE4, THERE6) as there, Cable(here, there):
        yield here, there


class Server:
    """Answers each connection in a thread of its own, by `serve(connection)`."""

    def __init__(self, device, host, serve):
        self._listener = _native.StackListener.listen(device, (socket.inet_pton(_family(host), host), 0), 16)
        self.address = (host, self._listener.local[1])
        self._serve = serve
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        from wintun._stack import StackSocket

        while True:
            self._listener.wait_readable(None)
            try:
                native = self._listener.accept()
            except OSError:
                return
            if native is not None:
                thread = threading.Thread(target=self._handle, args=(StackSocket(native),))
                self._threads.append(thread)
                thread.start()

    def _handle(self, connection):
        with connection, contextlib.suppress(OSError):
            self._serve(connection)


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def receive_exactly(connection, size):
    parts = []
    while size:
        part = connection.recv(size)
        assert part, "the peer finished early"
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# ---- The device ----


def test_a_device_needs_no_rights_and_no_interface():
    run_child(
        """
        import socket
        import wintun, wintun._stack  # first: the checkout may be closed to others
        from children import give_up_rights
        give_up_rights()
        before = socket.if_nameindex()
        with wintun.TunDevice("free", backend="embedded") as tun:
            tun.addr = "10.9.0.1"
            tun.up()
            assert tun.backend == "embedded" and socket.if_nameindex() == before
            try:
                tun.ping("10.9.0.2", 0)
            except TimeoutError:
                pass
            packet = tun.read(timeout=10)
            assert packet[9] == 1 and packet[16:20] == bytes([10, 9, 0, 2])
        """
    )


def test_settings_are_given_back_as_on_the_kernel_backend():
    with wintun.TunDevice("settings", backend="embedded") as tun:
        assert (tun.name, tun.interface, tun.mtu, tun.addresses, tun.addr) == ("settings", "settings", 1500, [], None)
        tun.mtu = 9000
        tun.addr = "10.9.0.1"
        tun.addr = "fd09::1"
        assert [str(address) for address in tun.addresses] == ["10.9.0.1/24", "fd09::1/64"]
        tun.addr = "10.9.0.7/16"
        assert (tun.addr4, tun.addr6, tun.mtu) == ("10.9.0.7", "fd09::1", 9000)
        tun.remove_address("fd09::1")
        assert tun.addr6 is None
        assert "embedded" in tun._repr_html_()
    with pytest.raises(OSError) as caught:
        tun.mtu  # noqa: B018
    assert caught.value.errno == errno.EBADF


def test_the_environment_can_choose_the_backend(monkeypatch):
    monkeypatch.setenv("WINTUN_BACKEND", "embedded")
    with wintun.TunDevice("by environment") as tun:
        assert tun.backend == "embedded"


def test_packets_are_read_in_every_way(pair_of_reads=("read", "read_into", "receive", "read_many", "read_batch")):
    with make("reads", HERE4) as tun:
        for way in pair_of_reads:
            with pytest.raises(TimeoutError):
                tun.ping(THERE4, 0.0)
            assert tun.wait_read_event(10)
            assert select.select([tun], [], [], 10)[0]
            if way == "read":
                packet = tun.read()
            elif way == "read_into":
                buffer = bytearray(2000)
                packet = bytes(buffer[: tun.read_into(buffer)])
            elif way == "receive":
                with tun.receive() as lent:
                    packet = bytes(lent)
            elif way == "read_many":
                (packet,) = tun.read_many()
            else:
                (packet,) = (bytes(one) for one in tun.read_batch())
            assert packet[9] == socket.IPPROTO_ICMP
            assert tun.read() is None


def test_a_list_stops_at_64_kib_and_a_batch_at_256(size=8000):
    with make("bounded", HERE4) as tun:
        tun.mtu = 16000
        with tun.datagram(remote=(THERE4, 9)) as sock:
            for _ in range(100):
                sock.send(bytes(size))
        packet = size + 28  # IPv4 and UDP
        assert 0x10000 - 2 * packet < sum(map(len, tun.read_many())) <= 0x10000
        assert 0x40000 - 2 * packet < tun.read_batch().nbytes <= 0x40000


def test_waiting_says_a_packet_is_there_until_the_last_is_read():
    with make("waits", HERE4) as tun:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                tun.ping(THERE4, 0.0)
        assert tun.read() is not None
        assert tun.wait_read_event(0)
        assert len(tun.read_many(1)) == 1
        assert tun.wait_read_event(0)
        assert tun.read() is not None
        assert not tun.wait_read_event(0)
        assert select.select([tun], [], [], 0)[0] == []


def test_close_wakes_a_blocked_read_and_ends_the_sockets():
    with (
        make("here", HERE4) as tun,
        make("there", THERE4) as there,
        Cable(tun, there),
        Server(there, THERE4, echo) as server,
    ):
        connection = tun.create_connection(server.address, timeout=10)
        errors = []

        def receive():
            try:
                connection.recv(1)
            except OSError as error:
                errors.append(error.errno)

        thread = threading.Thread(target=receive)
        thread.start()
        tun.close()
        thread.join(30)
        assert errors == [errno.ENODEV]
        connection.close()
        there.close()  # nobody told it that the other end has gone


# ---- Connections ----


@pytest.mark.parametrize("host", [THERE4, THERE6])
def test_bytes_go_both_ways_whole(pair, host):
    here, there = pair
    data = os.urandom(3_000_000)
    with Server(there, host, echo) as server, here.create_connection(server.address, timeout=30) as connection:
        assert connection.getpeername()[:2] == server.address
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert receive_exactly(connection, len(data)) == data
        sender.join()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_recv_into_and_makefile(pair):
    here, there = pair
    with Server(there, THERE4, echo) as server, here.create_connection(server.address) as connection:
        connection.sendall(b"first line\nsecond")
        buffer = bytearray(6)
        view = memoryview(buffer)
        while view:
            view = view[connection.recv_into(view) :]
        assert buffer == b"first "
        with connection.makefile("rb") as file:
            assert file.readline() == b"line\n"
            assert file.read(6) == b"second"


def test_timeouts_are_those_of_a_socket(pair):
    here, there = pair
    with Server(there, THERE4, echo) as server, here.create_connection(server.address) as connection:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        for bad in (-1, float("nan")):
            with pytest.raises(ValueError):
                connection.settimeout(bad)
        assert not select.select([connection], [], [], 0)[0]
        connection.sendall(b"x")
        assert select.select([connection], [], [], 10)[0]


def test_what_cannot_be_connected_says_why(pair):
    here, there = pair
    with pytest.raises(ConnectionRefusedError, match="10.9.0.2:9.*nobody"):
        here.create_connection((THERE4, 9), timeout=10)
    with pytest.raises(TimeoutError, match="10.9.0.77"):
        here.create_connection(("10.9.0.77", 9), timeout=0.1)
    with pytest.raises(socket.gaierror, match="resolve"):
        here.create_connection(("example.com", 80))
    with pytest.raises(ValueError, match="65535"):
        here.create_connection((THERE4, 70000))
    here.remove_address(HERE6)
    with pytest.raises(OSError) as caught:
        here.create_connection((THERE6, 80))
    assert caught.value.errno == errno.ENETUNREACH
    here.down()
    with pytest.raises(OSError) as caught:
        here.create_connection((THERE4, 80))
    assert caught.value.errno == errno.ENETDOWN


def test_a_writer_without_a_reader_is_held_back(pair):
    here, there = pair
    gate = threading.Event()
    with Server(there, THERE4, lambda connection: gate.wait(60)) as server:
        with here.create_connection(server.address) as connection:
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.sendall(bytes(64 << 20))
            assert connection._native.unsent < 16 << 20
            gate.set()
            connection.abort()


def test_http_to_a_server_on_the_stack(pair):
    here, there = pair

    def serve(connection):
        request = connection.makefile("rb")
        while request.readline().strip():
            pass
        body = b"hello over the stack"
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with Server(there, THERE4, serve) as server:
        client = http.client.HTTPConnection(*server.address)
        client.sock = here.create_connection(server.address, timeout=30)
        client.request("GET", "/")
        assert client.getresponse().read() == b"hello over the stack"
        client.close()


def test_packets_of_tcp_can_be_kept_short_with_the_mtu_untouched():
    longest = [0, 0]

    def keep(from_first, packet):
        longest[from_first] = max(longest[from_first], len(packet))
        return True

    with make("here", HERE6, mtu=16000) as here, make("there", THERE6, mtu=16000) as there, Cable(here, there, keep):
        here.limit_packets(8192)
        with Server(there, THERE6, echo) as server, here.create_connection(server.address, 30) as connection:
            sender = threading.Thread(target=connection.sendall, args=(bytes(500_000),))
            sender.start()
            receive_exactly(connection, 500_000)
            sender.join()
        assert here.mtu == 16000
        with pytest.raises(ValueError, match="576"):
            here.limit_packets(100)
    assert longest[True] <= 8192 < longest[False]


# ---- UDP and ping ----


@pytest.mark.parametrize("host", [THERE4, THERE6])
def test_datagrams_go_there_and_back(pair, host):
    here, there = pair
    with there.datagram((host, 5353)) as server, here.datagram(remote=(host, 5353)) as client:
        for data in (b"", b"x", os.urandom(1400), os.urandom(20000)):
            assert client.send(data) == len(data)
            received, sender = server.recvfrom()
            assert received == data
            server.sendto(data, sender)
            assert client.recv() == data
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv()
        with pytest.raises(OSError) as caught:
            there.datagram((host, 5353))
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as caught:
            client.sendto(bytes(65536), (host, 1))
        assert caught.value.errno == errno.EMSGSIZE


@pytest.mark.parametrize("host", [THERE4, THERE6])
def test_ping_gives_seconds(pair, host):
    here, _ = pair
    assert 0 < here.ping(host, 30) < 30
    assert here.ping(host, 30, size=4000) > 0
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="0.05"):
        here.ping("10.9.0.77", 0.05)
    assert time.monotonic() - started < 20


def test_checksums_are_looked_at_unless_told_otherwise():
    def with_a_wrong_checksum(packet):
        data = bytearray(packet)
        data[-1] ^= 0xFF  # of the payload
        return bytes(data)

    with make("here", HERE4) as here, make("there", THERE4) as there:
        with there.datagram((THERE4, 99)) as server, here.datagram(remote=(THERE4, 99)) as client:
            server.settimeout(0)
            client.send(b"data")
            wrong = with_a_wrong_checksum(here.read(timeout=10))
            there.write(wrong)
            with pytest.raises(BlockingIOError):
                server.recv()
            there.check_checksums(False)
            there.write(wrong)
            assert server.recv() == b"dat\x9e"
            there.check_checksums(True)
            there.write(wrong)
            with pytest.raises(BlockingIOError):
                server.recv()


def test_statistics_tell_of_acknowledgements_that_were_left_out():
    with make("here", HERE4) as here, make("there", THERE4) as there, Cable(here, there):
        with Server(there, THERE4, echo) as server, here.create_connection(server.address, 30) as connection:
            sender = threading.Thread(target=connection.sendall, args=(bytes(3_000_000),))
            sender.start()
            receive_exactly(connection, 3_000_000)
            sender.join()
        assert here.statistics["acknowledgements_left_out"] > 0
    assert "acknowledgements_left_out" not in here.statistics


# ---- Beside the kernel ----


@pytest.mark.parametrize("host", ["10.9.1.2", "fd09:1::2"])
@pytest.mark.usefixtures("own_network")
def test_a_kernel_in_a_namespace_is_talked_to(host, make_tun):
    kernel = make_tun("kernelside")
    kernel.addr4, kernel.addr6 = "10.9.1.2/24", "fd09:1::2/64"
    kernel.mtu = 9000
    kernel.up()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2000000")
            self.end_headers()
            self.wfile.write(bytes(range(250)) * 8000)

        def log_message(self, *_):
            pass

    class Web(http.server.HTTPServer):
        address_family = _family(host)

    with Web((host, 8080), Handler) as web, make("stackside", "10.9.1.1", "fd09:1::1", mtu=9000) as tun:
        with Cable(kernel, tun):
            thread = threading.Thread(target=web.serve_forever, args=(0.05,))
            thread.start()
            try:
                assert tun.ping(host, 30) > 0
                client = http.client.HTTPConnection(host, 8080)
                client.sock = tun.create_connection((host, 8080), timeout=30)
                client.request("GET", "/")
                assert client.getresponse().read() == bytes(range(250)) * 8000
                client.close()
            finally:
                web.shutdown()
                thread.join()


def test_a_forgotten_device_and_its_sockets_go_without_a_trace():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        device = make("forgotten", HERE4)
        socket_ = device.datagram((HERE4, 1))
        del device
        assert [warning.category for warning in caught] == [ResourceWarning]
    assert isinstance(socket_.fileno(), int)
    with pytest.raises(OSError):
        socket_.recv()


def test_the_child_of_a_fork_leaves_the_parents_connections_alone(pair):
    here, there = pair
    with Server(there, THERE4, echo) as server, here.create_connection(server.address, 30) as connection:
        child = os.fork()
        if child == 0:
            connection.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        connection.sendall(b"still here")
        assert receive_exactly(connection, 10) == b"still here"
