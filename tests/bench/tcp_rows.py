"""The TCP rows: which there are, what they are compared with, and the goals. Each measurement is a process (tcp_host.py).

A row's first figure is throughput (memory for the memory rows), with the CPU that a gigabyte takes beside it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from wintun import _native

HOST_PROGRAM = Path(__file__).with_name("tcp_host.py")
STACKS = {  # what the table calls them, and tcp_host.py
    "wintun": "",  # sockets for one connection, streams for more
    "wintun, streams": "streams",
    "wintun in their tunnel": "tunnel",
    "pymobiledevice3": "pytcp",
    "kernel": "kernel",
    "loopback": "loopback",
}
WINDOW = 4 << 20
AHEAD = 2 << 20  # bytes
DIRECTIONS = {"down": "D", "up": "U"}
MTUS = (1500, 16000)
DELAYS = (0, 3, 30)  # ms, there and back
LOSS = 0.001
CONNECTIONS = (10, 100, 1000)
TIME_LIMIT = 150  # seconds of one measurement, which takes a few
# A figure of one kind and the unit to print it in.
UNITS = {"gbit_s": "Gbit/s", "rss": "bytes a connection, resident", "rtt": "us, a connection's making, p50"}


@dataclass(frozen=True)
class Goal:
    """What a figure of a row should be. `value` gives it from the row, None where it was not measured."""

    text: str
    value: Callable[[TcpRow], Optional[float]]
    bound: float
    stretch: Optional[float] = None
    at_least: bool = True

    def verdict(self, row: TcpRow) -> str:
        value = self.value(row)
        if value is None:
            return "not measured"
        sign = 1 if self.at_least else -1
        if self.stretch is not None and sign * value >= sign * self.stretch:
            return "stretch"
        return "met" if sign * value >= sign * self.bound else "MISSED"

    def __str__(self) -> str:
        return f"{self.text} {'>=' if self.at_least else '<='} {self.bound:g}"


@dataclass
class TcpRow:
    """One thing to measure: stacks, ours first, and what ours is compared with."""

    name: str
    config: dict[str, Any]
    stacks: tuple[str, ...]
    peer: str
    goals: tuple[Goal, ...] = ()
    figure: str = "gbit_s"
    scale: float = 1.0
    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rounds: int = 0

    @property
    def unit(self) -> str:
        return UNITS[self.figure]

    def warm_up(self) -> None:
        """Each measurement warms up by itself."""

    def measure(self, tell: Callable[[str], None]) -> None:
        self.rounds += 1
        for name in self.stacks:
            tell(f"{self.name}: {name}")
            config = {**self.config, "stack": self._stack(name), "seed": self.rounds}
            if config["stack"] == "pytcp":
                # It takes what it is given without end, and nearly stops when that has become much.
                config["ahead"] = AHEAD
            try:
                self.figures.setdefault(name, []).append(_measured(config))
            except RuntimeError as error:
                self.failures[name] = str(error)

    def _stack(self, name: str) -> str:
        return STACKS[name] or ("sockets" if self.config["connections"] == 1 and self.figure != "rss" else "streams")

    def values(self, name: str, figure: Optional[str] = None) -> list[float]:
        return [one[figure or self.figure] for one in self.figures.get(name, []) if (figure or self.figure) in one]

    def median(self, name: str, figure: Optional[str] = None) -> Optional[float]:
        values = self.values(name, figure)
        return statistics.median(values) if values else None

    def times(self, ours: str, peer: str) -> Optional[float]:
        """The median of the rounds' own ratios."""
        pairs = [pair for pair in zip(self.values(ours), self.values(peer)) if pair[1]]
        return statistics.median(mine / other for mine, other in pairs) if pairs else None

    def ratio(self) -> Optional[float]:
        return self.times(self.stacks[0], self.peer)

    def as_dict(self) -> dict[str, Any]:
        def spread(values: list[float]) -> dict[str, float]:
            return {"median": statistics.median(values), "min": min(values), "max": max(values)}

        kinds = {kind for ones in self.figures.values() for one in ones for kind in one}
        return {
            "row": self.name,
            "unit": self.unit,
            "config": self.config,
            "figures": {name: spread(self.values(name)) for name in self.figures if self.values(name)},
            "others": {
                kind: {name: spread(self.values(name, kind)) for name in self.figures if self.values(name, kind)}
                for kind in sorted(kinds - {self.figure})
            },
            "failures": self.failures,
            "peer": self.peer,
            "ratio": self.ratio(),
            "goals": [
                {"goal": str(goal), "value": goal.value(self), "verdict": goal.verdict(self)} for goal in self.goals
            ],
        }

    def _beside(self) -> dict[str, tuple[int, str]]:
        """Figures that stand behind the first: digits after the point, and what they are."""
        return {
            "gbit_s": {
                "cpu_s_per_gb": (2, "CPU s per GB"),
                "mib": (1, "MiB of memory added"),
                "relay_busy": (2, "the relay's thread, of a processor"),
            },
            "rss": {"heap": (0, "bytes a connection of the C library's heap")},
            "rtt": {},
        }[self.figure]

    def lines(self) -> Iterator[str]:
        digits, factor = {"gbit_s": (3, 1), "rss": (0, 1), "rtt": (0, 1e6)}[self.figure]
        for name in self.stacks:
            values = [value * factor for value in self.values(name)]
            head = f"{self.name if name == self.stacks[0] else '':34} {name:22}"
            if not values:
                yield f"{head} {self.failures.get(name, 'not measured')}"
                continue
            spread = f"{min(values):.{digits}f} .. {max(values):.{digits}f}"
            times = self.times(name, self.peer)
            line = f"{head} {statistics.median(values):9.{digits}f} {spread:>19} {'' if times is None else f'{times:.2f}':>9}"
            for kind, (places, _) in self._beside().items():
                other = self.median(name, kind)
                line += " " * 12 if other is None else f" {other:11.{places}f}"
            yield line
        beside = "".join(f"; {text}" for _, text in self._beside().values())
        yield f"{'':34} {self.unit}; ratio to {self.peer}{beside}"
        for goal in self.goals:
            value = goal.value(self)
            yield f"{'':34} goal: {goal}: {'' if value is None else f'{value:.3g}'}  {goal.verdict(self)}"


