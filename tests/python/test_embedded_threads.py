"""The embedded stack from many threads, loops and devices at once; thousands of connections; half-closed ones."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import queue
import random
import resource
import selectors
import socket
import threading
import warnings
import weakref

import pytest

from children import Child
from streams import HERE, HERE6, THERE, THERE6, made_pair, run
from streams import echo as echo_stream
from wintun import _native
from wintun._stack import StackSocket

pytestmark = [
    pytest.mark.no_device,
    pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver"),
]


@pytest.fixture
def pair():
    with made_pair() as both:
        yield both


def in_threads(calls):
    """Runs them all at once; the first exception is raised here."""
    errors = []

    def guarded(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def serving(device, host, serve, port=0):
    """`serve(connection)` in a thread for each connection; gives the address."""
    listener = _native.StackListener.listen(
        device, (socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host), port), 200
    )
    threads = []

    def accept():
        while True:
            listener.wait_readable(None)
            try:
                native = listener.accept()
            except OSError:
                return
            if native is not None:
                threads.append(threading.Thread(target=handle, args=(StackSocket(native),)))
                threads[-1].start()

    def handle(connection):
        with connection, contextlib.suppress(OSError):
            serve(connection)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield host, listener.local[1]
    finally:
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def receive_exactly(connection, size):
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        got = connection.recv_into(view)
        assert got, "the peer finished early"
        view = view[got:]
    return bytes(buffer)


# ---- Threads ----


def test_each_of_many_threads_has_its_own_connections(pair):
    here, there = pair

    def client(number):
        source = random.Random(number)
        for _ in range(5):
            content = source.randbytes(source.randrange(1, 200_000))
            host = (THERE, THERE6)[number % 2]
            with here.create_connection((host, ports[host]), timeout=90) as connection:
                sender = threading.Thread(target=connection.sendall, args=(content,))
                sender.start()
                assert receive_exactly(connection, len(content)) == content
                sender.join()
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""

    with serving(there, THERE, echo) as four, serving(there, THERE6, echo) as six:
        ports = dict([four, six])
        in_threads([lambda number=number: client(number) for number in range(16)])


def test_many_threads_share_one_connection(pair):
    """Records of one write each stay whole and none is lost; two readers part the bytes between them."""
    here, there = pair
    got, lock = [], threading.Lock()

    def sink(connection):
        def read():
            while data := connection.recv(1000):
                with lock:
                    got.append(len(data))

        in_threads([read, read, read])
        connection.sendall(b"done")

    with serving(there, THERE, sink) as address, here.create_connection(address, timeout=90) as connection:
        in_threads([lambda: [connection.sendall(bytes(500)) for _ in range(400)]] * 4)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"done"
    assert sum(got) == 4 * 400 * 500


def test_several_loops_in_several_threads_use_one_device(pair):
    here, there = pair

    async def main(number):
        async def one(index):
            reader, writer = await here.open_connection(*address)
            content = b"%d %d " % (number, index) * 5000
            writer.write(content)
            writer.write_eof()
            assert await reader.read(-1) == content
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(one(index) for index in range(20)))

    with serving(there, THERE6, echo) as address:
        in_threads([lambda number=number: run(main(number)) for number in range(4)])


def test_a_device_closed_amid_connects_and_transfers_ends_them_all():
    """Nobody hangs, nobody crashes, and what anybody gets is an OSError."""
    for _ in range(10):
        with made_pair() as (here, there), serving(there, THERE, echo) as address:
            transfers = threading.Semaphore(0)

            def work(here=here, address=address, transfers=transfers):
                with contextlib.suppress(OSError):
                    while True:
                        with here.create_connection(address, timeout=60) as connection:
                            connection.sendall(bytes(50_000))
                            receive_exactly(connection, 50_000)
                        transfers.release()
                        with contextlib.suppress(TimeoutError):
                            here.ping(THERE, 0.001)

            def close(here=here, there=there, transfers=transfers):
                for _ in range(20):
                    assert transfers.acquire(timeout=90)
                here.close()
                there.close()

            in_threads([work] * 8 + [close])


# ---- Devices ----


def test_devices_with_the_same_addresses_and_ports_are_kept_apart():
    """Four links with one plan of addresses, all at once: each answer comes from the right one."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(made_pair((f"here{i}", f"there{i}"))) for i in range(4)]
        for number, (_, there) in enumerate(links):
            name = b"link %d." % number

            def serve(connection, name=name):
                while data := connection.recv(65536):
                    connection.sendall(name + data)

            assert stack.enter_context(serving(there, THERE6, serve, 80)) == (THERE6, 80)
            server = stack.enter_context(there.datagram((THERE, 53)))

            def answer(server=server, name=name):
                with contextlib.suppress(OSError):
                    while True:
                        data, sender = server.recvfrom()
                        server.sendto(name + data, sender)

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.close)

        def client(number):
            here = links[number][0]
            name = b"link %d." % number
            with here.datagram((HERE, 5000), (THERE, 53)) as sock:
                for turn in range(50):
                    with here.create_connection((THERE6, 80), 60, source_address=(HERE6, 6000 + turn)) as connection:
                        connection.sendall(b"tcp")
                        assert receive_exactly(connection, len(name) + 3) == name + b"tcp"
                    sock.send(b"udp")
                    assert sock.recv() == name + b"udp"
                    assert here.ping(THERE, 60) > 0

        in_threads([lambda number=number: client(number) for number in range(4)])
        # One that goes does not take the others along.
        links[0][0].close()
        links[0][1].close()
        in_threads([lambda number=number: client2(links[number][0], b"link %d." % number) for number in (1, 2, 3)])


