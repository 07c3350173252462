"""The far end of the TCP rows: a server on this namespace's kernel, in a process of its own with one thread.

    tcp_peer.py ADDRESS PORT DESCRIPTOR

A connection's first byte says what it is for: D, take without end; U, bring until the end; E, stay open. What came is
counted in the eight bytes of memory behind the descriptor, where the other process reads it at any time. It prints a
line when it listens.
"""

from __future__ import annotations

import mmap
import resource
import selectors
import socket
import struct
import sys

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER = 16 << 20  # bytes: the peer must not be what limits
LOOPBACK = "::1"
BLOCK = memoryview(bytes(1 << 20))


def prepare(sock: socket.socket, size: int) -> None:
    """A TCP socket's buffers, its way of finding the rate, and its end. Accepted ones have what their listener has.

    Reno, since every kernel has it and the embedded stack is of its kind: the default differs from machine to machine.
    Ending means a reset: without it the kernel keeps what was not acknowledged for minutes after its process and its
    namespace have gone, the machine's TCP memory fills, and every later figure is wrong.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    grow(sock, size)


def grow(sock: socket.socket, size: int) -> None:
    """The socket's buffers. Without the right to it, in a user namespace, the kernel chooses them itself."""
    try:
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, size)
    except PermissionError:
        pass


class Connection:
    """One connection: unknown, then one of the three."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._socket = server, sock
        server.selector.register(sock, selectors.EVENT_READ, self._begin)

    def _begin(self) -> None:
        what = self._socket.recv(1)
        if what == b"D":
            self._server.selector.modify(self._socket, selectors.EVENT_WRITE, self._send)
        elif what in (b"U", b"E"):
            self._socket.send(what)
            self._server.selector.modify(self._socket, selectors.EVENT_READ, self._receive)
        else:
            self.close()

    def _send(self) -> None:
        self._socket.send(BLOCK)

    def _receive(self) -> None:
        got = self._socket.recv_into(self._server.buffer)
        self._server.counter[0] += got
        if not got:
            self.close()

    def close(self) -> None:
        self._server.selector.unregister(self._socket)
        self._socket.close()


class Server:
    """Accepts, and calls what became ready."""

    def __init__(self, address: str, port: int, descriptor: int) -> None:
        self.counter = memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("Q")
        self.buffer = bytearray(1 << 20)
        self.selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        prepare(self._listener, BUFFER)
        self._listener.bind((address, port))
        self._listener.listen(2000)
        self._listener.setblocking(False)
        self.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        Connection(self, connection)

    def run(self) -> None:
        print("listening", flush=True)
        while True:
            for key, _ in self.selector.select():
                try:
                    key.data()
                except BlockingIOError:
                    pass
                except OSError:  # a host that ended its measurement by a reset
                    if key.fileobj is not self._listener:
                        key.data.__self__.close()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Server(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
