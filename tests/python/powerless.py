"""Takes every right from the calling process: capabilities, groups, its user, and the way back to them."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_VERSION_3 = 0x20080522  # of struct __user_cap_header_struct
_NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raises OSError if a call of the C library, `what`, has failed."""
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def _prctl(*arguments: int) -> int:
    return int(libc.prctl(*(ctypes.c_ulong(one) for one in (*arguments, *[0] * (5 - len(arguments))))))


def _keep_none_for_an_exec() -> None:
    for capability in range(64):
        if _prctl(_PR_CAPBSET_DROP, capability) != 0:
            # The kernel has no more; or this process may not, and then has nothing that an exec could give back.
            if ctypes.get_errno() not in (errno.EINVAL, errno.EPERM):
                raise OSError(ctypes.get_errno(), "cannot drop capabilities")
            break
    check(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL), "prctl")


def _keep_none_here() -> None:
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0))
    check(libc.capset(header, ctypes.create_string_buffer(24)), "capset")


def drop_capabilities() -> None:
    """All of them, for good; the user stays. Only a process with a single thread may: rights are a thread's."""
    _keep_none_for_an_exec()
    _keep_none_here()


def drop_all_rights() -> None:
    """The capabilities, the user and its groups, and the way back to them; as drop_capabilities()."""
    _keep_none_for_an_exec()
    check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl")
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:  # in an ordinary user's own namespace there is no other user to become
        pass
    _keep_none_here()


def rights() -> dict[str, int]:
    """CapEff, CapPrm, CapInh, CapBnd, CapAmb and NoNewPrivs of this process."""
    with open("/proc/self/status") as file:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {name: int(fields[name], 16) for name in fields if name.startswith("Cap") or name == "NoNewPrivs"}
