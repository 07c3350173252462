"""With what code `python -m wintun` ends; docs/command-line.md lists them."""

from __future__ import annotations

import errno

EXIT_FAILED = 1
EXIT_NO_DRIVER = 3
EXIT_INTERRUPTED = 130


def exit_code_of(error: BaseException) -> int:
    """The exit code for what went wrong."""
    if isinstance(error, PermissionError):
        return EXIT_NO_DRIVER
    # Also without the module behind it (ENODEV, ENXIO); every text about it names the file.
    missing = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
    if missing and ("/dev/net/tun" in str(error) or "no driver" in str(error)):
        return EXIT_NO_DRIVER
    return EXIT_FAILED
