"""Log lines: to logging.getLogger('wintun') always, and to the one callback of set_logger().

The native part hands every line to `_dispatch`, in whichever thread logged it, with no lock held.
"""

from __future__ import annotations

import logging
from typing import Callable, Optional

from . import _native

_Logger = Callable[[int, int, str], object]

# The levels of the ABI: information, warning, error.
_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR)

_logger = logging.getLogger("wintun")
_logger.addHandler(logging.NullHandler())  # a library does not print unless its user asks for it
_callback: Optional[_Logger] = None


def _dispatch(level: int, ticks: int, text: str) -> None:
    callback = _callback
    if callback is not None:
        _native.call_and_report(callback, level, ticks, text)
    if _logger.isEnabledFor(_LEVELS[level]):
        _native.call_and_report(_log, level, ticks, text)


def _log(level: int, ticks: int, text: str) -> None:
    _logger.log(_LEVELS[level], "%s", text, extra={"ticks": ticks})


def set_logger(callback: Optional[Callable[[int, int, str], object]]) -> None:
    """Call `callback(level, ticks, text)` for every log line, instead of the last callback; None: for none.

    `level` is 0 information, 1 warning, 2 error. `ticks` count 100 ns since 1601-01-01 UTC (FILETIME of Windows). It
    is called from whichever thread logs, perhaps from several at once. What it raises goes to `sys.unraisablehook`
    and stops nothing. The same lines go to `logging.getLogger('wintun')` (INFO, WARNING, ERROR; the ticks as the
    record's attribute `ticks`).

    Raises:
        TypeError: the callback cannot be called.
    """
    global _callback
    if callback is not None and not callable(callback):
        raise TypeError(f"set_logger(): a callable or None, not {type(callback).__name__}")
    _callback = callback


def get_driver_version() -> int:
    """The version of the running driver, `major << 16 | minor`.

    Raises:
        FileNotFoundError: there is no driver (Linux: no /dev/net/tun; `modprobe tun`).
    """
    return _native.get_driver_version()


_native.set_log_sink(_dispatch)
