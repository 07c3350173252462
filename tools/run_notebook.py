"""Executes the notebook of examples/ from a clean state, in a kernel that has no rights, and writes it with its outputs.

Without arguments it brings the committed one up to date, and with it the picture in docs/images that the README shows:
the notebook's own figure. The test gives another place to write to, and cells of its own to run at the end.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "embedded_download.ipynb"
PICTURE = ROOT / "docs" / "images" / "embedded_download.png"
FIGURE = "figure"  # the id of the cell that draws the picture
_KERNEL = "norights"
_LIMIT = 300  # seconds a cell may take: a safety net


def _without_rights() -> list[str]:
    """What stands before a command so that it has no capability, nor can get one. Who is not root has none."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def _make_kernel(home: Path) -> None:
    """A kernel without rights, in a home of its own: no settings, no caches, no history of whoever runs this."""
    spec = home / "kernels" / _KERNEL
    spec.mkdir(parents=True)
    argv = [*_without_rights(), sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": _KERNEL, "language": "python"}))
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        os.environ[name] = str(home)
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path[1:]))


def execute(notebook: Any, folder: Path) -> None:
    """Runs all cells, in `folder`. nbclient.exceptions.CellExecutionError: one failed."""
    with tempfile.TemporaryDirectory() as home:
        _make_kernel(Path(home))
        # Sockets of files: they need no network, whichever namespace this runs in.
        manager = AsyncKernelManager(kernel_name=_KERNEL, transport="ipc", ip=str(Path(home) / "socket"))
        NotebookClient(
            notebook,
            km=manager,
            timeout=_LIMIT,
            startup_timeout=_LIMIT,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        ).execute(cleanup_kc=True)  # it was started here, so it ends here


def picture(notebook: Any) -> bytes:
    """The notebook's figure, as PNG."""
    cell = next(cell for cell in notebook.cells if cell.id == FIGURE)
    image = next(output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    return base64.b64decode(image)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, help="write here, and leave the committed notebook and picture alone")
    parser.add_argument("--folder", type=Path, help="where the notebook's own files go; else they are thrown away")
    parser.add_argument("--then", action="append", default=[], help="code that runs in one more cell; not written")
    arguments = parser.parse_args()
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    metadata = dict(notebook.metadata)
    cells = list(notebook.cells)
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells = cells + [nbformat.v4.new_code_cell(code) for code in arguments.then]  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, arguments.folder or Path(folder))
    notebook.cells = cells
    notebook.metadata = metadata  # not the version of whoever ran it
    nbformat.write(notebook, arguments.to or NOTEBOOK)  # type: ignore[no-untyped-call]
    if not arguments.to:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(picture(notebook))
    return 0


if __name__ == "__main__":
    sys.exit(main())
