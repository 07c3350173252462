"""The demo's choice of a backend, and what a machine without rights runs of these tests. The kernel's part is tested in
test_cli.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from children import environment
from wintun import _native

_LIMIT = 110  # seconds: a safety net, no test waits for it
_PYTHON = (sys.executable, "-W", "error")
_TAKE = "import namespaces; namespaces.enter_user_namespace()"
_HERE = Path(__file__).resolve().parent

needs_stack = pytest.mark.skipif(not _native.has_stack, reason="this build has no embedded driver")
pytestmark = pytest.mark.no_device


def bare(*arguments: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments as bare.py does."""
    return subprocess.run(
        [sys.executable, str(_HERE / "bare.py"), *options, *_PYTHON, *arguments],
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
        env={**environment(), **settings},
    )


def demo(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return bare("-m", "wintun", "demo", "--quick", *arguments, **options)


@needs_stack
@pytest.mark.parametrize(
    ("options", "reason"),
    [((), "network namespace|/dev/net/tun"), (("--rights",), "/dev/net/tun"), (("--tun",), "network namespace")],
    ids=["bare", "no device node", "no rights"],
)
def test_without_rights_or_device_the_demo_is_the_embedded_one_and_says_why(
    options: tuple[str, ...], reason: str
) -> None:
    done = demo(options=options)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "no device of the kernel" in line)
    # What can be taken away here is what is missed; a machine that has neither may name either.
    if subprocess.run([*_PYTHON, "-c", _TAKE], env=environment(), check=False).returncode == 0:
        assert re.search(reason, line), line
    assert "embedded backend, which needs no rights" in line
    downloads = re.findall(r"([\d,]+) of ([\d,]+) bytes, every byte as it was sent", done.stdout)
    assert downloads == [("1,048,576", "1,048,576")] * 2
    assert "10.2.0.2" not in done.stdout  # the kernel's part
    assert done.stderr == ""


@needs_stack
def test_its_result_tells_programs_what_was_tried_and_what_came() -> None:
    done = demo("--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["ok"], shown["kernel"], shown["embedded"]["ok"]) == (True, None, True)
    assert "network namespace" in shown["kernel_missing"] or "/dev/net/tun" in shown["kernel_missing"]
    for peer in shown["embedded"]["peers"]:
        assert (peer["whole"], peer["downloaded"], peer["pings"]) == (True, 1 << 20, 1)
        assert peer["fastest_us"] > 0
    # 2 MiB do not go through in fewer packets than their size says: they were packets.
    assert shown["embedded"]["statistics"]["sent_packets"] > 2 * (1 << 20) / 1420


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_kernels_part_alone_is_an_error_without_rights(way: str) -> None:
    done = demo("--backend", "kernel") if way == "option" else demo(WINTUN_BACKEND="kernel")
    assert done.returncode == 3
    assert "doctor" in done.stderr
    assert "embedded:" not in done.stdout


@needs_stack
@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_embedded_part_alone_looks_for_no_rights(way: str) -> None:
    done = demo("--backend", "embedded") if way == "option" else demo(WINTUN_BACKEND="embedded")
    assert done.returncode == 0, done.stderr
    assert "no device of the kernel" not in done.stdout
    assert "every byte as it was sent" in done.stdout


@needs_stack
def test_a_byte_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from wintun import _cli, _cli_demo_embedded

    class Liar(_cli_demo_embedded._Server):
        def __init__(self, device: Any, body: bytes) -> None:
            super().__init__(device, body[:-1] + bytes([body[-1] ^ 1]))

    monkeypatch.setattr(_cli_demo_embedded, "_Server", Liar)
    assert _cli.main(["demo", "--backend", "embedded", "--quick"]) == 1
    shown = capsys.readouterr().out
    assert "NOT what was sent" in shown
    assert "NOT all came through" in shown


def test_a_build_without_the_stack_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wintun import _cli, _cli_demo, _cli_demo_kernel

    def refuse(*_: object) -> dict[str, Any]:
        raise FileNotFoundError(2, "there is no driver (/dev/net/tun)")

    monkeypatch.setattr(_cli_demo, "has_stack", False)
    assert _cli.main(["demo", "--backend", "embedded"]) == 1
    assert "tools/fetch-lwip" in capsys.readouterr().err
    monkeypatch.setattr(_cli_demo_kernel, "run", refuse)
    assert _cli.main(["demo"]) == 3
    shown = capsys.readouterr().err
    assert "/dev/net/tun" in shown
    assert "tools/fetch-lwip" in shown


@needs_stack
def test_the_doctor_tells_the_backends_apart() -> None:
    done = bare("-m", "wintun", "doctor", "--json")
    shown = json.loads(done.stdout)
    assert shown["backends"] == {"kernel": False, "embedded": True}
    assert (done.returncode, shown["ok"]) == (1, False)


def test_on_a_bare_machine_tests_of_a_device_are_skipped_with_the_reason() -> None:
    done = bare("-m", "pytest", "-q", "-p", "no:cacheprovider", str(_HERE / "test_statistics.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert re.match(r"\d+ skipped in", summary), done.stdout
    assert re.search(r"SKIPPED .*(network namespace|/dev/net/tun)", done.stdout), done.stdout
