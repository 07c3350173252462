"""The host's side of an embedded device in asyncio: streams and servers on the stack's sockets.

Each loop has one hub: one descriptor that tells which of its thousands of connections became readable or writable.
No thread is used, and everything of a loop happens in that loop's own thread.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
import warnings
import weakref
from collections import deque
from types import TracebackType
from typing import Any, Callable, Optional, Union

from . import _native
from ._stack import StackSocket, address_pair, native_address, python_address, text_of

_CHUNK = 262144  # bytes that one connection receives before others get a turn
_HIGH = 262144  # bytes that wait to be written before a writer's drain() waits
_LIMIT = 1 << 18  # bytes of a StreamReader before it stops receiving; asyncio's own 64 KiB would be the bottleneck


_MOST_BACKLOG = 255  # connections; lwIP counts them in a byte

_log = logging.getLogger("wintun")

Ssl = Union[ssl_module.SSLContext, bool, None]


class _Hub:
    """What became ready, of all sockets of one loop.

    It lives by its sockets, and by the loop while that watches: held from here, a loop that ended with a connection
    open would stay for good, since the connection holds its loop.
    """

    _of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Hub]] = weakref.WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._watcher = _native.StackWatcher()
        self._handlers: dict[int, Callable[[bool, bool], None]] = {}
        self._next_token = 1

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Hub:
        known = cls._of.get(loop)
        hub = None if known is None else known()
        if hub is None:
            hub = cls(loop)
            cls._of[loop] = weakref.ref(hub)
        return hub

    def watch(self, native: Any, handler: Callable[[bool, bool], None]) -> int:
        loop = self._loop()
        if loop is not None and not self._handlers:
            loop.add_reader(self._watcher.fileno(), self._ready)
        token = self._next_token
        self._next_token += 1
        self._handlers[token] = handler
        native.watch(self._watcher, token)
        return token

    def unwatch(self, native: Any, token: int) -> None:
        native.watch(None, 0)
        self._handlers.pop(token, None)
        loop = self._loop()
        if loop is not None and not self._handlers and not loop.is_closed():
            loop.remove_reader(self._watcher.fileno())

    def _ready(self) -> None:
        for token, readable, writable in self._watcher.take():
            handler = self._handlers.get(token)
            if handler is not None:
                handler(readable, writable)


class StackTransport(asyncio.Transport):
    """A connection of the stack as asyncio knows connections."""

    _start_tls_compatible = True  # loop.start_tls asks for it

    def __init__(self, loop: asyncio.AbstractEventLoop, native: Any, protocol: asyncio.BaseProtocol) -> None:
        # Some programs ask for a socket, to see that there is one or to set an option.
        super().__init__(
            {
                "peername": python_address(native.remote),
                "sockname": python_address(native.local),
                "socket": StackSocket(native),
            }
        )
        self._loop = loop
        self._native = native
        self._waiting: deque[memoryview] = deque()
        self._waiting_size = 0
        self._closing = self._lost = False
        self._reading, self._read_end = True, False
        self._finish = self._writing_paused = False
        self._read_again = False
        self.set_write_buffer_limits()
        self.set_protocol(protocol)
        self._hub = _Hub.of(loop)
        loop.call_soon(protocol.connection_made, self)
        # Behind connection_made, as every protocol expects it.
        self._token = 0
        loop.call_soon(self._start)

    def _start(self) -> None:
        if not self._lost:
            self._token = self._hub.watch(self._native, self._ready)

    # ---- The protocol ----

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    def _ready(self, readable: bool, writable: bool) -> None:
        if writable:
            self._write_waiting()
        if readable and self._reading:
            self._read()

    # ---- Receiving ----

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if self._reading or self._closing:
            return
        self._reading = True
        self._read_soon()

    def _read_soon(self) -> None:
        if not self._read_again:
            self._read_again = True
            self._loop.call_soon(self._read_now)

    def _read_now(self) -> None:
        self._read_again = False
        if self._reading:
            self._read()

    def _read(self) -> None:
        if self._closing or self._read_end or not self._token:
            return
        try:
            if self._buffered:
                size = self._native.receive_into(self._protocol.get_buffer(-1))
                if size:
                    self._protocol.buffer_updated(size)
            else:
                data = self._native.receive(_CHUNK)
                size = None if data is None else len(data)
                if data:
                    self._protocol.data_received(data)
        except OSError as error:
            self._fail(error)
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report(error, "a protocol failed while it was given data")
            self._fail(error)
            return
        if size == 0:
            self._read_end = True
            if not self._protocol.eof_received():
                self.close()
        elif size is not None and self._reading:
            self._read_soon()  # whether there is more is asked in the loop's next turn

    # ---- Sending ----

    def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"set_write_buffer_limits: high ({high}) >= low ({low}) >= 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._waiting_size

    def write(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        if self._finish:
            raise RuntimeError("write: the connection's sending side was finished by write_eof()")
        if self._closing or not view:
            return
        if not self._waiting:
            view = view[self._send(view) :]
            if not view:
                return
        self._waiting.append(memoryview(bytes(view)))  # the caller may change its buffer
        self._waiting_size += len(view)
        if self._waiting_size > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _send(self, view: memoryview) -> int:
        """How much the stack took."""
        done = 0
        try:
            while done < len(view):
                sent = self._native.send(view[done:])
                if sent is None:
                    break
                done += sent
        except OSError as error:
            self._fail(error)
            return len(view)
        return done

    def _write_waiting(self) -> None:
        while self._waiting and not self._lost:
            view = self._waiting[0]
            sent = self._send(view)
            if self._lost:
                return
            self._waiting_size -= sent
            if sent < len(view):
                self._waiting[0] = view[sent:]
                break
            self._waiting.popleft()
        if self._writing_paused and self._waiting_size <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if not self._waiting:
            if self._closing:
                self._lose(None)
            elif self._finish:
                self._finish_now()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._finish or self._closing:
            return
        self._finish = True
        if not self._waiting:
            self._finish_now()

    def _finish_now(self) -> None:
        try:
            self._native.finish()
        except OSError as error:
            self._fail(error)

    # ---- Life ----

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._reading = False
        if not self._waiting:
            self._lose(None)

    def abort(self) -> None:
        self._native.abort()
        self._lose(None)

    def _force_close(self, error: Optional[Exception]) -> None:
        """What asyncio's TLS calls when it fails. Its last alert still goes."""
        self._lose(error)

    def _fail(self, error: BaseException) -> None:
        self._native.abort()
        self._lose(error if isinstance(error, Exception) else None)

    def _lose(self, error: Optional[Exception]) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._reading = False
        self._waiting.clear()
        self._waiting_size = 0
        if self._token:
            self._hub.unwatch(self._native, self._token)
        self._native.close()
        self._loop.call_soon(self._protocol.connection_lost, error)

    def _report(self, error: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
        )

    def __del__(self) -> None:
        if not getattr(self, "_lost", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._native.abort()

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<wintun.StackTransport to {self.get_extra_info('peername')[:2]} {state}>"


async def _connected(device: Any, host: object, port: object, local: Optional[tuple[Any, int]]) -> Any:
    loop = asyncio.get_running_loop()
    to = native_address("open_connection", host, port)
    source = None if local is None else address_pair("open_connection", "local_addr", local)
    native = _native.StackConnection.connect(device, to, source)
    done: asyncio.Future[None] = loop.create_future()

    def ready(readable: bool, writable: bool) -> None:
        if writable and not done.done():
            done.set_result(None)

    hub = _Hub.of(loop)
    token = hub.watch(native, ready)
    try:
        await done
        native.check()
    except BaseException:
        native.abort()
        raise
    finally:
        hub.unwatch(native, token)
    return native


def _check_limit(doing: str, limit: object) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{doing}: limit is a number of bytes, not {type(limit).__name__}")
    if limit <= 0:
        raise ValueError(f"{doing}: a limit of bytes from 1 up, not {limit}")


def _check_context(doing: str, context: object) -> None:
    if not isinstance(context, ssl_module.SSLContext):
        raise TypeError(f"{doing}: ssl is an ssl.SSLContext, not {type(context).__name__}")


async def _secured(
    native: Any,
    protocol: asyncio.StreamReaderProtocol,
    context: ssl_module.SSLContext,
    timeout: Optional[float],
    name: Optional[str] = None,
) -> Any:
    """TLS on a connection; the server's side without a name. The transport is the protocol's when this returns."""
    loop = asyncio.get_running_loop()
    plain = StackTransport(loop, native, asyncio.Protocol())
    try:
        transport: Any = await loop.start_tls(
            plain, protocol, context, server_side=name is None, server_hostname=name, ssl_handshake_timeout=timeout
        )
    except BaseException:
        plain.abort()
        # Nobody will have a writer to ask it by, and asyncio reports what nobody asked for.
        protocol._get_close_waiter(None).add_done_callback(lambda over: over.cancelled() or over.exception())  # type: ignore[attr-defined]
        raise
    protocol.connection_made(transport)
    return transport


async def open_connection(
    device: Any,
    host: object,
    port: object,
    *,
    limit: int = _LIMIT,
    ssl: Ssl = None,
    server_hostname: Optional[str] = None,
    ssl_handshake_timeout: Optional[float] = None,
    local_addr: Optional[tuple[Any, int]] = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    _check_limit("open_connection", limit)
    context = ssl_module.create_default_context() if ssl is True else (ssl or None)
    if context is not None:
        _check_context("open_connection", context)
    elif server_hostname is not None or ssl_handshake_timeout is not None:
        raise ValueError("open_connection: server_hostname and ssl_handshake_timeout mean something with ssl only")
    native = await _connected(device, host, port, local_addr)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport: Any
    if context is not None:
        name = str(host) if server_hostname is None else server_hostname
        transport = await _secured(native, protocol, context, ssl_handshake_timeout, name)
    else:
        transport = StackTransport(loop, native, protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class StackServer:
    """A TCP server on an embedded device, as `asyncio.start_server()` gives one. It belongs to its loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, native: Any, accept: Callable[[Any], None]) -> None:
        self._loop = loop
        self._native = native
        self._accept = accept
        self._hub = _Hub.of(loop)
        self._serving = True
        self._closed: asyncio.Future[None] = loop.create_future()
        self._token = self._hub.watch(native, self._ready)

    @property
    def address(self) -> Any:
        """(host, port) where it listens, with the port that was chosen."""
        return python_address(self._native.local)[:2]

    def is_serving(self) -> bool:
        """Whether it takes connections: until close(), or until its device is closed."""
        return self._serving

    def _ready(self, readable: bool, writable: bool) -> None:
        while self._serving:
            try:
                native = self._native.accept()
            except OSError:  # the device is closed
                self.close()
                return
            if native is None:
                return
            self._accept(native)

    def close(self) -> None:
        """Listen no more. Connections that were accepted go on."""
        if not self._serving:
            return
        self._serving = False
        self._hub.unwatch(self._native, self._token)
        self._native.close()
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Until it listens no more."""
        await asyncio.shield(self._closed)

    async def serve_forever(self) -> None:
        """Until it listens no more; a task that is cancelled here closes it."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            raise

    async def __aenter__(self) -> StackServer:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
        await self.wait_closed()

    def __repr__(self) -> str:
        return f"<wintun.StackServer at {self.address}{'' if self._serving else ' closed'}>"


async def start_server(
    device: Any,
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
    host: object,
    port: object,
    *,
    limit: int = _LIMIT,
    backlog: int = 128,
    ssl: Optional[ssl_module.SSLContext] = None,
    ssl_handshake_timeout: Optional[float] = None,
) -> StackServer:
    if not callable(callback):
        raise TypeError(f"start_server: a callable of (reader, writer), not {type(callback).__name__}")
    _check_limit("start_server", limit)
    if isinstance(backlog, bool) or not isinstance(backlog, int):
        raise TypeError(f"start_server: backlog is a number of connections, not {type(backlog).__name__}")
    if not 1 <= backlog <= _MOST_BACKLOG:
        raise ValueError(f"start_server: a backlog from 1 to {_MOST_BACKLOG}, not {backlog}")
    if ssl is not None:
        _check_context("start_server", ssl)
    elif ssl_handshake_timeout is not None:
        raise ValueError("start_server: ssl_handshake_timeout means something with ssl only")
    loop = asyncio.get_running_loop()
    handshakes: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks weakly

    async def secure(native: Any, protocol: asyncio.StreamReaderProtocol) -> None:
        try:
            await _secured(native, protocol, ssl, ssl_handshake_timeout)  # type: ignore[arg-type]
        except (OSError, asyncio.TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.info("'%s': no TLS with %s: %s", native.device, text_of(native.remote), error)

    def accept(native: Any) -> None:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, callback, loop=loop)
        if ssl is None:
            StackTransport(loop, native, protocol)
        else:
            task = loop.create_task(secure(native, protocol))
            handshakes.add(task)
            task.add_done_callback(handshakes.discard)

    at = native_address("start_server", host, port)
    return StackServer(loop, _native.StackListener.listen(device, at, backlog), accept)