def client2(here, name):
    with here.create_connection((THERE6, 80), 60) as connection:
        connection.sendall(b"still")
        assert receive_exactly(connection, len(name) + 5) == name + b"still"


# ---- Many ----


def test_thousands_of_connections_are_open_at_once_without_a_descriptor_each(pair):
    here, there = pair
    many = 2500
    most = 0

    async def main():
        nonlocal most
        server = await there.start_server(echo_stream, THERE6, 0, backlog=255)
        address = server.address
        gate = asyncio.Semaphore(100)  # of those that connect at this moment

        async def connect():
            async with gate:
                return await here.open_connection(*address)

        streams = await asyncio.gather(*(connect() for _ in range(many)))
        most = len(os.listdir("/proc/self/fd"))
        assert len({writer.get_extra_info("sockname")[1] for _, writer in streams}) == many
        for number, (_, writer) in enumerate(streams):
            writer.write(b"%06d" % number)
        for number, (reader, _) in enumerate(streams):
            assert await reader.readexactly(6) == b"%06d" % number
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in streams))
        server.close()

    before = len(os.listdir("/proc/self/fd"))
    run(main())
    assert most < before + 20
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_no_descriptors_left_is_an_error_and_not_the_end(pair):
    """A blocking wait needs one. Without, EMFILE; and with, on it goes."""
    here, there = pair
    with serving(there, THERE, echo) as address, here.create_connection(address, 60) as connection:
        for _ in range(2):  # both ends have theirs then
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        connection.sendall(b"x")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
        try:
            held = []
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            with pytest.raises(OSError) as caught:
                here.create_connection(address, 60)
            assert caught.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in held:
                os.close(descriptor)
        assert connection.recv(1) == b"x"
        with here.create_connection(address, 60) as another:
            another.sendall(b"y")
            assert another.recv(1) == b"y"


# ---- One connection ----


def test_a_half_closed_connection_still_receives(pair):
    here, there = pair

    def answer_at_the_end(connection):
        size = 0
        while data := connection.recv(65536):
            size += len(data)
        connection.sendall(b"%d" % size)

    with serving(there, THERE, answer_at_the_end) as address, here.create_connection(address, 60) as connection:
        connection.sendall(bytes(300_000))
        connection.shutdown(socket.SHUT_RD)  # which does nothing to the peer
        connection.shutdown(socket.SHUT_WR)
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError, match="finished sending"):
            connection.send(b"x")
        with connection.makefile("rb") as file:
            assert file.read() == b"300000"


def test_what_was_sent_before_close_arrives(pair):
    here, there = pair
    got = queue.Queue()

    def sink(connection):
        size = 0
        while data := connection.recv(65536):
            size += len(data)
        got.put(size)

    with serving(there, THERE, sink) as address:
        connection = here.create_connection(address, 60)
        connection.sendall(bytes(2_000_000))
        connection.close()
        assert got.get(timeout=60) == 2_000_000


def test_makefile_keeps_the_connection_and_reads_and_writes_text(pair):
    here, there = pair
    with serving(there, THERE, echo) as address:
        connection = here.create_connection(address, 60)
        with connection.makefile("rw", encoding="utf-8", newline="\n") as file:
            connection.close()  # the file's now
            file.write("Grüße\nand more\n")
            file.flush()
            assert file.readline() == "Grüße\n"
            assert file.readline() == "and more\n"
            assert connection.closed
        with pytest.raises(OSError) as caught:
            connection.recv(1)
        assert caught.value.errno == errno.EBADF


