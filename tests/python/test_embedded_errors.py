"""Bad input and bad luck on the embedded stack: each error has its kind and errno, names the device and what to do, and
leaves everything as it was."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import socket
import threading

import pytest

import wintun
from cable import Cable
from wintun import _native

pytestmark = [
    pytest.mark.no_device,
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
]

HERE, THERE, HERE6, THERE6 = "10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"


@pytest.fixture
def devices():
    with (
        wintun.TunDevice("here", backend="embedded") as here,
        wintun.TunDevice("there", backend="embedded") as there,
    ):
        for device, addresses in ((here, (HERE, HERE6)), (there, (THERE, THERE6))):
            for address in addresses:
                device.add_address(address)
            device.up()
        yield here, there


@pytest.fixture
def pair(devices):
    with Cable(*devices):
        yield devices


def listen(device, host, port=0, backlog=16):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _native.StackListener.listen(device, (socket.inet_pton(family, host), port), backlog)


def accepted(listener):
    from wintun._stack import StackSocket

    assert listener.wait_readable(60)
    return StackSocket(listener.accept())


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 100))


async def nobody(reader, writer): ...


# Each way to reach a peer, blocking and not. (name, call(device, host, port))
REACHING = [
    ("create_connection", lambda tun, host, port: tun.create_connection((host, port), timeout=60)),
    ("datagram", lambda tun, host, port: tun.datagram(remote=(host, port))),
    ("ping", lambda tun, host, port: tun.ping(host, 60)),
    ("open_connection", lambda tun, host, port: run(tun.open_connection(host, port))),
]
reaching = pytest.mark.parametrize("reach", [call for _, call in REACHING], ids=[name for name, _ in REACHING])
LISTENING = [
    ("start_server", lambda tun, host, port: run(tun.start_server(nobody, host, port))),
    ("datagram", lambda tun, host, port: tun.datagram((host, port))),
]
listening = pytest.mark.parametrize("serve", [call for _, call in LISTENING], ids=[name for name, _ in LISTENING])


@contextlib.contextmanager
def says(number, *words, kind=OSError):
    """OSError of this errno, whose text has all the words and the device's name."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.errno == number, caught.value
    for word in ("'here'", *words):
        assert word in str(caught.value), str(caught.value)


# ---- No way to the peer ----


@reaching
def test_no_address_of_the_family_is_no_route(pair, reach):
    here, _ = pair
    here.remove_address(HERE6)
    with says(errno.ENETUNREACH, "fd09::2", "set addr"):
        reach(here, THERE6, 80)


@reaching
def test_a_device_that_is_not_up_says_to_call_up(devices, reach):
    here, there = devices
    here.down()
    with says(errno.ENETDOWN, THERE, "call up()"):
        reach(here, THERE, 80)
    here.up()
    with Cable(here, there):
        assert here.ping(THERE, 60) > 0  # and nothing is broken by having asked


def test_an_open_socket_of_a_device_that_goes_down_says_so(devices):
    here, _ = devices
    with here.datagram(remote=(THERE, 9)) as sock:
        here.down()
        with says(errno.ENETDOWN, "call up()"):
            sock.send(b"x")
        here.up()
        assert sock.send(b"x") == 1


@reaching
def test_a_host_name_is_refused_with_the_reason(pair, reach):
    here, _ = pair
    for name in ("localhost", "example.com", "", "10.9.0", "fd09::g"):
        with pytest.raises(socket.gaierror, match="resolves no names; resolve it first") as caught:
            reach(here, name, 80)
        assert caught.value.errno == socket.EAI_NONAME and repr(name) in str(caught.value)


@listening
def test_a_host_name_to_listen_at_is_refused_with_the_reason(pair, serve):
    here, _ = pair
    with pytest.raises(socket.gaierror, match="resolves no names"):
        serve(here, "localhost", 80)


# ---- The peer does not want, or does not answer ----


def test_a_refused_connection_names_peer_device_and_reason(pair):
    here, _ = pair
    with says(errno.ECONNREFUSED, "10.9.0.2:9", "nobody listens", kind=ConnectionRefusedError):
        here.create_connection((THERE, 9), timeout=60)
    with says(errno.ECONNREFUSED, "[fd09::2]:9", "nobody listens", kind=ConnectionRefusedError):
        run(here.open_connection(THERE6, 9))


