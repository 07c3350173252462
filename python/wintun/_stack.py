"""The host's side of an embedded device, for `TunDevice`: a blocking socket-like object, UDP and ping.

The stack below is native and never waits with the GIL held; what cannot be done in time answers None. asyncio is in
_stack_asyncio.py. Any thread may call anything.
"""

from __future__ import annotations

import errno
import io
import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from . import _native as core

if TYPE_CHECKING:
    from typing_extensions import Buffer

Host = Union[str, IPv4Address, IPv6Address]
"""An IP address to reach; a name is refused (socket.gaierror)."""

_Self = TypeVar("_Self", bound="_Socket")

_CHUNK = 262144  # bytes a call takes at once
LEAST_LIMIT = 576  # bytes of a packet, as the least MTU
_DEFAULT_TIMEOUT = getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT", object())


def native_address(doing: str, host: object, port: object) -> tuple[bytes, int]:
    """The address as the native side takes it. socket.gaierror for a name: nothing here could resolve it."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"{doing}: the port is an int, not {type(port).__name__}")
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{doing}: a port from 0 to 65535, not {port}")
    return native_host(doing, host), port


def native_host(doing: str, host: object) -> bytes:
    if isinstance(host, (IPv4Address, IPv6Address)):
        return host.packed
    if not isinstance(host, str):
        raise TypeError(f"{doing}: the host is a str or an object of ipaddress, not {type(host).__name__}")
    try:
        return ip_address(host.split("%", 1)[0]).packed  # a scope is the device itself
    except ValueError:
        raise socket.gaierror(
            socket.EAI_NONAME,
            f"{doing}: {host!r} is no IP address, and the embedded stack resolves no names; resolve it first "
            "(socket.getaddrinfo) or name the address",
        ) from None


def python_address(address: tuple[bytes, int]) -> Any:
    """As the socket module has them: a pair, or four for IPv6."""
    packed, port = address
    host = str(ip_address(packed))
    return (host, port) if len(packed) == 4 else (host, port, 0, 0)


def text_of(address: tuple[bytes, int]) -> str:
    """As the native side's messages have it."""
    packed, port = address
    host = ip_address(packed)
    return f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}"


def address_pair(doing: str, what: str, address: object) -> tuple[bytes, int]:
    """A (host, port) as the native side takes it; more, as the socket module has for IPv6, is not looked at."""
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError(f"{doing}: {what} is (host, port), not {address!r}")
    return native_address(doing, address[0], address[1])


def check_timeout(doing: str, timeout: object) -> Optional[float]:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{doing}: the timeout is a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"{doing}: a timeout of seconds from 0 up or None, not {timeout!r}")
    return timeout


