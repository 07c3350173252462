"""A network namespace of our own, so that nothing on the machine is touched. Linux only.

Root simply takes one; others take it inside a user namespace, where they are root. A process can enter a user
namespace only while it has a single thread, so this comes before any device or thread. Neighbours: _cli_demo.py,
_cli_doctor.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def _unshare(flags: int) -> int:
    """Zero, or why it failed. (os.unshare came with Python 3.12.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def enter_private_network() -> str:
    """Moves this process into a new network namespace; it ends with the process.

    Returns:
        How: "network namespace" or "user and network namespace".

    Raises:
        PermissionError: Neither way is allowed here.
    """
    if _unshare(_CLONE_NEWNET) == 0:
        return "network namespace"
    user, group = os.geteuid(), os.getegid()
    code = _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    if not code:
        try:
            # Before a group may be mapped by an ordinary user, setgroups must be given up.
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
            return "user and network namespace"
        except OSError as error:  # AppArmor lets it be made, and nothing be done in it
            code = error.errno or errno.EPERM
    raise PermissionError(
        errno.EPERM,
        "a network namespace of its own needs root, or user namespaces, and this machine refuses them "
        f"({os.strerror(code)}). Run it as root (sudo), or allow them: "
        "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns",
    )