def test_a_reset_is_told_to_reader_and_writer(pair):
    here, there = pair
    listener = listen(there, THERE)
    with here.create_connection((THERE, listener.local[1]), timeout=60) as connection:
        connection.sendall(b"unread")
        peer = accepted(listener)
        assert peer.recv(1) == b"u"
        peer.abort()
        with says(errno.ECONNRESET, "receiving from", "the peer ended", kind=ConnectionResetError):
            connection.recv(1)
        with says(errno.ECONNRESET, "sending to", kind=ConnectionResetError):
            connection.sendall(b"x")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    listener.close()


def test_every_wait_has_an_end_if_one_was_set(pair):
    here, there = pair
    with says(errno.ETIMEDOUT, "10.9.0.77:9", "carried both ways", kind=TimeoutError):
        here.create_connection(("10.9.0.77", 9), timeout=0.05)
    with says(errno.ETIMEDOUT, "10.9.0.77", "0.05 s", kind=TimeoutError):
        here.ping("10.9.0.77", 0.05)
    listener = listen(there, THERE)
    with here.create_connection((THERE, listener.local[1]), timeout=60) as connection:
        connection.settimeout(0.05)
        with says(errno.ETIMEDOUT, "receiving from 10.9.0.2", "settimeout", kind=TimeoutError):
            connection.recv(1)
        with says(errno.ETIMEDOUT, "receiving from 10.9.0.2", kind=TimeoutError):
            connection.recv_into(bytearray(1))
        with says(errno.ETIMEDOUT, "sending to 10.9.0.2", kind=TimeoutError):
            connection.sendall(bytes(64 << 20))
        connection.setblocking(False)
        with says(errno.EAGAIN, "receiving from", kind=BlockingIOError):
            connection.recv(1)
        with says(errno.EAGAIN, "sending to", kind=BlockingIOError):
            while True:
                connection.send(bytes(65536))
        connection.abort()
    with here.datagram((HERE, 0)) as sock:
        sock.settimeout(0.05)
        with says(errno.ETIMEDOUT, "receiving a datagram", kind=TimeoutError):
            sock.recvfrom()
    listener.close()


# ---- Local addresses ----


@listening
def test_a_taken_port_is_in_use_on_this_device_only(pair, serve):
    here, there = pair
    held = listen(here, HERE, 7000), here.datagram((HERE, 7000))
    with says(errno.EADDRINUSE, "10.9.0.1:7000", "port 0"):
        serve(here, HERE, 7000)
    serve(there, THERE, 7000)
    for one in held:
        one.close()
    serve(here, HERE, 7000)


@listening
def test_an_address_of_others_cannot_be_listened_at(pair, serve):
    here, _ = pair
    with says(errno.EADDRNOTAVAIL, "10.9.0.77:7000", "see addresses"):
        serve(here, "10.9.0.77", 7000)


def test_a_source_address_is_checked_and_used(pair):
    here, there = pair
    listener = listen(there, THERE)
    to = (THERE, listener.local[1])
    with here.create_connection(to, 60, source_address=(HERE, 4444)) as connection:
        assert connection.getsockname() == (HERE, 4444)
        with says(errno.EADDRINUSE):
            here.create_connection(to, 60, source_address=(HERE, 4444))
        with says(errno.EADDRNOTAVAIL):
            here.create_connection(to, 60, source_address=("10.9.0.77", 0))
        connection.sendall(b"x")
        with accepted(listener) as peer:
            assert peer.recv(1) == b"x"
    listener.close()


# ---- What makes no sense ----


@reaching
def test_wrong_types_and_ports_are_refused(pair, reach):
    here, _ = pair
    is_ping = reach is dict(REACHING)["ping"]
    for host in (None, 5, b"10.9.0.2", ["10.9.0.2"]):
        with pytest.raises(TypeError, match="the host is a str"):
            reach(here, host, 80)
    if not is_ping:
        for port in (-1, 65536, 1 << 70):
            with pytest.raises(ValueError, match="0 to 65535"):
                reach(here, THERE, port)
        for port in ("80", None, 80.0, True):
            with pytest.raises(TypeError, match="the port is an int"):
                reach(here, THERE, port)
        with says(errno.EINVAL, "10.9.0.2:0", "from 1 up"):
            reach(here, THERE, 0)
    assert here.ping(THERE, 60) > 0


@listening
def test_wrong_types_and_ports_to_listen_at_are_refused(pair, serve):
    here, _ = pair
    for host, port, kind in (
        (None, 80, TypeError),
        (b"10.9.0.1", 80, TypeError),
        (HERE, "80", TypeError),
        (HERE, -1, ValueError),
        (HERE, 65536, ValueError),
    ):
        with pytest.raises(kind):
            serve(here, host, port)


