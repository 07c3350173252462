"""Runs a command as a bare container would: `python3 tests/python/bare.py COMMAND ...`.

No /dev/net/tun, no capability, and no user namespace to get one in. The command keeps the user it was started by (root
stays root by name, and owner of its files). Where there is no right to take these away, there is none to take.
The options leave some of it out: `--tun` leaves the device node, `--rights` the capabilities and the namespaces.
"""

from __future__ import annotations

import contextlib
import os
import sys

from namespaces import enter_user_namespace
from powerless import check, drop_capabilities, libc

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x44000


def hide_tun() -> None:
    """An empty folder in place of /dev/net, for this process and its children."""
    if os.path.exists("/dev/net"):
        check(libc.unshare(_CLONE_NEWNS), "unshare")
        check(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount")
        check(libc.mount(b"none", b"/dev/net", b"tmpfs", 0, None), "mount")


def refuse_user_namespaces() -> None:
    """In this user namespace; those outside are not changed. Where /proc is read-only they can be made, and used for
    nothing: to be root in one takes a capability."""
    with contextlib.suppress(OSError), open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")


def main() -> None:
    arguments = sys.argv[1:]
    options = {argument for argument in arguments if argument in ("--tun", "--rights")}
    command = [argument for argument in arguments if argument not in options]
    try:
        enter_user_namespace()
    except OSError:
        pass  # none can be made, and so there are no rights but those that this process came with
    else:
        if "--tun" not in options:
            hide_tun()
        if "--rights" not in options:
            refuse_user_namespaces()
    if "--rights" not in options:
        drop_capabilities()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
