"""The command demo: what each backend does here, with real traffic whose arrival is checked.

The kernel's part needs rights; where they are missing, the embedded part runs alone and a line says why. It is chosen
here and nowhere else: a TunDevice never falls back. Neighbours: _cli_demo_kernel.py, _cli_demo_embedded.py.
"""

from __future__ import annotations

import os
import re
from typing import Any, Optional

from wintun import _arguments, _cli_demo_embedded, _cli_demo_kernel
from wintun._cli_doctor import check_tun
from wintun._cli_exit import EXIT_NO_DRIVER, exit_code_of
from wintun._cli_output import Output
from wintun._native import has_stack

NO_STACK = "this build is without the embedded backend: run tools/fetch-lwip, which brings the source, and build again"


def _in_short(error: OSError) -> str:
    """What is missing, for one line; what to do about it is said by the doctor."""
    node = check_tun()
    if node.status != "ok":
        return f"{node.name} {node.found}"
    return re.split(r" \(the library says|; |\. ", str(error.strerror))[0]


def demo(output: Output, quick: bool, backend: Optional[str] = None) -> int:
    """Runs the demo.

    Args:
        output: Where to show.
        quick: A ping or two and little data, under a second.
        backend: 'kernel' or 'embedded': this one or an error. None: as WINTUN_BACKEND says; without that the kernel's
            where it can be had, and the embedded one in any case.

    Returns:
        0 if all that was sent came through, else 1.
    """
    if backend is None and os.environ.get("WINTUN_BACKEND"):
        backend = _arguments.backend(None)
    kernel: Optional[dict[str, Any]] = None
    missing = ""
    if backend != "embedded":
        try:
            kernel = _cli_demo_kernel.run(output, quick)
        except OSError as error:
            if backend == "kernel" or exit_code_of(error) != EXIT_NO_DRIVER:
                raise
            if not has_stack:
                raise OSError(
                    error.errno, f"no device of the kernel here ({_in_short(error)}), and {NO_STACK}"
                ) from None
            missing = _in_short(error)
            output.line(
                f"no device of the kernel here ({missing}): this is the embedded backend, which needs no rights"
            )
    embedded: Optional[dict[str, Any]] = None
    if has_stack and backend != "kernel":
        embedded = _cli_demo_embedded.run(output, quick)
    elif backend == "embedded":
        raise OSError(_cli_demo_embedded.NOT_BUILT, f"the embedded backend: {NO_STACK}")
    elif backend is None:
        output.line(NO_STACK)
    ok = all(part["ok"] for part in (kernel, embedded) if part is not None)
    output.result({"ok": ok, "kernel": kernel, "kernel_missing": missing or None, "embedded": embedded})
    return 0 if ok else 1