def test_addresses_that_are_no_pairs_are_refused(pair):
    here, _ = pair
    for bad in (None, THERE, (THERE,), (), 80, {THERE: 80}):
        with pytest.raises(TypeError, match="host, port"):
            here.create_connection(bad)
        with here.datagram((HERE, 0)) as sock, pytest.raises(TypeError, match="host, port"):
            sock.sendto(b"x", bad)
        if bad is not None:
            with pytest.raises(TypeError, match="host, port"):
                here.create_connection((THERE, 80), source_address=bad)
            with pytest.raises(TypeError, match="host, port"):
                here.datagram(bad)
            with pytest.raises(TypeError, match="host, port"):
                run(here.open_connection(THERE, 80, local_addr=bad))


def test_timeouts_that_are_none_are_refused_before_a_packet_goes(pair):
    here, _ = pair
    before = here.statistics["packets_received"] if "packets_received" in here.statistics else dict(here.statistics)
    for bad, kind in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(kind, match="timeout"):
            here.create_connection((THERE, 80), timeout=bad)
        with pytest.raises(kind, match="timeout"):
            here.ping(THERE, bad)
        with here.datagram((HERE, 0)) as sock, pytest.raises(kind, match="timeout"):
            sock.settimeout(bad)
    after = here.statistics["packets_received"] if "packets_received" in here.statistics else dict(here.statistics)
    assert after == before


def test_sizes_buffers_and_flags_that_make_no_sense_take_nothing(pair):
    here, there = pair
    listener = listen(there, THERE)
    with here.create_connection((THERE, listener.local[1]), timeout=60) as connection:
        with accepted(listener) as peer:
            peer.sendall(b"0123456789")
            assert connection.recv(1) == b"0"
            with pytest.raises(ValueError):
                connection.recv(-1)
            for bad in ("1", None, 1.5):
                with pytest.raises(TypeError):
                    connection.recv(bad)
            with pytest.raises(ValueError):
                connection.recv_into(bytearray(4), -1)
            with pytest.raises(ValueError, match="5 bytes do not fit into a buffer of 4"):
                connection.recv_into(bytearray(4), 5)
            with pytest.raises(TypeError):
                connection.recv_into(bytes(4))
            with pytest.raises(TypeError):
                connection.recv_into("text")
            for call in (
                lambda: connection.recv(1, socket.MSG_PEEK),
                lambda: connection.recv_into(bytearray(1), 1, socket.MSG_PEEK),
                lambda: connection.send(b"x", socket.MSG_OOB),
                lambda: connection.sendall(b"x", socket.MSG_OOB),
            ):
                with pytest.raises(OSError, match="no flags") as caught:
                    call()
                assert caught.value.errno == errno.EOPNOTSUPP
            for bad in ("text", 5, None):
                with pytest.raises(TypeError):
                    connection.sendall(bad)
                with pytest.raises(TypeError):
                    connection.send(bad)
            for option in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, 77)):
                with pytest.raises(OSError) as caught:
                    connection.setsockopt(*option, 1)
                assert caught.value.errno == errno.ENOPROTOOPT
            with pytest.raises(ValueError):
                connection.shutdown(7)
            with pytest.raises(ValueError):
                connection.makefile("a")
            with pytest.raises(ValueError):
                connection.makefile("r", 0)
            assert connection.recv(100) == b"123456789"  # all of it is there still
            connection.sendall(array.array("I", [1, 2]))  # in bytes, whatever the items are
            with peer.makefile("rb") as file:
                assert file.read(8) == array.array("I", [1, 2]).tobytes()
    listener.close()