def test_selectors_tell_which_of_many_can_be_read(pair):
    here, there = pair
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(there, THERE, echo))
        connections = [stack.enter_context(here.create_connection(address, 60)) for _ in range(20)]
        sock = stack.enter_context(here.datagram((HERE, 5000)))
        sender = stack.enter_context(there.datagram((THERE, 5000)))
        selector = stack.enter_context(selectors.DefaultSelector())
        for one in (*connections, sock):
            selector.register(one, selectors.EVENT_READ)
        assert selector.select(0) == []
        for turn in range(50):
            chosen = connections[turn % 20]
            chosen.sendall(b"%d" % turn)
            ((key, _),) = selector.select(60)
            assert key.fileobj is chosen
            assert receive_exactly(chosen, len(b"%d" % turn)) == b"%d" % turn
        sender.sendto(b"x", (HERE, 5000))
        ((key, _),) = selector.select(60)
        assert key.fileobj is sock and sock.recv() == b"x"
        connections[3].shutdown(socket.SHUT_WR)
        ((key, _),) = selector.select(60)
        assert key.fileobj is connections[3] and connections[3].recv(1) == b""


class Counted(asyncio.Protocol):
    """Checks that each byte is the next one, and that none comes while it wants none."""

    def __init__(self):
        self.count, self.paused = 0, False

    def data_received(self, data):
        assert not self.paused
        start = self.count % 250
        assert data == (bytes(range(250)) * (len(data) // 250 + 2))[start : start + len(data)]
        self.count += len(data)


def test_a_transport_that_is_paused_gives_nothing_and_loses_nothing(pair):
    here, there = pair

    async def main():
        server = await there.start_server(flood, THERE, 0)
        _, writer = await here.open_connection(*server.address)
        transport, counted = writer.transport, Counted()
        transport.set_protocol(counted)
        for turn in range(50):
            wanted = counted.count + 100_000
            while counted.count < wanted:
                await asyncio.sleep(0)
            transport.pause_reading()
            counted.paused = True
            assert not transport.is_reading()
            for _ in range(turn):  # a different moment each time
                await asyncio.sleep(0.001)
            counted.paused = False
            transport.resume_reading()
        transport.abort()
        server.close()
        # And a byte that comes into an empty connection.
        async with await there.start_server(echo_stream, THERE, 0) as server:
            _, writer = await here.open_connection(*server.address)
            transport, counted = writer.transport, Counted()
            transport.set_protocol(counted)
            transport.pause_reading()
            counted.paused = True
            transport.write(b"\0")
            while transport.get_extra_info("socket")._native.available == 0:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            counted.paused = False
            transport.resume_reading()
            while counted.count == 0:
                await asyncio.sleep(0)
            transport.close()

    async def flood(reader, writer):
        try:
            while True:
                writer.write(bytes(range(250)) * 4000)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()  # with much to write it would stay open

    run(main())


def test_a_loop_that_ends_with_connections_open_takes_them_along(pair):
    """With a warning each, as asyncio's own: nobody can use them any more."""
    here, there = pair
    ended = []

    async def main():
        server = await there.start_server(hold, THERE, 0)
        opened.append(await here.open_connection(*server.address))
        opened[0][1].write(b"x")
        while len(opened) < 2:
            await asyncio.sleep(0.01)
        ended.append(weakref.ref(asyncio.get_running_loop()))
        server.close()

    async def hold(reader, writer):
        await reader.read(1)
        opened.append((reader, writer))

    for _ in range(3):
        opened = []
        run(main())
        descriptors = len(os.listdir("/proc/self/fd"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opened.clear()
            gc.collect()
        told = [(warning.category, str(warning.message)) for warning in caught]
        del caught  # they refer to what they are about
        gc.collect()
        assert {category for category, _ in told} == {ResourceWarning}
        assert sum("StackTransport" in text for _, text in told) >= 2  # newer streams warn, too
        assert len(os.listdir("/proc/self/fd")) < descriptors
    assert [loop() for loop in ended] == [None] * 3


# ---- Ctrl-C ----


@pytest.mark.parametrize(
    "call",
    [
        'here.create_connection(("10.9.0.77", 80))',
        'here.datagram(("10.9.0.1", 0)).recvfrom()',
        'here.ping("10.9.0.77", None)',
        "connection.recv(1)",
        "connection.recv_into(bytearray(1 << 20))",
        "connection.sendall(bytes(64 << 20))",  # nobody accepts it, so nobody receives
    ],
)
def test_ctrl_c_gets_through_a_blocking_call(call):
    code = f"""
    from streams import made_pair
    from wintun import _native
    with made_pair() as (here, there):
        listener = _native.StackListener.listen(there, (bytes([10, 9, 0, 2]), 80), 1)
        with here.create_connection(("10.9.0.2", 80)) as connection:
            print("waiting")
            try:
                {call}
            except KeyboardInterrupt:
                connection.abort()
                print("interrupted")
    """
    with Child(code) as child:
        child.expect_line("waiting")
        child.wait_until_asleep()
        child.interrupt()
        status, out, error = child.finish()
    assert (status, out.strip(), error) == (0, "interrupted", "")
