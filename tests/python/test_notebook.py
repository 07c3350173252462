"""The notebook of examples/: it runs from a clean state without any right, and keeps what it promises; and what is
committed of it is what a run makes."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from wintun import _native

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "embedded_download.ipynb"
PICTURE = ROOT / "docs" / "images" / "embedded_download.png"

pytestmark = pytest.mark.no_device

# Run behind the notebook's own cells, in its kernel.
NO_RIGHTS = """
import os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
held = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
assert not any(held.values()) or os.geteuid() != 0, held
try:
    wintun.TunDevice("norights", backend="kernel")
except (PermissionError, FileNotFoundError):
    pass
else:
    raise AssertionError("the kernel has rights, so the notebook proves nothing")
"""
PROMISES = """
import json
assert received == content and again == content and restored == content
assert len(view.display_id) > 0 and laptop.closed and server.closed
resent = [one for one in passed if one.to == "laptop" and decode(one.packet).sequence == decode(lost.packet).sequence]
Path("promises.json").write_text(json.dumps({
    "bytes": len(received),
    "passed": len(passed),
    "lost": sum(one.lost for one in passed),
    "resent": len(resent) - 1,
    "frames": len(frames),
    "drops": [laptop.statistics[f"{way}_drops"] for way in ("received", "sent")],
    "sizes": [min(len(one.packet) for one in passed), max(len(one.packet) for one in passed)],
}))
"""


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(cell, kind):
    """What the outputs of a cell say: the text of its prints, or its results of one MIME type."""
    if kind == "print":
        return ["".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]
    return ["".join(output["data"][kind]) for output in cell["outputs"] if kind in output.get("data", {})]


def by_id(notebook):
    return {cell["id"]: cell for cell in code_cells(notebook)}


def kinds(cell):
    """The shape of a cell's outputs: what a run of the same code gives again, whatever its figures are."""
    return [(output["output_type"], output.get("name"), sorted(output.get("data", {}))) for output in cell["outputs"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The notebook executed, and the folder where it ran."""
    if not _native.has_stack:
        pytest.skip("this build has no embedded driver")
    folder = tmp_path_factory.mktemp("notebook")
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "run_notebook.py", "--to", folder / "ran.ipynb", "--folder", folder]
        + ["--then", NO_RIGHTS, "--then", PROMISES],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "ran.ipynb").read_text()), folder


@pytest.mark.timeout(600)
def test_the_notebook_keeps_its_promises_without_any_right(run):
    notebook, folder = run
    promises = json.loads((folder / "promises.json").read_text())
    assert promises["bytes"] == 8_000_000
    assert (promises["lost"], promises["drops"]) == (1, [0, 0])
    assert promises["resent"] >= 1
    assert promises["frames"] == promises["passed"] - 1  # all but the lost one are in the capture, and decoded
    assert promises["sizes"] == [40, 1500]
    said = "".join(text for cell in code_cells(notebook) for text in texts(cell, "print"))
    assert said.count("as they were sent: True") == 2
    sent, captured = re.findall(r"SHA-256 of .*: +([0-9a-f]{32})\n", said)
    assert sent == captured


@pytest.mark.timeout(600)
def test_the_notebooks_live_view_and_figure_are_drawn(run):
    notebook, _ = run
    cells = by_id(notebook)
    (live,) = texts(cells["live"], "text/html")
    megabytes = re.search(r"<b>([\d.]+) MB to the laptop", live)
    assert megabytes and float(megabytes[1]) >= 8.0  # headers and what was sent again beside the file
    assert live.count("<rect") > 10 and live.count("<tr>") == 5
    (figure,) = texts(cells["figure"], "image/png")
    assert len(figure) > 20_000
    assert cells["device"]["outputs"][0]["data"]["text/html"]


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_the_notebooks_capture_is_read_by_tshark(run):
    _, folder = run
    command = ["tshark", "-n", "-r", folder / "download.pcapng", "-q", "-z", "io,stat,0,tcp"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    frames = json.loads((folder / "promises.json").read_text())["frames"]
    assert re.search(rf"<> [\d.]+ *\| *{frames} \|", shown), shown


@pytest.mark.timeout(600)
def test_the_committed_notebook_has_the_outputs_of_a_run(run):
    """Of the same cells, the same kinds of output: the figures differ from run to run."""
    committed = json.loads(NOTEBOOK.read_text())
    assert {name: kinds(cell) for name, cell in by_id(committed).items()} == {
        name: kinds(cell) for name, cell in by_id(run[0]).items()
    }


def test_the_committed_notebook_was_executed_from_the_top_and_is_small():
    assert NOTEBOOK.stat().st_size < 1_000_000
    cells = code_cells(json.loads(NOTEBOOK.read_text()))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert not [text for cell in cells for output in cell["outputs"] if (text := output.get("name")) == "stderr"]


def test_the_picture_in_the_readme_is_the_notebooks_figure():
    (figure,) = texts(by_id(json.loads(NOTEBOOK.read_text()))["figure"], "image/png")
    content = PICTURE.read_bytes()
    assert content == base64.b64decode(figure)
    assert len(content) < 200_000
    width, height = struct.unpack_from("!II", content, 16)
    assert width > 800 and height > 400
    assert "(docs/images/embedded_download.png)" in (ROOT / "README.md").read_text()