def test_datagrams_that_make_no_sense_are_refused(pair):
    here, _ = pair
    with here.datagram((HERE, 0)) as sock:
        with says(errno.EDESTADDRREQ, "sendto()"):
            sock.send(b"x")
        with pytest.raises(OSError) as caught:
            sock.getpeername()
        assert caught.value.errno == errno.ENOTCONN
        with says(errno.EMSGSIZE, "10.9.0.2:9", "less"):
            sock.sendto(bytes(65508), (THERE, 9))
        with says(errno.EINVAL, "same family"):
            sock.sendto(b"x", (THERE6, 9))
        for bad, kind in ((-1, ValueError), ("1", TypeError), (None, TypeError)):
            with pytest.raises(kind):
                sock.recvfrom(bad)
    with says(errno.EINVAL, "same family"):
        here.datagram((HERE, 0), (THERE6, 9))
    with says(errno.EMSGSIZE):
        here.ping(THERE, 1, size=65001)
    for bad, kind in ((-1, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(kind, match="size"):
            here.ping(THERE, 1, size=bad)


def test_limits_that_make_no_sense_change_nothing(pair):
    here, _ = pair
    for bad, kind in ((-1, ValueError), (575, ValueError), (65536, ValueError), ("8192", TypeError), (1.5, TypeError)):
        with pytest.raises(kind, match="limit_packets"):
            here.limit_packets(bad)
    here.limit_packets(0)


def test_options_of_servers_and_streams_are_checked(pair):
    here, _ = pair

    async def main():
        for bad, kind in ((0, ValueError), (256, ValueError), ("5", TypeError), (True, TypeError)):
            with pytest.raises(kind, match="backlog"):
                await here.start_server(nobody, HERE, 0, backlog=bad)
        for bad, kind in ((0, ValueError), (-1, ValueError), ("5", TypeError)):
            with pytest.raises(kind, match="limit"):
                await here.start_server(nobody, HERE, 0, limit=bad)
            with pytest.raises(kind, match="limit"):
                await here.open_connection(THERE, 80, limit=bad)
        with pytest.raises(TypeError, match="callable"):
            await here.start_server(None, HERE, 0)
        with pytest.raises(TypeError):
            await here.start_server(nobody, HERE, 0, reuse_port=True)
        with pytest.raises(TypeError):
            await here.open_connection(THERE, 80, happy=True)

    run(main())


# ---- Closing with everything open ----


def test_closing_the_device_wakes_everybody_with_the_reason(pair):
    here, there = pair
    listener = listen(there, THERE)
    own = listen(here, HERE)
    to = (THERE, listener.local[1])
    reading, writing = here.create_connection(to, 60), here.create_connection(to, 60)
    peers = accepted(listener), accepted(listener)
    sock = here.datagram((HERE, 0))
    waiting = {
        "recv": lambda: reading.recv(1),
        "recv_into": lambda: reading.recv_into(bytearray(1)),
        "sendall": lambda: writing.sendall(bytes(64 << 20)),
        "recvfrom": sock.recvfrom,
        "ping": lambda: here.ping("10.9.0.77", None),
        "create_connection": lambda: here.create_connection(("10.9.0.77", 80)),
        "accept": lambda: (own.wait_readable(None), own.accept()),
    }
    errors = {}

    def wait(name, call):
        try:
            call()
        except OSError as error:
            errors[name] = error

    threads = [threading.Thread(target=wait, args=item) for item in waiting.items()]
    for thread in threads:
        thread.start()
    while writing._native.unsent < 100_000:  # the last one to get anywhere
        pass
    here.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert set(errors) == set(waiting)
    for name, error in errors.items():
        # Who began a moment too late found no device at all.
        assert error.errno in (errno.ENODEV, errno.EBADF), (name, error)
        assert "'here'" in str(error), (name, error)
    for connection in (reading, writing, *peers):
        connection.abort()
    for one in (sock, own, listener):
        one.close()


def test_whoever_uses_a_closed_device_or_socket_is_told(pair):
    here, there = pair
    listener = listen(there, THERE)
    connection = here.create_connection((THERE, listener.local[1]), 60)
    sock = here.datagram((HERE, 0))
    for one in (connection, sock):
        one.close()
        one.close()
        assert one.closed
    for call in (
        lambda: connection.recv(1),
        lambda: connection.sendall(b"x"),
        lambda: connection.shutdown(socket.SHUT_WR),
        lambda: sock.recv(1),
        lambda: sock.sendto(b"x", (THERE, 9)),
    ):
        with says(errno.EBADF, "was closed"):
            call()
    here.close()
    for _, call in (*REACHING, *LISTENING):
        with says(errno.EBADF):
            call(here, THERE, 80)
    for call in (lambda: here.limit_packets(8192), lambda: here.check_checksums(False)):
        with says(errno.EBADF):
            call()
    listener.close()


def test_closing_a_socket_wakes_its_own_readers(pair):
    here, there = pair
    listener = listen(there, THERE)
    connection = here.create_connection((THERE, listener.local[1]), 60)
    sock = here.datagram((HERE, 0))
    for one in (connection, sock):
        errors = []

        def wait(one=one, errors=errors):
            try:
                one.recv(1)
            except OSError as error:
                errors.append(error.errno)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        one.close()
        for thread in threads:
            thread.join(60)
        assert errors == [errno.EBADF] * 3
    listener.close()


def test_closing_the_device_ends_tasks_streams_and_servers(pair):
    here, there = pair

    async def hold(reader, writer):
        try:
            await gate.wait()
        finally:
            writer.transport.abort()

    async def main():
        nonlocal gate
        gate = asyncio.Event()
        server = await there.start_server(hold, THERE, 0)
        own = await here.start_server(hold, HERE, 0)
        reader, writer = await here.open_connection(*server.address)

        async def drain():
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()

        tasks = [
            asyncio.ensure_future(one)
            for one in (reader.read(1), drain(), here.open_connection("10.9.0.77", 80), own.serve_forever())
        ]
        while writer.transport.get_write_buffer_size() == 0:
            await asyncio.sleep(0.01)
        await asyncio.get_running_loop().run_in_executor(None, here.close)  # from another thread
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        # The writer learns it as with any stream: the connection is lost, by this or as a reset.
        assert [type(error) for error in errors] == [OSError, type(errors[1]), OSError, type(None)], errors
        assert isinstance(errors[1], OSError), errors
        assert errors[0].errno == errors[2].errno == errno.ENODEV
        assert not own.is_serving()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        gate.set()
        server.close()

    gate = None
    run(main())


# ---- Who never reads ----


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_connections_that_nobody_reads_cost_bounded_memory(pair):
    """What the device's peers may send without being read: a window each, 256 MiB together, and then no more."""
    here, there = pair
    listener = listen(there, THERE)
    connections = [here.create_connection((THERE, listener.local[1]), 60) for _ in range(8)]
    peers = [accepted(listener) for _ in connections]
    before = resident()
    sent = 0
    for connection in connections:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                sent += connection.send(bytes(1 << 20))
    assert 8 << 20 < sent < 8 * (10 << 20)  # a window of 4 MiB and as much to send, at most, each
    assert resident() - before < 2 * sent + (32 << 20)
    received = [0] * len(peers)
    for number, (connection, peer) in enumerate(zip(connections, peers)):
        connection.shutdown(socket.SHUT_WR)
        while data := peer.recv(1 << 20):  # and nothing of it is lost
            received[number] += len(data)
    assert sum(received) == sent
    for one in (*connections, *peers, listener):
        one.close()


def test_datagrams_that_nobody_receives_are_dropped_and_counted(pair):
    here, there = pair
    with there.datagram((THERE, 53)) as server, here.datagram(remote=(THERE, 53)) as client:
        before, sent = resident(), 0
        while server.drops == 0:
            sent += client.send(bytes(1000)) // 1000
        assert resident() - before < 64 << 20
        last = client.getsockname()[1]
        with there.datagram((THERE, 54)) as marker:  # what was on its way has come when this one has
            client.sendto(b"end", (THERE, 54))
            assert marker.recv() == b"end"
        server.setblocking(False)
        received = 0
        with pytest.raises(BlockingIOError):
            while True:
                assert server.recvfrom()[1][1] == last
                received += 1
        assert received > 100
        lost = sum(value for device in pair for name, value in device.statistics.items() if "drop" in name)
        assert received + server.drops + lost == sent


def test_packets_that_the_program_never_reads_are_counted_and_cost_the_ring_only():
    with wintun.TunDevice("here", backend="embedded") as tun:
        tun.addr = HERE
        tun.up()
        before = resident()
        sent = refused = 0
        with tun.datagram(remote=(THERE, 9)) as sock:
            for _ in range(100_000):  # 140 MB
                try:
                    sent += sock.send(bytes(1400)) // 1400
                except OSError as error:
                    assert error.errno in (errno.ENOBUFS, errno.EAGAIN), error
                    refused += 1
        assert resident() - before < 32 << 20
        lost = sum(value for name, value in tun.statistics.items() if "drop" in name)
        kept = 0
        while tun.read() is not None:
            kept += 1
        assert kept + lost + refused == 100_000
        assert kept > 1000


def test_connections_that_nobody_accepts_are_bounded(pair):
    here, there = pair
    listener = listen(there, THERE, backlog=5)
    connections, refused = [], 0
    for _ in range(20):
        try:
            connections.append(here.create_connection((THERE, listener.local[1]), 0.3))
        except TimeoutError:
            refused += 1
            if refused == 2:
                break
    assert len(connections) == 5
    for _ in range(5):
        accepted(listener).close()
    with here.create_connection((THERE, listener.local[1]), 60):  # and there is room again
        pass
    for one in (*connections, listener):
        one.close()