def _measured(config: dict[str, Any]) -> dict[str, float]:
    environment = dict(os.environ)
    if config["direction"] == "E":
        environment["MALLOC_ARENA_MAX"] = "1"  # so that the C library's count is of all of its heap
    # A session of its own: what it has started ends with it, also when it took too long.
    with subprocess.Popen(
        [sys.executable, str(HOST_PROGRAM), json.dumps(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise RuntimeError(f"not within {TIME_LIMIT} s") from None
        except BaseException:
            os.killpg(process.pid, 9)
            raise
    if process.returncode != 0:
        raise RuntimeError(f"failed: {(errors.strip() or 'no reason given').splitlines()[-1]}")
    return {name: value for name, value in json.loads(output).items() if value is not None}


def _figure(name: str, figure: str) -> Callable[[TcpRow], Optional[float]]:
    return lambda row: row.median(name, figure)


def _ratio(name: str, peer: str) -> Callable[[TcpRow], Optional[float]]:
    return lambda row: row.times(name, peer)


def _window(row: TcpRow) -> Optional[float]:
    """The part of a 4 MiB window that was on its way: throughput times the measured round trip."""
    parts = [one["gbit_s"] * 1e9 / 8 * one["rtt"] / WINDOW for one in row.figures.get("wintun", []) if "rtt" in one]
    return statistics.median(parts) if parts else None


def _goals(direction: str, mtu: int, delay: int, loss: float) -> Iterator[Goal]:
    if direction == "down" and not delay and mtu == 16000:
        yield Goal("times pymobiledevice3's path", _ratio("wintun", "pymobiledevice3"), 20, 50)
        yield Goal("CPU s per GB", _figure("wintun", "cpu_s_per_gb"), 1, at_least=False)
    if direction == "down" and not delay and mtu == 1500:
        yield Goal("Gbit/s", _figure("wintun", "gbit_s"), 1, 2)
    if delay == 30 and not loss and mtu == 16000:
        yield Goal("of a 4 MiB window in use", _window, 0.9)
    if loss:
        yield Goal("times the kernel's stack", _ratio("wintun", "kernel"), 0.8)


def rows(scale: float) -> Iterator[TcpRow]:
    """All of them. What is not installed is left out."""
    theirs = ("pymobiledevice3",) if importlib.util.find_spec("pymobiledevice3") else ()
    tunnel = ("wintun in their tunnel",) if theirs else ()

    def config(direction: str, mtu: int, delay: float = 0, loss: float = 0.0, connections: int = 1) -> dict[str, Any]:
        rtt = delay / 1000
        return {
            "direction": direction,
            "connections": connections,
            "mtu": mtu,
            "rtt": rtt,
            "loss": loss,
            # Slow start and the kernel's growing buffers take a number of round trips, losses many to be typical.
            "warm": scale * (0.5 + 50 * rtt + connections / 1000),
            "seconds": scale * (0.5 + 30 * rtt + 4000 * loss),
        }

    for mtu in MTUS:
        yield TcpRow(f"relay {mtu}", config("D", mtu), ("kernel", "loopback"), "loopback")
    for delay in DELAYS:
        yield TcpRow(f"relay round trip {delay} ms", config("D", 1500, delay), ("kernel",), "kernel", figure="rtt")
    if not _native.has_stack:
        return
    for mtu in MTUS:
        for direction, letter in DIRECTIONS.items():
            for delay in DELAYS:
                stacks = ("wintun", *(("wintun, streams", *tunnel) if not delay else ()), *theirs, "kernel")
                peer = "kernel" if delay or not theirs else "pymobiledevice3"
                name = f"tcp {direction} {mtu}" + (f" {delay} ms" if delay else "")
                yield TcpRow(name, config(letter, mtu, delay), stacks, peer, tuple(_goals(direction, mtu, delay, 0)))
            yield TcpRow(
                f"tcp {direction} {mtu} 3 ms loss",
                config(letter, mtu, 3, LOSS),
                ("wintun", *theirs, "kernel"),
                "kernel",
                tuple(_goals(direction, mtu, 3, LOSS)),
            )
    for direction, letter in DIRECTIONS.items():
        for count in CONNECTIONS:
            stacks = ("wintun", *theirs, "kernel")
            yield TcpRow(f"tcp {direction} 16000 x{count}", config(letter, 16000, connections=count), stacks, "kernel")
    for count in CONNECTIONS:
        # asyncio's streams and Python's objects are in each of them; of the kernel's stack nothing is in the process.
        stacks = ("wintun", *theirs, "kernel")
        peer = theirs[0] if theirs else "kernel"
        yield TcpRow(f"memory x{count}", config("E", 16000, connections=count), stacks, peer, figure="rss")