def check_size(doing: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{doing}: a size in bytes, not {type(size).__name__}")
    if size < 0:
        raise ValueError(f"{doing}: a size from 0 up, not {size}")
    return size


def _no_flags(doing: str, flags: int) -> None:
    if flags:  # MSG_PEEK and the like would silently do something else
        raise OSError(errno.EOPNOTSUPP, f"{doing}: the embedded stack has no flags, and {flags:#x} is one")


class _Socket:
    """What a connection and a UDP socket have in common: a timeout, and life."""

    __slots__ = ("__weakref__", "_native", "_timeout")

    _native: Union[core.StackConnection, core.StackDatagram]

    def __init__(self, native: Union[core.StackConnection, core.StackDatagram]) -> None:
        self._native = native
        self._timeout: Optional[float] = None

    def settimeout(self, timeout: Optional[float]) -> None:
        """Seconds that a call may wait, then TimeoutError; None: without end; 0: BlockingIOError at once.

        Raises:
            ValueError: below 0, or no number.
        """
        self._timeout = check_timeout("settimeout", timeout)

    def gettimeout(self) -> Optional[float]:
        """Seconds; None: without end."""
        return self._timeout

    def setblocking(self, blocking: bool) -> None:
        """True: as settimeout(None). False: as settimeout(0)."""
        self.settimeout(None if blocking else 0.0)

    def fileno(self) -> int:
        """A descriptor that is readable while something can be received, or has ended. Nothing else can be done
        with it."""
        return self._native.fileno()

    def getsockname(self) -> Any:
        """Its own (host, port); of IPv6 (host, port, 0, 0), as the socket module has it."""
        return python_address(self._native.local)

    def close(self) -> None:
        """It can be called again, and from any thread: who waits gets OSError(EBADF)."""
        self._native.close()

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return bool(self._native.error == errno.EBADF)

    def _late(self, doing: str) -> OSError:
        doing = f"{doing} on the embedded device {self._native.device!r}"
        if self._timeout == 0:
            return BlockingIOError(errno.EAGAIN, f"{doing}: not possible without waiting; try again when select() says")
        return TimeoutError(errno.ETIMEDOUT, f"{doing}: not within the {self._timeout} s of settimeout()")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


class StackSocket(_Socket):
    """A TCP connection through an embedded device, with the methods of a blocking `socket.socket`."""

    __slots__ = ("_close_wanted", "_files")

    _native: core.StackConnection

    def __init__(self, native: core.StackConnection) -> None:
        super().__init__(native)
        self._files = 0
        self._close_wanted = False

    def close(self) -> None:
        """What was sent still goes. The connection stays for files of makefile() until they are closed, too."""
        self._close_wanted = True
        if self._files == 0:
            self._native.close()

    @property
    def closed(self) -> bool:
        """Whether close() was called; files of makefile() may still be open."""
        return self._close_wanted or super().closed

    def _file_closed(self) -> None:
        self._files -= 1
        if self._close_wanted and self._files == 0:
            self._native.close()

    type = socket.SOCK_STREAM
    """SOCK_STREAM."""

    proto = socket.IPPROTO_TCP
    """IPPROTO_TCP."""

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET if len(self._native.local[0]) == 4 else socket.AF_INET6

    def getpeername(self) -> Any:
        """The peer's (host, port); of IPv6 (host, port, 0, 0)."""
        return python_address(self._native.remote)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """A part of the data may go; how many bytes did. Waits for room.

        Raises:
            TimeoutError: no room within the timeout.
            BrokenPipeError: after shutdown() for writing.
            ConnectionResetError: the peer gave the connection up.
            OSError: ENODEV: the device was closed.
        """
        _no_flags("send", flags)
        if len(memoryview(data)) == 0:
            return 0
        if (sent := self._native.send(data, self._timeout)) is None:
            raise self._late(f"sending to {self._peer()}")
        return sent

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """All of it. On an exception nobody can say how much went. Errors as send()."""
        _no_flags("sendall", flags)
        view = memoryview(data).cast("B")
        left = self._timeout
        deadline = time.monotonic() + left if left else None
        while view:
            if (sent := self._native.send(view[: _CHUNK * 16], left)) is None:
                raise self._late(f"sending to {self._peer()}")
            view = view[sent:]
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At least one byte and at most `size`; empty when the peer has finished.

        Raises:
            TimeoutError: nothing within the timeout.
            ConnectionResetError: the peer gave the connection up.
            OSError: ENODEV: the device was closed.
        """
        _no_flags("recv", flags)
        check_size("recv", size)
        if (data := self._native.receive(size, self._timeout)) is None:
            raise self._late(f"receiving from {self._peer()}")
        return data

    def recv_into(self, buffer: Buffer, size: int = 0, flags: int = 0) -> int:
        """Into the caller's memory; how many bytes, 0 when the peer has finished. Errors as recv()."""
        _no_flags("recv_into", flags)
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError(f"recv_into: a buffer that can be written, not {type(buffer).__name__}")
        if check_size("recv_into", size) > len(view):
            raise ValueError(f"recv_into: {size} bytes do not fit into a buffer of {len(view)}")
        if size:
            view = view[:size]
        if not view:
            return 0
        if (got := self._native.receive_into(view, self._timeout)) is None:
            raise self._late(f"receiving from {self._peer()}")
        return got

    def shutdown(self, how: int) -> None:
        """socket.SHUT_WR: the peer receives the end behind what was sent. SHUT_RD does nothing, as on Linux's side
        of the wire."""
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise ValueError(f"shutdown: SHUT_RD, SHUT_WR or SHUT_RDWR, not {how!r}")
        if how != socket.SHUT_RD:
            self._native.finish()

    def abort(self) -> None:
        """Close at once with a reset; what was sent may be lost."""
        self._native.abort()

    def setsockopt(self, level: int, option: int, value: object = None, length: object = None) -> None:
        """TCP_NODELAY, which is on from the start; for other options `OSError(ENOPROTOOPT)`."""
        if (level, option) != (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            raise OSError(errno.ENOPROTOOPT, "setsockopt: the embedded stack has TCP_NODELAY only")
        self._native.set_no_delay(bool(value))

    def getsockopt(self, level: int, option: int, length: object = None) -> int:
        """SO_ERROR: why the connection is over, or 0. Others: OSError(ENOPROTOOPT), SO_TYPE among them: who asks for
        it (ssl.SSLContext.wrap_socket) goes on to take the descriptor for a socket of the system's."""
        if (level, option) != (socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(
                errno.ENOPROTOOPT,
                "getsockopt: the embedded stack has SO_ERROR only, and no descriptor of the system's that ssl could "
                "use: TLS goes by open_connection(ssl=...), or by ssl.SSLObject as the document of the stack shows",
            )
        return self._native.error

    def makefile(
        self,
        mode: str = "r",
        buffering: Optional[int] = None,
        *,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
    ) -> Any:
        """As `socket.socket.makefile()`."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"makefile: a mode of 'r', 'w' and 'b', not {mode!r}")
        reading, writing = "r" in mode or "w" not in mode, "w" in mode
        raw = _Raw(self, reading, writing)
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("makefile: only a binary file can be without a buffer")
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffered: Any
        if reading and writing:
            buffered = io.BufferedRWPair(raw, raw, size)
        elif reading:
            buffered = io.BufferedReader(raw, size)
        else:
            buffered = io.BufferedWriter(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _peer(self) -> str:
        return text_of(self._native.remote)

    def __repr__(self) -> str:
        return f"<wintun.StackSocket to {self._peer()}{' closed' if self.closed else ''}>"


class _Raw(io.RawIOBase):
    def __init__(self, connection: StackSocket, reading: bool, writing: bool) -> None:
        self._connection, self._reading, self._writing = connection, reading, writing
        connection._files += 1

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._connection._file_closed()

    def readable(self) -> bool:
        return self._reading

    def writable(self) -> bool:
        return self._writing

    def readinto(self, buffer: Any) -> Optional[int]:
        try:
            return self._connection.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Any) -> Optional[int]:
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return None


class StackDatagramSocket(_Socket):
    """UDP through an embedded device, with the methods of a blocking `socket.socket`."""

    __slots__ = ()

    _native: core.StackDatagram

    def getpeername(self) -> Any:
        """The remote address that the socket was made with.

        Raises:
            OSError: ENOTCONN: it was made without one.
        """
        remote = self._native.remote
        if remote is None:
            raise OSError(errno.ENOTCONN, "getpeername: this UDP socket was made without a remote address")
        return python_address(remote)

    @property
    def drops(self) -> int:
        """Datagrams that came while too many were waiting to be received."""
        return self._native.drops

    def sendto(self, data: Buffer, address: tuple[Any, ...]) -> int:
        """One datagram to (host, port); the number of its bytes.

        Raises:
            OSError: EMSGSIZE, ENETUNREACH, ENETDOWN.
        """
        return self._native.send(data, address_pair("sendto", "the address", address))

    def send(self, data: Buffer) -> int:
        """One datagram to the remote address that the socket was made with; the number of its bytes.

        Raises:
            OSError: EDESTADDRREQ: it was made without one; and as sendto().
        """
        return self._native.send(data, None)

    def recvfrom(self, size: int = 65535) -> tuple[bytes, Any]:
        """The next datagram, cut to `size` bytes, and who sent it.

        Raises:
            TimeoutError: none within the timeout.
        """
        check_size("recvfrom", size)
        if (got := self._native.receive(size, self._timeout)) is None:
            raise self._late("receiving a datagram")
        return got[0], python_address(got[1])

    def recv(self, size: int = 65535) -> bytes:
        """The next datagram, cut to `size` bytes."""
        return self.recvfrom(size)[0]

    def __repr__(self) -> str:
        return f"<wintun.StackDatagramSocket at {self.getsockname()[:2]}{' closed' if self.closed else ''}>"


def create_connection(
    device: Any, address: object, timeout: object, source_address: Optional[tuple[Any, int]]
) -> StackSocket:
    to = address_pair("create_connection", "the address", address)
    local = None
    if source_address is not None:
        local = address_pair("create_connection", "source_address", source_address)
    if timeout is _DEFAULT_TIMEOUT:  # http.client and urllib hand it on
        timeout = socket.getdefaulttimeout()
    limit = check_timeout("create_connection", timeout)
    connection = StackSocket(core.StackConnection.connect(device, to, local))
    native = connection._native
    try:
        connection.settimeout(limit)
        if not native.wait_writable(limit):
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"connecting to {text_of(to)} on the embedded device {native.device!r}: not within "
                f"{limit} s (are packets carried both ways?)",
            )
        native.check()
    except BaseException:
        native.abort()
        raise
    return connection


def open_datagram(device: Any, local: object, remote: object) -> StackDatagramSocket:
    def native_of(what: str, address: Any) -> Optional[tuple[bytes, int]]:
        return None if address is None else address_pair("datagram", what, address)

    return StackDatagramSocket(core.StackDatagram.open(device, native_of("local", local), native_of("remote", remote)))


def ping(device: Any, host: object, timeout: object, size: int) -> float:
    check_size("ping", size)
    seconds = core.stack_ping(device, native_host("ping", host), size, check_timeout("ping", timeout))
    if seconds is None:
        raise TimeoutError(
            errno.ETIMEDOUT, f"pinging {host} on the embedded device {device.name!r}: no answer within {timeout} s"
        )
    return seconds
