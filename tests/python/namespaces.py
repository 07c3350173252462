"""Moves the calling thread into fresh namespaces. By ctypes, since Python has os.unshare only from 3.12."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
TUNSETIFF = 0x400454CA
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "unshare")


def enter_user_namespace() -> None:
    """Makes an ordinary user root of a user namespace of its own. Only a process with a single thread may."""
    uid, gid = os.getuid(), os.getgid()
    _unshare(CLONE_NEWUSER)
    for path, text in (
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", f"0 {uid} 1"),
        ("/proc/self/gid_map", f"0 {gid} 1"),
    ):
        with open(path, "w") as file:
            file.write(text)


def enter_network_namespace() -> None:
    """A new network namespace with loopback up, for this thread and all that it starts."""
    _unshare(CLONE_NEWNET)
    set_up("lo")
    # The kernel's own IPv6 chatter (router solicitations, address detection) would stand between the packets that a
    # test sends. A machine with a read-only /proc keeps it; tests look for their own packets in any case.
    for name, value in (("addr_gen_mode", "1"), ("accept_dad", "0"), ("router_solicitations", "0")):
        try:
            with open(f"/proc/sys/net/ipv6/conf/default/{name}", "w") as file:
                file.write(value)
        except OSError:
            pass


def why_no_tun() -> str:
    """Why this process cannot make a TUN device in its network namespace; empty when it can. Nothing is made."""
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/net/tun cannot be opened: {error.strerror}"
    try:
        # Flags that name no kind of device: the kernel looks at the rights first, then calls them invalid.
        fcntl.ioctl(tun, TUNSETIFF, bytes(40))
    except OSError as error:
        return "" if error.errno == errno.EINVAL else f"the kernel makes no TUN device here: {error.strerror}"
    finally:
        os.close(tun)
    return ""


def set_up(interface: str, up: bool = True) -> None:
    """Sets an interface administratively up or down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", interface.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags))
