"""What the package does with the process as a whole: its main thread, a fork, its end."""

from __future__ import annotations

import atexit
import os
import threading

from . import _native

# A reader whose callback never returns does not keep the process longer than this.
_SECONDS_FOR_READERS = 2.0


def _note_main_thread() -> None:
    _native.note_main_thread(threading.main_thread().ident or threading.get_ident())


def _after_fork() -> None:
    _note_main_thread()
    _native.forked()


def _at_exit() -> None:
    # No thread can run Python after this. Devices need nothing: their interfaces end with the process, and closing
    # them here would only make daemon threads print that they were woken.
    _native.stop_all_readers(_SECONDS_FOR_READERS)
    _native.set_log_sink(None)


def prepare() -> None:
    _note_main_thread()
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
