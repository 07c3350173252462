"""`TunDevice`: what people use. Its packet methods are the native ones of `_native.Device`; addresses, settings and
asyncio are made here of smaller native ones. Any thread may call anything.
"""

from __future__ import annotations

import asyncio
import errno
import uuid
import warnings
from ipaddress import IPv4Address, IPv6Address, ip_interface
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, Union

from . import _arguments, _html, _native, _stack, _stack_asyncio
from ._arguments import IPAddress, IPInterface
from ._asyncio import AsyncReading
from ._statistics import Statistics

_Self = TypeVar("_Self", bound="TunDevice")

_NOT_EMBEDDED = (
    "{}: only the backend 'embedded' has this; here the operating system's own sockets do it (`socket`, `asyncio`)"
)


class TunDevice(AsyncReading):
    """A TUN device: an interface of the operating system, whose packets this program reads and writes.

    The interface exists when this returns, and is gone after `close()`. A persistent TUN interface of this name is
    opened instead, and stays. Packets flow from `up()` to `down()`.

    Args:
        name: What it is called, 1 to 127 characters; the interface gets this name if it can (Linux: 15 bytes).
        tunnel_type: A word for people about what tunnels here, 1 to 127 characters.
        ring_capacity: Bytes of packets that wait on each side; a power of two from 0x20000 to 0x4000000.
        guid: A `uuid.UUID` or its text; None: derived from the name (version 8 of RFC 9562), the same everywhere.
        backend: 'kernel': an interface of the operating system; 'embedded': a TCP/IP stack in this process, which
            needs no rights; None: what the environment's WINTUN_BACKEND says, else 'kernel'.

    Raises:
        PermissionError: no rights to make one.
        FileExistsError: the name is taken.
        FileNotFoundError: no TUN driver.
        OSError: EOPNOTSUPP: a build without the embedded backend; or another of the system's.
        ValueError: an argument out of its range; nothing was made.
    """

    __slots__ = ("_async", "_backend", "_made")

    def __init__(
        self,
        name: str = "wintun",
        tunnel_type: str = "wintun",
        ring_capacity: int = 0x400000,
        *,
        guid: Union[uuid.UUID, str, None] = None,
        backend: Optional[str] = None,
    ) -> None:
        self._made = False
        name = _arguments.text("name", name)
        tunnel_type = _arguments.text("tunnel_type", tunnel_type)
        ring_capacity = _arguments.ring_capacity(ring_capacity)
        guid_bytes = _arguments.guid(guid)
        self._backend = _arguments.backend(backend)
        self._init_async()
        super().__init__(name, tunnel_type, ring_capacity, guid_bytes, self._backend == "embedded")
        self._made = True

    # ---- What it is ----

    @property
    def backend(self) -> str:
        """Whose network stack is at the other end: 'kernel', the operating system's; 'embedded', this process's."""
        return self._backend

    @property
    def interface(self) -> str:
        """The interface's name in the operating system. `OSError(EBADF)` after `close()`."""
        return self.get_interface()

    @property
    def guid(self) -> uuid.UUID:
        """The adapter's GUID: the one that was asked for, or the one derived from the name."""
        return uuid.UUID(bytes=self.get_guid())

    @property
    def statistics(self) -> Statistics:
        """Packets, bytes and drops each way, waits and wakes, at this moment."""
        return Statistics(self.name, self.get_statistics())

    # ---- Settings, before and after up() ----

    @property
    def ring_capacity(self) -> int:
        """Bytes of each ring, a power of two from 0x20000 to 0x4000000, else ValueError. A new value takes effect at the
        next `up()`."""
        return self.get_ring_capacity()

    @ring_capacity.setter
    def ring_capacity(self, value: int) -> None:
        self.set_ring_capacity(_arguments.ring_capacity(value))

    @property
    def mtu(self) -> int:
        """The largest packet that the network stack sends, in bytes: 68 (RFC 791) to 65535, with an IPv6 address from
        1280 (RFC 8200), else ValueError."""
        return self.get_mtu()

    @mtu.setter
    def mtu(self, value: int) -> None:
        _arguments.mtu(value, False)
        self.set_mtu(_arguments.mtu(value, any(address.version == 6 for address in self.addresses)))

    mtu4 = mtu
    """The MTU for IPv4. On Linux an interface has one MTU for both, so it is `mtu`."""

    # ---- Addresses ----

    @property
    def addresses(self) -> list[IPInterface]:
        """All addresses with their prefixes, but the link-local ones that the kernel made itself."""
        return [ip_interface((packed, prefix)) for _family, packed, prefix in self.get_addresses()]

    def add_address(self, address: IPAddress) -> None:
        """One more address. Without a prefix: /24 or /64.

        Raises:
            FileExistsError: it is there already.
            ValueError: no address of a device, or IPv6 on an MTU below 1280.
            OSError: ENOSPC: an embedded device has room for one IPv4 address and 7 of IPv6.
        """
        new = _arguments.address("add_address", address)
        self._check_mtu_for(new)
        self.put_address(new.packed, new.network.prefixlen)

    def remove_address(self, address: IPAddress) -> None:
        """One address less. Without a prefix, whatever its prefix is.

        Raises:
            OSError: EADDRNOTAVAIL when it is not there.
        """
        old = _arguments.address("remove_address", address)
        if isinstance(address, (IPv4Address, IPv6Address)) or (isinstance(address, str) and "/" not in address):
            old = next((there for there in self.addresses if there.ip == old.ip), old)
        self.drop_address(old.packed, old.network.prefixlen)

    @property
    def addr(self) -> Optional[str]:
        """The address without its prefix, IPv4 before IPv6; None when there is none.

        Setting it replaces the addresses of that family. A str or an object of `ipaddress`; the prefix is /24 or /64
        unless it has one.
        """
        return self.addr4 or self.addr6

    @addr.setter
    def addr(self, value: IPAddress) -> None:
        self._replace(_arguments.address("addr", value))

    @property
    def addr4(self) -> Optional[str]:
        """As `addr`, IPv4 only."""
        return self._first(4)

    @addr4.setter
    def addr4(self, value: IPAddress) -> None:
        self._replace(_arguments.address("addr4", value, 4))

    @property
    def addr6(self) -> Optional[str]:
        """As `addr`, IPv6 only."""
        return self._first(6)

    @addr6.setter
    def addr6(self, value: IPAddress) -> None:
        self._replace(_arguments.address("addr6", value, 6))

    def _first(self, family: int) -> Optional[str]:
        return next((str(address.ip) for address in self.addresses if address.version == family), None)

    def _check_mtu_for(self, address: IPInterface) -> None:
        if address.version == 6 and self.mtu < _arguments.MIN_MTU_IPV6:
            raise ValueError(
                f"{address}: IPv6 needs an MTU of {_arguments.MIN_MTU_IPV6} bytes at least, and that of "
                f"{self.name!r} is {self.mtu}; set mtu first"
            )

    def _replace(self, new: IPInterface) -> None:
        self._check_mtu_for(new)
        # The new one first: if the system refuses it, nothing has changed.
        old = [there for there in self.addresses if there.version == new.version]
        if self._backend == "embedded":  # which has one IPv4 address, and refuses nothing that was checked
            for there in old:
                if there != new:
                    self.drop_address(there.packed, there.network.prefixlen)
            old = [there for there in old if there == new]
        if new not in old:
            self.put_address(new.packed, new.network.prefixlen)
        for there in old:
            if there != new:
                try:
                    self.drop_address(there.packed, there.network.prefixlen)
                except OSError as error:
                    # Linux removes the secondary addresses of a network with its primary one.
                    if error.errno != errno.EADDRNOTAVAIL:
                        raise
        if new not in self.addresses:  # ... and the new one may have been such a secondary
            self.put_address(new.packed, new.network.prefixlen)

    # ---- Only the embedded backend: the host's side of the stack ----

    def create_connection(
        self,
        address: tuple[_stack.Host, int],
        timeout: Optional[float] = None,
        source_address: Optional[tuple[_stack.Host, int]] = None,
    ) -> _stack.StackSocket:
        """Connect from the stack to (host, port), as `socket.create_connection()` does.

        Args:
            address: An IP address, as text or an object of `ipaddress`, and a port.
            timeout: Seconds, for connecting and for what the socket does later; None: without end.
            source_address: Where to connect from; None: the device's address of that family and any port.

        Raises:
            ConnectionRefusedError: nobody listens there.
            TimeoutError: no answer in time.
            socket.gaierror: a name instead of an address.
            OSError: ENETUNREACH (no address of that family), ENETDOWN (not up), EOPNOTSUPP (a kernel device).
        """
        self._only_embedded("create_connection")
        return _stack.create_connection(self, address, timeout, source_address)

    async def open_connection(
        self, host: _stack.Host, port: int, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from the stack, as `asyncio.open_connection()` does; errors as `create_connection()`.

        Args:
            host: An IP address.
            port: 1 to 65535.
            options: `limit` (bytes that a reader holds, 256 KiB), `ssl` (an SSLContext, or True), `server_hostname`,
                `ssl_handshake_timeout` (seconds), `local_addr`.
        """
        self._only_embedded("open_connection")
        return await _stack_asyncio.open_connection(self, host, port, **options)

    async def start_server(
        self,
        callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
        host: _stack.Host,
        port: int,
        **options: Any,
    ) -> _stack_asyncio.StackServer:
        """Listen on the stack, as `asyncio.start_server()` does.

        Args:
            callback: Called with a StreamReader and a StreamWriter for each connection.
            host: One of the device's addresses.
            port: 0 for any; the server's `address` says which.
            options: `limit` (bytes that a reader holds, 256 KiB), `backlog` (1 to 255), `ssl` (an SSLContext),
                `ssl_handshake_timeout` (seconds).

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL, EOPNOTSUPP (a kernel device).
        """
        self._only_embedded("start_server")
        return await _stack_asyncio.start_server(self, callback, host, port, **options)

    def datagram(
        self,
        local: Optional[tuple[_stack.Host, int]] = None,
        remote: Optional[tuple[_stack.Host, int]] = None,
    ) -> _stack.StackDatagramSocket:
        """A UDP socket of the stack.

        Args:
            local: (host, port) to be bound to; None: any.
            remote: (host, port), the only peer; None: any.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL, EOPNOTSUPP (a kernel device).
        """
        self._only_embedded("datagram")
        return _stack.open_datagram(self, local, remote)

    def ping(self, host: _stack.Host, timeout: Optional[float] = 1.0, *, size: int = 56) -> float:
        """Seconds that one echo (RFC 792, RFC 4443) of `size` bytes took from the stack to the host and back.

        Raises:
            TimeoutError: no answer within `timeout` seconds.
            OSError: ENETUNREACH, ENETDOWN, EOPNOTSUPP (a kernel device).
        """
        self._only_embedded("ping")
        return _stack.ping(self, host, timeout, size)

    def limit_packets(self, size: int) -> None:
        """The longest packet of TCP that the stack sends from now on, in bytes, whatever the MTU is: some links drop
        larger ones in silence (USB: 8192). 0: no limit. For connections that are made later. Embedded backend only.
        """
        self._only_embedded("limit_packets")
        if size and not _stack.LEAST_LIMIT <= _stack.check_size("limit_packets", size) <= 0xFFFF:
            raise ValueError(f"limit_packets: {_stack.LEAST_LIMIT} to 65535 bytes, or 0 for no limit, not {size}")
        _native.stack_set_packet_limit(self, size)

    def check_checksums(self, on: bool) -> None:
        """Whether the stack looks at the checksums of what it receives (it does). A link that is authenticated
        already need not. Embedded backend only.
        """
        self._only_embedded("check_checksums")
        _native.stack_set_checksums(self, bool(on))

    def _only_embedded(self, what: str) -> None:
        if self._backend != "embedded":
            raise OSError(errno.EOPNOTSUPP, _NOT_EMBEDDED.format(f"{what}() of {self.name!r}"))

    # ---- Life ----

    def __bool__(self) -> bool:
        return True

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_made", False) or self.closed:
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        finally:
            self.close()

    def __reduce__(self) -> str:
        raise TypeError("a TunDevice cannot be copied or pickled: it is one interface of this process")

    def _state(self) -> str:
        return "closed" if self.closed else "up" if self.is_up else "down"

    def __repr__(self) -> str:
        if not getattr(self, "_made", False):
            return "<wintun.TunDevice, not made>"
        try:
            details = [self.interface] if self.interface != self.name else []
            details += [str(address) for address in self.addresses]
            details.append(f"mtu {self.mtu}")
        except OSError:  # closed, or its interface is gone
            details = []
        return f"<wintun.TunDevice {self.name!r} {', '.join([self._state(), *details])}>"

    def _repr_html_(self) -> str:
        rows = {"state": self._state(), "backend": self.backend, "tunnel type": self.tunnel_type}
        try:
            rows["interface"] = f"{self.interface} (index {self.index})"
            if self.backend == "embedded":  # its name and index mean nothing outside this process
                rows["interface"] = "none: a network stack in this process"
            rows["addresses"] = ", ".join(str(address) for address in self.addresses) or "none"
            rows["MTU"] = f"{self.mtu} bytes"
        except OSError:
            pass
        rows["ring"] = f"{self.ring_capacity:,} bytes"
        return _html.beside(_html.table(self.name, rows.items()), self.statistics._repr_html_())
