"""The TUN interfaces of this machine as the kernel tells them (rtnetlink, read only): for the commands list and stats.

Works without rights and for devices of other processes. Sees the caller's network namespace.
Constants are those of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLM_F_REQUEST_DUMP = 0x301
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_STATS64, _IFLA_CARRIER = 3, 4, 18, 23, 33
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_TUN_TYPE, _IFLA_TUN_PERSIST = 3, 6
_IFF_TUN = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP = 1


@dataclass
class Link:
    """One TUN interface. Counters are the kernel's, since the interface was made."""

    name: str
    index: int
    up: bool
    running: bool
    mtu: int
    persistent: bool
    to_user_packets: int
    to_user_bytes: int
    to_user_drops: int
    to_network_packets: int
    to_network_bytes: int
    to_network_drops: int
    addresses: list[str] = field(default_factory=list)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _dump(request: int, answer: int) -> Iterator[bytes]:
    """The bodies of all messages of one dump."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
        netlink.send(struct.pack("=IHHII", 16 + len(body), request, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        while True:
            data = netlink.recv(1 << 20)
            offset = 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, offset + 16)[0]
                    raise OSError(code, f"listing the interfaces: {os.strerror(code)}")
                if kind == answer:
                    yield data[offset + 16 : offset + length]
                offset += (length + 3) & ~3


def _link(message: bytes) -> Link | None:
    _family, _type, index, flags, _change = struct.unpack_from("=BxHiII", message)
    attributes = _attributes(message[16:])
    info = _attributes(attributes.get(_IFLA_LINKINFO, b""))
    if info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0") != b"tun":
        return None
    details = _attributes(info.get(_IFLA_INFO_DATA, b""))
    # A kernel before 4.17 gives no details: then TAP devices are listed too.
    if details and details.get(_IFLA_TUN_TYPE, b"\1")[0] != _IFF_TUN:
        return None
    # The kernel transmits to the program and receives from it.
    counters = struct.unpack_from("=8Q", attributes.get(_IFLA_STATS64, bytes(64)))
    received, transmitted, received_bytes, transmitted_bytes, _, _, received_drops, transmitted_drops = counters
    return Link(
        name=attributes[_IFLA_IFNAME].rstrip(b"\0").decode(errors="replace"),
        index=index,
        up=bool(flags & _IFF_UP),
        running=attributes.get(_IFLA_CARRIER, b"\0")[:1] == b"\1",
        mtu=struct.unpack("=I", attributes[_IFLA_MTU])[0],
        persistent=details.get(_IFLA_TUN_PERSIST, b"\0")[:1] == b"\1",
        to_user_packets=transmitted,
        to_user_bytes=transmitted_bytes,
        to_user_drops=transmitted_drops,
        to_network_packets=received,
        to_network_bytes=received_bytes,
        to_network_drops=received_drops,
    )


def tun_links() -> list[Link]:
    """All TUN interfaces of this network namespace, by index.

    Raises:
        OSError: The kernel refused to tell.
    """
    links = {link.index: link for link in map(_link, _dump(_RTM_GETLINK, _RTM_NEWLINK)) if link}
    for message in _dump(_RTM_GETADDR, _RTM_NEWADDR):
        _family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", message)
        attributes = _attributes(message[8:])
        # On a point-to-point link "address" is the peer's, and "local" ours.
        address = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if index in links and address:
            links[index].addresses.append(f"{ipaddress.ip_address(address)}/{prefix}")
    return [links[index] for index in sorted(links)]


def holders() -> dict[str, str]:
    """Which process holds which TUN interface of this namespace: name to "pid program". Only those we may look at."""
    found: dict[str, str] = {}
    ours = os.readlink("/proc/self/ns/net")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "ns/net") != ours:
                continue
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) != "/dev/net/tun":
                    continue
                for line in (process / "fdinfo" / descriptor.name).read_text().splitlines():
                    if line.startswith("iff:"):
                        program = (process / "comm").read_text().strip()
                        found[line[4:].strip()] = f"{process.name} {program}"
    return found
