"""The benchmark runs. Its figures are for people, not for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[1] / "bench" / "run.py"


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, RUN, *arguments], capture_output=True, text=True, check=True, timeout=100, env=environment
    ).stdout


def test_the_smoke_run_measures_every_row():
    result = json.loads(run("--smoke", "--json"))
    assert {"machine", "kernel", "commit", "python", "wintun"} <= set(result)
    names = [row["row"] for row in result["rows"]]
    assert {"read 64 B", "read 1400 B", "read nothing", "write 64 B", "write 1400 B"} <= set(names)
    for row in result["rows"]:
        assert "wintun" in row["figures"]
        assert row["peer"] in row["figures"]
        assert row["ratio"] > 0


def test_the_table_names_goals_and_spread():
    table = run("--smoke", "--only", "read 64")
    assert "read 64 B" in table
    assert ".." in table
    assert "<= 1" in table
