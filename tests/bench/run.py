"""What a packet costs next to os.read, os.write and python-pytun; what TCP does next to pymobiledevice3 and the kernel.

    sudo python tests/bench/run.py            (or tools/bench)
    ... [ROW...] --list, --only WORD, --rounds N, --json, --plot [FOLDER], --smoke

Each round measures every variant of every row once, one after the other, so that what disturbs the machine disturbs
all of them. A figure is the median over the rounds; a ratio is the median of the rounds' own ratios. Absolute figures
mean little on another machine. CPU time is that of the whole process, user and system, by getrusage.
Everything happens in network namespaces made here. docs/bench.md says what each row means.

kinds of rows
  read, write, wake-up        what one call costs, next to the plainest way to do it (rows.py)
  relay                       what the bench's own link can carry, and what it adds to a round trip (relay.py)
  tcp down, tcp up            TCP from Python through the embedded device, by MTU, round trip, loss (tcp_rows.py)
  tcp ... xN                  N connections at once
  memory xN                   what one of N idle connections holds
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Union

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "bench")]

import pictures  # noqa: E402
import rows  # noqa: E402
import tcp_rows  # noqa: E402
from namespaces import enter_network_namespace, enter_user_namespace  # noqa: E402


@dataclass
class Row:
    """One thing to measure: variants, ours first, and what ours is compared with."""

    name: str
    unit: str
    variants: dict[str, Callable[[], float]]
    peer: str
    goal: Optional[float] = None  # at most so many times the peer
    stretch: Optional[float] = None
    figures: dict[str, list[float]] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Caches and allocators."""
        self.measure(lambda _: None)
        self.figures.clear()

    def measure(self, tell: Callable[[str], None]) -> None:
        tell(self.name)
        for name, variant in self.variants.items():
            self.figures.setdefault(name, []).append(variant())

    def ratio(self) -> float:
        ours, peer = self.figures["wintun"], self.figures[self.peer]
        return statistics.median(mine / other for mine, other in zip(ours, peer))

    def verdict(self) -> str:
        if self.goal is None:
            return ""
        if self.stretch is not None and self.ratio() <= self.stretch:
            return "stretch"
        return "pass" if self.ratio() <= self.goal else "MISS"

    def lines(self) -> Iterator[str]:
        for name, values in self.figures.items():
            spread = f"{min(values):.0f} .. {max(values):.0f}"
            line = f"{self.name if name == 'wintun' else '':34} {name:22} {statistics.median(values):9.0f} {spread:>19}"
            if name == "wintun":
                goal = "" if self.goal is None else f"  goal: <= {self.goal:g}  {self.verdict()}"
                line += f" {self.ratio():9.2f}{goal}"
            elif name == self.peer:
                line += f" {'1':>9}"
            yield line
        yield f"{'':34} {self.unit}"

    def as_dict(self) -> dict[str, object]:
        return {
            "row": self.name,
            "unit": self.unit,
            "figures": {
                name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
                for name, values in self.figures.items()
            },
            "peer": self.peer,
            "ratio": self.ratio(),
            "goal": self.goal,
            "stretch": self.stretch,
            "verdict": self.verdict(),
        }


def machine() -> dict[str, object]:
    """Where and of what the figures are."""
    import wintun

    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} x {model or 'unknown'}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wintun": wintun.__version__,
        "commit": (commit.strip() or "none") + (" with changes" if dirty else ""),
    }


AnyRow = Union[Row, tcp_rows.TcpRow]


def print_table(about: dict[str, object], table: list[AnyRow]) -> None:
    for key, value in about.items():
        print(f"{key:10} {value}")
    print()
    print(f"{'':34} {'variant':22} {'median':>9} {'min .. max':>19} {'ratio':>9}")
    for row in table:
        for line in row.lines():
            print(line.rstrip())


