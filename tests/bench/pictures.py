"""What run.py measured, as pictures: one of the packet rows, one of throughput against delay, one against connections.

By matplotlib, which is only needed for them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def need() -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    matplotlib.use("agg")  # files alone, no display


def draw(folder: Path, rows: Rows) -> Iterator[Path]:
    """The files that it made: of what was measured, so perhaps not all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    tcp = [row for row in rows if row["row"].startswith("tcp") and row["figures"]]
    single = [row for row in tcp if row["config"]["connections"] == 1 and not row["config"]["loss"]]
    # One connection is where the others begin.
    many = [row for row in tcp if row["config"]["mtu"] == 16000 and not row["config"]["rtt"]]
    for name, chosen, key, label, factor in (
        ("tcp-delay", single, "rtt", "round trip, ms", 1000),
        ("tcp-connections", many, "connections", "connections", 1),
    ):
        if chosen:
            yield _lines(folder / f"{name}.png", chosen, key, label, factor)
    packets = [row for row in rows if "config" not in row]
    if packets:
        yield _bars(folder / "packets.png", packets)


def _lines(file: Path, rows: Rows, key: str, label: str, factor: float) -> Path:
    """An axis a direction and MTU above, the CPU below; a line a variant, with its spread."""
    from matplotlib import pyplot

    kinds = sorted({(row["config"]["direction"], row["config"]["mtu"]) for row in rows})
    figure, axes = pyplot.subplots(2, len(kinds), figsize=(4.5 * len(kinds), 8), squeeze=False)
    for column, (direction, mtu) in enumerate(kinds):
        of_kind = [row for row in rows if (row["config"]["direction"], row["config"]["mtu"]) == (direction, mtu)]
        of_kind.sort(key=lambda row: row["config"][key])
        for line, unit in ((0, "Gbit/s"), (1, "CPU s per GB")):
            axis = axes[line][column]
            for variant in dict.fromkeys(name for row in of_kind for name in row["figures"]):
                points = []
                for row in of_kind:
                    figures = row["figures"] if line == 0 else row["others"].get("cpu_s_per_gb", {})
                    if variant in figures:
                        points.append((row["config"][key] * factor, figures[variant]))
                middles = [one["median"] for _, one in points]
                spread = [
                    [one["median"] - one["min"] for _, one in points],
                    [one["max"] - one["median"] for _, one in points],
                ]
                axis.errorbar([x for x, _ in points], middles, spread, marker="o", capsize=3, label=variant)
            if key == "connections":
                axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel(label)
            axis.set_ylabel(unit)
            axis.set_title(f"{'down' if direction == 'D' else 'up'}load, MTU {mtu}")
            axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
    return file


def _bars(file: Path, rows: Rows) -> Path:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(rows), figsize=(3 * len(rows), 4), squeeze=False)
    for axis, row in zip(axes[0], rows):
        middles = [one["median"] for one in row["figures"].values()]
        spread = [
            [one["median"] - one["min"] for one in row["figures"].values()],
            [one["max"] - one["median"] for one in row["figures"].values()],
        ]
        axis.bar(range(len(middles)), middles, yerr=spread, capsize=3)
        axis.set_xticks(range(len(middles)), row["figures"].keys(), rotation=45, ha="right")
        axis.set_title(row["row"])
        axis.set_ylabel(row["unit"])
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
    return file
