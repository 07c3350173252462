"""The examples run as their text says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Program:
    """A running example; killed at the end whatever happens."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-u", EXAMPLES / name, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def expect(self, text):
        """Waits for a line with this text, and returns all lines until there."""
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        pytest.fail(f"ended without {text!r}: {lines} {self.process.communicate()[1]}")

    def interrupt(self):
        """Ctrl-C: asserts a quiet end with 0, and returns what else was printed."""
        self.process.send_signal(signal.SIGINT)
        out, error = self.process.communicate(timeout=60)
        assert error == ""
        assert self.process.returncode == 0
        return out


def ping(address, count=1):
    done = subprocess.run(
        ["ping", "-n", "-c", str(count), "-i", "0.01", "-W", "30", address], capture_output=True, text=True, check=False
    )
    assert f"{count} received" in done.stdout, done.stdout + done.stderr


def test_the_seed_program_prints_what_the_network_stack_sends():
    """Word for word as the interface's description has it: it never ends by itself, and its address is 10.2.0.0/24."""
    with Program("seed.py") as program:
        lines = (line.strip() for line in program.process.stdout)
        own = (line for line in lines if not re.match(r"[012] \d{18} ", line))  # without the logger's
        assert [next(own) for _ in range(5)] == ["1", "MTU=1500", "1500", "10.2.0.0", "1500"]
        pings = subprocess.Popen(
            ["ping", "-n", "-c", "5", "-i", "0.01", "-W", "0.1", "10.2.0.7"], stdout=subprocess.DEVNULL
        )
        for _ in range(5):
            program.expect("Received 84")
        pings.wait(60)


@pytest.mark.no_device
def test_the_seed_program_is_the_one_of_the_interface():
    program = (EXAMPLES / "seed.py").read_text()
    assert program.startswith("import os\nimport wintun\nfrom threading import Thread\n")
    assert "tun = wintun.TunDevice('Demo', 'tunnel', 0x40000)\n" in program
    assert program.endswith("while True:\n    pass\n\ntun.down()\n")


def test_the_ping_responder_answers_every_address():
    with Program("ping_responder.py") as program:
        program.expect("answering pings")
        ping("10.66.0.2")
        ping("10.66.0.254", 5)
        program.expect("answered 10.66.0.2")
        program.expect("answered 10.66.0.254")
        program.interrupt()


@pytest.mark.parametrize("size", [0, 1, 999, 1472])
def test_the_asyncio_echo_sends_back_what_it_gets(size):
    content = os.urandom(size)
    with Program("asyncio_echo.py") as program:
        program.expect("echoing UDP")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            for address in (("10.67.0.9", 1234), ("10.67.0.10", 9)):
                sock.sendto(content, address)
                assert sock.recvfrom(2000) == (content, address)
        program.interrupt()


def test_the_forwarder_connects_two_namespaces():
    with subprocess.Popen(["unshare", "-n", "sleep", "3600"]) as other:
        try:
            here = os.readlink("/proc/thread-self/ns/net")
            while os.readlink(f"/proc/{other.pid}/ns/net") == here:
                os.sched_yield()
            with Program("forwarder.py", f"/proc/{other.pid}/ns/net") as program:
                program.expect("is connected")
                ping("10.68.0.2", 20)
                moved = re.fullmatch(r"there and back: (\d+) and (\d+) packets\n", program.interrupt())
                assert moved
                assert all(int(count) >= 20 for count in moved.groups())
        finally:
            other.kill()
