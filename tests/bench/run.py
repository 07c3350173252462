"""What a packet costs: `wintun` next to os.read, os.write and python-pytun, in one run on one machine.

    sudo python tests/bench/run.py            (or tools/bench)
    ... --json, --plot FILE, --rounds N, --only WORD, --smoke

Each round measures every variant of every row once, one after the other, so that what disturbs the machine disturbs
all of them. A figure is the median over the rounds; a ratio is the median of the rounds' own ratios. Absolute figures
mean little on another machine. CPU time is that of the whole process, user and system, by getrusage.
Everything happens in a network namespace made here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "bench")]

import rows  # noqa: E402
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

    def measure(self) -> None:
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


def print_table(about: dict[str, object], table: list[Row]) -> None:
    for key, value in about.items():
        print(f"{key:10} {value}")
    print()
    print(f"{'':22} {'variant':16} {'median':>9} {'min .. max':>19}   {'ratio':>6}  goal")
    for row in table:
        for name, values in row.figures.items():
            spread = f"{min(values):.0f} .. {max(values):.0f}"
            line = f"{row.name if name == 'wintun' else '':22} {name:16} {statistics.median(values):9.0f} {spread:>19}"
            if name == "wintun":
                goal = "" if row.goal is None else f"<= {row.goal:g}  {row.verdict()}"
                line += f"   {row.ratio():6.2f}  {goal}"
            elif name == row.peer:
                line += f"   {'1':>6}"
            print(line.rstrip())
        print(f"{'':22} {row.unit}")


def plot(file: str, table: list[Row]) -> None:
    try:
        from matplotlib import pyplot
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    figure, axes = pyplot.subplots(1, len(table), figsize=(3 * len(table), 4), squeeze=False)
    for axis, row in zip(axes[0], table):
        axis.boxplot(list(row.figures.values()))
        axis.set_xticks(range(1, len(row.figures) + 1), row.figures.keys(), rotation=45, ha="right")
        axis.set_title(row.name)
        axis.set_ylabel(row.unit)
        axis.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="at least 5 for figures that mean something; default 9")
    parser.add_argument("--only", metavar="WORD", default="", help="only rows with this in their name")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--plot", metavar="FILE", help="a picture, by matplotlib")
    parser.add_argument("--smoke", action="store_true", help="a fraction of a second, to see that it runs")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")

    try:
        if os.geteuid() != 0:
            enter_user_namespace()
        enter_network_namespace()
    except OSError as error:
        sys.exit(f"no network namespace ({error}): run as root, or allow user namespaces")

    scale = 0.05 if arguments.smoke else 1.0
    rounds = 1 if arguments.smoke else arguments.rounds
    with rows.Bench(scale) as bench:
        table = [Row(*entry) for entry in bench.rows() if arguments.only in entry[0]]
        if not table:
            parser.error(f"--only {arguments.only}: no such row")
        for row in table:
            row.measure()  # caches and allocators warm up
            row.figures.clear()
        for number in range(rounds):
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
            for row in table:
                row.measure()
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)

    about = machine()
    if arguments.json:
        print(json.dumps({**about, "rounds": rounds, "rows": [row.as_dict() for row in table]}, indent=2))
    else:
        print_table(about, table)
    if arguments.plot:
        plot(arguments.plot, table)


if __name__ == "__main__":
    main()
