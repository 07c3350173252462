"""Runs Python code in a child process, so that a hang is a failure with both outputs and never a stuck test run.

Children inherit the caller's network namespace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

SETUP = """
import os, sys, threading, time
import wintun
tun = wintun.TunDevice("child")
tun.addr4 = "10.77.0.1/24"
tun.up()
"""
_LIMIT = 60  # seconds: a safety net, no test waits for it

HERE = Path(__file__).resolve().parent


def give_up_rights() -> None:
    """For the code of a child: another user where this one may become one, and no capability in any case."""
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:  # an ordinary user, or root of a user namespace without others
        assert ctypes.CDLL(None).capset(struct.pack("II", 0x20080522, 0), bytes(24)) == 0


def _command(code: str) -> list[str]:
    return [sys.executable, "-W", "error", "-u", "-c", textwrap.dedent(code)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs to the end, and asserts that it exits with 0."""
    done = subprocess.run(
        _command(code), capture_output=True, text=True, timeout=_LIMIT, env=environment(), check=False, **options
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


class Child:
    """A child that goes on while the test does something: a context manager that never leaves it behind."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            _command(code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def expect_line(self, text: str) -> None:
        """Waits for a line on standard output that is this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == text:
                return
        raise AssertionError(f"the child ended without printing {text!r}: {self.process.communicate()[1]}")

    def wait_until_asleep(self) -> None:
        """Returns when the main thread sleeps in the kernel and stays there."""
        deadline = time.monotonic() + _LIMIT
        before = None
        while time.monotonic() < deadline:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines())
            now = fields["voluntary_ctxt_switches"].strip() if fields["State"].strip().startswith("S") else None
            if now is not None and now == before:
                return
            before = now
            time.sleep(0.02)
        raise AssertionError("the child never came to rest")

    def write_line(self) -> None:
        """Ends a readline() of the child's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        out, error = self.process.communicate(timeout=_LIMIT)
        return self.process.returncode, out, error