class Progress:
    """What is being measured, on standard error: a line that changes on a terminal, else a line a round."""

    def __init__(self, rounds: int) -> None:
        self._rounds, self._round, self._begin = rounds, 0, time.monotonic()
        self._lively = sys.stderr.isatty()

    def next_round(self) -> None:
        self._round += 1
        if not self._lively:
            print(f"round {self._round} of {self._rounds}", file=sys.stderr, flush=True)

    def tell(self, what: str) -> None:
        if self._lively:
            passed = time.monotonic() - self._begin
            print(
                f"\r\033[Kround {self._round} of {self._rounds}, {passed:.0f} s: {what}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        if self._lively:
            print("\r\033[K", end="", file=sys.stderr)


def parse() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    text, _, kinds = str(__doc__).partition("\n\nkinds")
    parser = argparse.ArgumentParser(
        description=text.splitlines()[0], epilog="kinds" + kinds, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help="only the rows of these names, as --list prints them")
    parser.add_argument("--list", action="store_true", help="the names of all rows")
    parser.add_argument("--only", metavar="WORD", default="", help="only rows with this in their name")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for figures that mean something; default 5")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--plot",
        metavar="FOLDER",
        nargs="?",
        const=str(ROOT / "build" / "bench"),
        help="pictures, by matplotlib, into build/bench or this folder",
    )
    parser.add_argument("--smoke", action="store_true", help="fractions of a second, to see that it runs")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    return parser, arguments


def chosen(every: list[AnyRow], arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[AnyRow]:
    names = {row.name for row in every}
    for name in arguments.rows:
        if name not in names:
            parser.error(f"{name}: no such row; --list prints their names")
    table = [row for row in every if arguments.only in row.name and (not arguments.rows or row.name in arguments.rows)]
    if not table:
        parser.error(f"--only {arguments.only}: no such row")
    return table


def warn_of_pressure() -> None:
    """The kernel's TCP memory is the machine's: where others fill it, windows shrink to a few packets."""
    header, *lines = Path("/proc/net/protocols").read_text().splitlines()
    column = header.split().index("press")
    if any(line.split()[0] == "TCP" and line.split()[column] == "yes" for line in lines):
        print("the kernel's TCP memory is under pressure (tcp_mem): figures of TCP mean nothing now", file=sys.stderr)


def measure(table: list[AnyRow], rounds: int) -> None:
    progress = Progress(rounds)
    warn_of_pressure()
    for row in table:
        row.warm_up()
    for _ in range(rounds):
        progress.next_round()
        for row in table:
            row.measure(progress.tell)
    progress.end()
    warn_of_pressure()


def main() -> None:
    parser, arguments = parse()
    if arguments.plot is not None:
        pictures.need()  # before minutes of measuring
    try:
        if os.geteuid() != 0:
            enter_user_namespace()
        enter_network_namespace()
    except OSError as error:
        sys.exit(f"no network namespace ({error}): run as root, or allow user namespaces")

    load = os.getloadavg()[0]  # of others: figures of a busy machine mean little
    scale = 0.05 if arguments.smoke else 1.0
    rounds = 1 if arguments.smoke else arguments.rounds
    with rows.Bench(scale) as bench:
        every: list[AnyRow] = [Row(*entry) for entry in bench.rows()]
        every += tcp_rows.rows(max(scale, 0.3))  # shorter, a connection has not begun
        table = chosen(every, arguments, parser)
        if arguments.list:
            print("\n".join(row.name for row in table))
            return
        measure(table, rounds)

    about: dict[str, Any] = {**machine(), "load": f"{load:.1f} before", "rounds": rounds}
    if arguments.json:
        print(json.dumps({**about, "rows": [row.as_dict() for row in table]}, indent=2))
    else:
        print_table(about, table)
    if arguments.plot is not None:
        for file in pictures.draw(Path(arguments.plot), [row.as_dict() for row in table]):
            print(file, file=sys.stderr)
    if any(row.failures for row in table if isinstance(row, tcp_rows.TcpRow)):
        sys.exit("a measurement failed: see the table")


if __name__ == "__main__":
    main()
