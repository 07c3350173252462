"""The benchmark runs. Its figures are for people, not for tests."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wintun import _native

RUN = Path(__file__).resolve().parents[1] / "bench" / "run.py"
sys.path.append(str(RUN.parent))
# A row of each kind: the others differ in their figures' settings alone.
KINDS = {
    "relay 1500": {"kernel", "loopback"},
    "relay round trip 3 ms": {"kernel"},
    "tcp down 16000": {"wintun", "wintun, streams", "wintun in their tunnel", "pymobiledevice3", "kernel"},
    "tcp up 1500 3 ms loss": {"wintun", "pymobiledevice3", "kernel"},
    "tcp down 16000 x10": {"wintun", "pymobiledevice3", "kernel"},
    "memory x10": {"wintun", "pymobiledevice3", "kernel"},
}
THEIRS = {"wintun in their tunnel", "pymobiledevice3"}


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, RUN, *arguments], capture_output=True, text=True, timeout=100, env=environment
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def packet_rows():
    return [name for name in run("--list").splitlines() if not name.startswith(("relay", "tcp", "memory"))]


def test_the_smoke_run_measures_every_row_of_packets():
    names = packet_rows()
    assert {"read 64 B", "read 1400 B", "read nothing", "write 64 B", "write 1400 B"} <= set(names)
    result = json.loads(run("--smoke", "--json", *names))
    assert {"machine", "kernel", "commit", "python", "wintun"} <= set(result)
    assert [row["row"] for row in result["rows"]] == names
    for row in result["rows"]:
        assert "wintun" in row["figures"]
        assert row["peer"] in row["figures"]
        assert row["ratio"] > 0


def test_the_list_has_every_delay_and_number_of_connections():
    if not _native.has_stack:
        pytest.skip("this build has no embedded driver")
    names = set(run("--list").splitlines())
    assert set(KINDS) <= names
    for direction in ("down", "up"):
        for mtu in (1500, 16000):
            for link in ("", " 3 ms", " 30 ms", " 3 ms loss"):
                assert f"tcp {direction} {mtu}{link}" in names
        for count in (10, 100, 1000):
            assert {f"tcp {direction} 16000 x{count}", f"memory x{count}"} <= names


@pytest.mark.parametrize("name", KINDS)
def test_a_row_of_tcp_runs_and_yields_figures(name):
    if not name.startswith("relay") and not _native.has_stack:
        pytest.skip("this build has no embedded driver")
    (row,) = json.loads(run("--smoke", "--json", name))["rows"]
    expected = KINDS[name] - (set() if importlib.util.find_spec("pymobiledevice3") else THEIRS)
    assert (row["row"], set(row["figures"]), row["failures"]) == (name, expected, {})
    for stack, figure in row["figures"].items():
        assert math.isfinite(figure["median"])
        # In so short a time a stack in Python may have brought nothing yet.
        assert figure["median"] > 0 or stack == "pymobiledevice3" or name.startswith("memory")
    for goal in row["goals"]:
        assert goal["verdict"] in ("met", "stretch", "MISSED", "not measured")


def test_an_unknown_row_is_refused_before_anything_is_measured():
    done = subprocess.run([sys.executable, RUN, "tcp sideways"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "tcp sideways: no such row" in done.stderr


def test_the_table_names_goals_and_spread():
    table = run("--smoke", "--only", "read 64")
    assert "read 64 B" in table
    assert ".." in table
    assert "<= 1" in table


def spread(value):
    return {"median": value, "min": value / 2, "max": value * 2}


def test_pictures_are_drawn_of_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    import pictures

    pictures.need()
    config = {"direction": "D", "mtu": 16000, "rtt": 0.003, "loss": 0.0, "connections": 1}
    row = {"row": "tcp down 16000 3 ms", "unit": "Gbit/s", "config": config, "figures": {"wintun": spread(5)}}
    row["others"] = {"cpu_s_per_gb": {"wintun": spread(1)}}
    many = {
        **row,
        "config": {**config, "rtt": 0, "connections": 10},
        "figures": {"wintun": spread(3), "kernel": spread(4)},
    }
    failed = {**row, "config": {**config, "rtt": 0.03}, "figures": {}, "others": {}}
    packets = {"row": "read 64 B", "unit": "CPU ns", "figures": {"wintun": spread(1500), "os.read": spread(1600)}}
    files = list(pictures.draw(tmp_path / "new", [row, many, failed, packets]))
    assert [file.name for file in files] == ["tcp-delay.png", "tcp-connections.png", "packets.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert [file.name for file in pictures.draw(tmp_path, [packets])] == ["packets.png"]


def test_the_peer_leaves_nothing_in_the_kernel_when_it_is_ended():
    import tcp_peer

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as found:
        port = found.getsockname()[1]
    counter = os.memfd_create("counter")
    os.ftruncate(counter, 4096)
    command = [sys.executable, tcp_peer.__file__, "::1", str(port), str(counter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[counter]) as server:
        os.close(counter)
        assert server.stdout.readline() == b"listening\n"
        with socket.create_connection(("::1", port), timeout=30) as connection:
            connection.sendall(b"D")
            connection.recv(1)
            server.kill()
            server.wait()
            # What was not sent is not sent any more: a reset, and nothing that the kernel would have to repeat.
            with pytest.raises(ConnectionResetError):
                while connection.recv(1 << 20):
                    pass
