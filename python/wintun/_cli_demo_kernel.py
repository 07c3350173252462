"""The demo's kernel part: a device in a network namespace of its own, to which the real kernel sends.

Two threads: one makes traffic (the system's ping; UDP from an ordinary socket), the main one reads the device, answers
pings and shows what came. Nothing on the machine is touched; the namespace ends with the process.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wintun
from wintun._cli_namespace import enter_private_network
from wintun._cli_output import LiveTable, Output
from wintun._cli_ping import echo_reply

_HOST4, _PEER4 = "10.2.0.1/24", "10.2.0.2"
_HOST6, _PEER6 = "fd00:2::1/64", "fd00:2::2"
_PORT = 9  # discard
_QUIET = 0.3  # seconds without a packet after the traffic ended: all that was sent has come
_LIMIT = 60.0  # seconds for the whole demo, whatever happens


@dataclass
class _Plan:
    """How much traffic."""

    pings: int
    datagrams: int  # each is shown
    burst: int  # as fast as it goes, counted only


@dataclass
class _Seen:
    """What the main thread counted."""

    packets: int = 0
    size: int = 0
    pings: int = 0
    datagrams: int = 0
    burst_start: float = 0.0
    burst_end: float = 0.0


@dataclass
class _Traffic:
    """What the traffic's thread did. `phase` is a line for people; the rest is read when `done` is set."""

    plan: _Plan
    sent: int = 0
    ping_codes: dict[str, int | None] = field(default_factory=dict)
    ping_output: list[str] = field(default_factory=list)
    error: OSError | None = None
    quiet: threading.Event = field(default_factory=threading.Event)  # packets are too many to show each
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self._ping(_PEER4)
            if has_ipv6():
                self._ping(_PEER6)
            self._send_datagrams()
        except OSError as error:
            self.error = error
        finally:
            self.done.set()

    def _ping(self, peer: str) -> None:
        program = shutil.which("ping") or shutil.which("ping", path="/usr/bin:/bin:/usr/sbin:/sbin")
        if program is None:
            self.ping_codes[peer] = None
            return
        command = [program, "-n", "-c", str(self.plan.pings), "-i", "0.2", "-W", "2", peer]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        self.ping_codes[peer] = answer.returncode
        self.ping_output += (answer.stdout + answer.stderr).splitlines()

    def _send_datagrams(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.connect((_PEER4, _PORT))
            for number in range(self.plan.datagrams):
                flow.send(bytes(100 * (number % 13)))
                time.sleep(0.01)
            self.quiet.set()
            payload = bytes(1372)
            for _ in range(self.plan.burst):
                flow.send(payload)
            self.sent = self.plan.datagrams + self.plan.burst


def has_ipv6() -> bool:
    """Whether this namespace's kernel lets an interface have an IPv6 address."""
    setting = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    return setting.exists() and setting.read_text().strip() == "0"


def _show(view: LiveTable, seen: _Seen) -> None:
    headers = ("packets", "bytes", "pings answered", "UDP datagrams")
    view.update(headers, [(seen.packets, seen.size, seen.pings, seen.datagrams)])


def _read(device: wintun.TunDevice, traffic: _Traffic, view: LiveTable) -> _Seen:
    """Reads and answers until the traffic has ended and nothing more comes."""
    seen = _Seen()
    last = time.monotonic()
    limit = last + _LIMIT
    while last < limit:
        if not device.wait_read_event(_QUIET):
            now = time.monotonic()
            _show(view, seen)
            if traffic.done.is_set() or now > limit:
                break
            continue
        show = not traffic.quiet.is_set()
        last = time.monotonic()
        for packet in device.read_many():
            seen.packets += 1
            seen.size += len(packet)
            if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP:
                seen.datagrams += 1
                seen.burst_end = last
            reply = echo_reply(packet)
            if reply is not None:
                device.write(reply)
                seen.pings += 1
            if show:
                view.line(f"Received {len(packet)}")
        if not show and not seen.burst_start:
            seen.burst_start = last
        _show(view, seen)
    return seen


def run(output: Output, quick: bool) -> dict[str, Any]:
    """Runs it, in a network namespace that this process enters and stays in.

    Returns:
        The results; `ok`: every ping was answered and every datagram received.

    Raises:
        OSError: There is no device to be had here, and nothing has been shown.
    """
    how = enter_private_network()
    traffic = _Traffic(_Plan(1, 5, 10) if quick else _Plan(5, 20, 20000))
    with ExitStack() as stack:
        device = stack.enter_context(wintun.TunDevice("Demo", "wintun demo", backend="kernel"))
        device.mtu = 1420
        device.addr = _HOST4
        if has_ipv6():
            device.add_address(_HOST6)
        device.up()
        output.line(
            f"kernel: {device.interface} is up in a {how} of its own, addresses {_HOST4}, {_HOST6}, MTU {device.mtu}"
        )
        output.line(f"the kernel pings {_PEER4} and sends UDP to it; we are {_PEER4}")
        view = LiveTable(output)
        stack.callback(view.close)
        thread = threading.Thread(target=traffic.run, name="traffic", daemon=True)
        thread.start()
        seen = _read(device, traffic, view)
        view.close()
        counted = dict(device.statistics)
        thread.join(5)
    return _report(output, traffic, seen, counted)


def _report(output: Output, traffic: _Traffic, seen: _Seen, counted: dict[str, int]) -> dict[str, Any]:
    for line in traffic.ping_output:
        if line.strip():
            output.line(f"  ping: {line}")
    missing = [peer for peer, code in traffic.ping_codes.items() if code is None]
    if missing:
        output.line("the program `ping` is not installed (Debian: iputils-ping): only UDP was tried")
    unanswered = [peer for peer, code in traffic.ping_codes.items() if code not in (0, None)]
    lost = traffic.sent - seen.datagrams
    ok = traffic.error is None and not unanswered and lost == 0 and traffic.sent > 0
    seconds = seen.burst_end - seen.burst_start
    rate = traffic.plan.burst / seconds if seconds > 0 else 0.0
    output.line(f"{seen.packets:,} packets, {seen.size:,} bytes read; {seen.pings} pings answered")
    output.line(f"UDP: {seen.datagrams:,} of {traffic.sent:,} datagrams received, the burst at {rate:,.0f} packets/s")
    if traffic.error is not None:
        output.line(f"the traffic ended early: {traffic.error}")
    if unanswered:
        output.line(f"pings without an answer: {', '.join(unanswered)}")
    output.line("all came through; the device is gone" if ok else "NOT all came through")
    with suppress(KeyError):
        if counted["received_drops"]:
            output.line(f"{counted['received_drops']} packets were dropped on their way to the program")
    return {
        "ok": ok,
        "packets": seen.packets,
        "bytes": seen.size,
        "pings_answered": seen.pings,
        "datagrams_sent": traffic.sent,
        "datagrams_received": seen.datagrams,
        "burst_packets_per_second": round(rate),
        "statistics": counted,
    }
