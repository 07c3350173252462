"""The programs in docs/quick-start.md and README.md do what the text beside them says, word for word as they stand."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from children import Child, run
from packets import Sender
from wintun import _native

ROOT = Path(__file__).resolve().parents[2]
PAYLOAD, PACKET = bytes(1000), 1028  # bytes, behind an IPv4 and a UDP header


def program(document: str, heading: str) -> str:
    """The first Python block behind a heading."""
    section = re.split(rf"^#+ {re.escape(heading)}$", (ROOT / document).read_text(), maxsplit=1, flags=re.MULTILINE)[1]
    block = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block
    return block[1]


@contextlib.contextmanager
def somebody_sends() -> Iterator[None]:
    """Datagrams to 10.2.0.2, again and again: a program needs a while until its device is there."""
    done = threading.Event()

    def send() -> None:
        with Sender("10.2.0.2") as sender:
            while not done.wait(0.02):
                with contextlib.suppress(OSError):  # no route yet
                    sender.send(PAYLOAD)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("document", "heading"),
    [("docs/quick-start.md", "A script"), ("docs/quick-start.md", "asyncio"), ("README.md", "wintun for Python")],
)
def test_the_endless_programs_print_each_packet(document, heading):
    with Child(program(document, heading)) as child, somebody_sends():
        child.expect_line(f"Received {PACKET}")


def test_the_cell_of_a_notebook_collects_while_others_run():
    later = f"""
import time
until = time.monotonic() + 60
while {PACKET} not in sizes:
    assert time.monotonic() < until, sizes
    time.sleep(0.01)
assert "<table>" in tun._repr_html_() and "<table>" in tun.statistics._repr_html_()
reader.stop()
tun.close()
"""
    with somebody_sends():
        run(program("docs/quick-start.md", "A notebook") + later)


@pytest.mark.no_device
@pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")
def test_the_program_without_rights_receives_what_the_host_sends():
    size = 20 + 8 + len(b"hello")
    done = run(program("docs/quick-start.md", "Anywhere, without rights"))
    assert done.stdout == f"Received {size} bytes to 10.2.0.2\n"


@pytest.mark.no_device
def test_a_drop_in_takes_the_packages_place():
    check = "import pytun_pmd3\nassert pytun_pmd3.TunTapDevice is wintun.compat.pytun_pmd3.TunTapDevice\n"
    run(program("docs/quick-start.md", "Programs for pytun_pmd3 and pywintunx_pmd3") + check)
