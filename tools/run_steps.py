"""Runs the project's checks step by step, goes on after a failure, and sums up in the last lines.

Called by tools/test, which has installed everything. Each step writes build/logs/STEP.log; when it fails, the end of
its log is printed, so that a CI log alone tells the cause. Each step counts as many tests as its runner reports
(JUnit files of CTest and pytest), or as one. Tests of the kernel's device are skipped, with a reason, where there is
none to be had; the summary says which and why. With CI=true a skipped test is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "logs"
BIN = ROOT / ".venv" / "bin"
JOBS = "2"
STEP_LIMIT = 1800.0  # seconds; a step that hangs must not eat the CI's whole time
HEARTBEAT = 60.0  # seconds between two signs of life of a long step
TAIL_LINES = 60
CULPRIT = re.compile(
    r"FAILED:|\berror\b|^E  |: Failure$|\*\*\*Failed|\*\*\*Timeout|SUMMARY: |runtime error|Traceback", re.IGNORECASE
)
COLOUR = re.compile("\x1b\\[[0-9;]*m")
SKIPS_NAMED = 3  # tests skipped for the same reason; more are counted
CULPRIT_LINES = 80  # of those that look like a cause, with what follows them

Command = Sequence[str]


class StepFailed(Exception):
    """A command of the step failed; the log says why."""


class Skip(NamedTuple):
    test: str
    reason: str


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: list[Skip] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.passed or self.failed or self.skipped)


@dataclass
class Step:
    """What a step's function is handed: where to log, and what was counted."""

    name: str
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    def run(self, *command: str, env: dict[str, str] | None = None, check: bool = True) -> int:
        """Runs a command in the project's root, its output into the step's log."""
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            # A session of its own: on a hang, its whole family can be ended, and nobody else.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            try:
                code = self._wait(process)
            except BaseException:
                _end_family(process)
                raise
        if code and check:
            raise StepFailed(f"{command[0]} ended with {code}")
        return code

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        start = time.monotonic()
        while True:
            try:
                return process.wait(HEARTBEAT)
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - start
                say(f"      {self.name}: still at work ({elapsed:.0f} s): {last_line(self.log)}")
                if elapsed > STEP_LIMIT:
                    raise StepFailed(f"no end after {elapsed:.0f} s") from None

    def count_junit(self, path: Path) -> None:
        """Adds the results in a JUnit file; CTest's and pytest's dialects."""
        if not path.exists():
            return
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
                self.outcome.failed += 1
                self.outcome.failures.append(name)
            elif skipped is not None or case.get("status") in ("notrun", "disabled"):
                self.outcome.skipped.append(Skip(name, skip_reason(case)))
            else:
                self.outcome.passed += 1


def skip_reason(case: ElementTree.Element) -> str:
    skipped = case.find("skipped")
    message = skipped.get("message", "") if skipped is not None else ""
    output = case.findtext("system-out") or ""
    # GoogleTest prints "file:line: Skipped" and then the reason on a line of its own.
    lines = output.splitlines()
    for number, line in enumerate(lines[:-1]):
        if line.rstrip().endswith(": Skipped"):
            return lines[number + 1].strip()
    return message or "no reason given"


def _end_family(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue


def _stop(_number: int, _frame: FrameType | None) -> None:
    # As an exception, so that a running step's processes are ended too.
    raise SystemExit(128 + signal.SIGTERM)


def say(text: str) -> None:
    print(text, flush=True)


def last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = COLOUR.sub("", file.read().decode(errors="replace")).split("\n")
    return next((line.strip()[:100] for line in reversed(lines) if line.strip()), "")


def files(*patterns: str, under: Sequence[str] = ("src", "dll", "driver", "python", "tests", "examples")) -> list[str]:
    found = (path for top in under for pattern in patterns for path in (ROOT / top).rglob(pattern))
    return sorted(str(path.relative_to(ROOT)) for path in found if path.is_file())


def privileged() -> list[str]:
    """How a command gets to make network namespaces: root as it is, others through a user namespace. By trying, since
    a container's root is often none. Where neither works, the tests that need one skip themselves with the reason."""
    for namespace in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0:
            return namespace if "--user" in namespace else []
    return []


# The steps. A function's docstring is what --list prints.


def step_format(step: Step) -> None:
    """clang-format over all C and C++"""
    step.run("clang-format-14", "--dry-run", "--Werror", "--ferror-limit=3", *files("*.c", "*.cpp", "*.h", "*.hpp"))


def step_ruff(step: Step) -> None:
    """ruff's linter and formatter over all Python"""
    step.run(str(BIN / "ruff"), "check", ".")
    step.run(str(BIN / "ruff"), "format", "--check", ".")


def step_docs(step: Step) -> None:
    """every link, file and command named in the documents exists"""
    step.run(str(BIN / "python"), "tools/check_docs.py")
    step.run("tools/mutate", "--list")  # each line that is to be broken still stands where the list says


def step_site(step: Step) -> None:
    """the documents as a site: no broken link, no public name without an entry, nothing loaded from elsewhere"""
    step.run("tools/site", "build")


def step_hooks(step: Step) -> None:
    """.pre-commit-config.yaml is valid"""
    step.run(str(BIN / "pre-commit"), "validate-config", ".pre-commit-config.yaml")


def step_freestanding(step: Step) -> None:
    """ring, net and driver core without an operating system"""
    step.run("cmake", "--preset", "freestanding")
    step.run("cmake", "--build", "--preset", "freestanding")


@contextlib.contextmanager
def counted(step: Step) -> Iterator[str]:
    """A file for the results of what runs inside, which are counted whatever happens."""
    junit = LOGS / f"{step.name}.xml"
    junit.unlink(missing_ok=True)
    try:
        yield str(junit)
    finally:
        step.count_junit(junit)


def build(step: Step, preset: str) -> None:
    """Builds a preset that is configured."""
    # -k 0: one log shows every error, not only the first.
    step.run("cmake", "--build", "--preset", preset, "-j", JOBS, "--", "-k", "0")


def run_ctest(step: Step, preset: str, *before: str, env: dict[str, str] | None = None) -> None:
    """Runs CTest of a preset, behind the command `before`, and counts what it reports."""
    with counted(step) as junit:
        command = ("ctest", "--preset", preset, "-j", JOBS, "--output-junit", junit, "--no-tests=error")
        step.run(*before, *command, env=env)


def build_and_test(step: Step, preset: str, *options: str, env: dict[str, str] | None = None) -> None:
    """Configures, builds and runs CTest of one preset."""
    # CMake keeps the answer of the first time, and the embedded stack's source may have come since.
    source = Path(os.environ.get("LWIP_SOURCE") or next(ROOT.glob(".cache/lwip/lwip-*/"), ROOT))
    embedded = "ON" if (source / "src/core/tcp.c").exists() else "OFF"
    step.run("cmake", "--preset", preset, f"-DWINTUN_EMBEDDED={embedded}", *options)
    build(step, preset)
    run_ctest(step, preset, *privileged(), env=env)


def step_dev(step: Step) -> None:
    """g++: build everything, all C and C++ tests"""
    build_and_test(step, "dev")


def step_asan(step: Step) -> None:
    """the same under AddressSanitizer and UndefinedBehaviorSanitizer"""
    build_and_test(step, "asan", env={"UBSAN_OPTIONS": "print_stacktrace=1"})


def step_tsan(step: Step) -> None:
    """the same under ThreadSanitizer"""
    # Where addresses are more random than ThreadSanitizer of g++ 12 can bear, its programs run without that.
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    too_random = bits.exists() and int(bits.read_text()) > 28
    emulator = f"-DCMAKE_CROSSCOMPILING_EMULATOR={'setarch;-R' if too_random else ''}"
    build_and_test(step, "tsan", emulator, env={"TSAN_OPTIONS": "halt_on_error=1"})


def pybind11_option() -> str:
    answer = subprocess.run(
        [str(BIN / "python"), "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    )
    return f"-Dpybind11_DIR={answer.stdout.strip()}"


def step_clang(step: Step) -> None:
    """clang 14: build everything, the Python module too, all C and C++ tests"""
    python = f"-DPython_EXECUTABLE={BIN / 'python'}"
    build_and_test(step, "clang", "-DWINTUN_PYTHON=ON", pybind11_option(), python)


def step_tidy(step: Step) -> None:
    """clang-tidy over all sources (needs the step clang)"""
    source = ROOT / "build" / "clang" / "compile_commands.json"
    if not source.exists():
        raise StepFailed("build/clang is not configured: run the step clang first")
    # What is compiled into several targets is looked at once.
    ours = tuple(f"{ROOT}/{folder}/" for folder in ("src", "dll", "driver", "python"))
    unique = {entry["file"]: entry for entry in json.loads(source.read_text()) if entry["file"].startswith(ours)}
    database = ROOT / "build" / "tidy"
    database.mkdir(exist_ok=True)
    (database / "compile_commands.json").write_text(json.dumps(list(unique.values())))
    # With its usual bound the analyzer needs minutes for a file of templates, and finds nothing more.
    bound = [f"-extra-arg={argument}" for argument in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=20000")]
    step.run("run-clang-tidy-14", "-p", str(database), "-quiet", "-j", JOBS, *bound)


def step_mingw(step: Step) -> None:
    """the parts without a platform, compiled for Windows"""
    step.run("cmake", "--preset", "mingw")
    build(step, "mingw")


def run_pytest(step: Step, *arguments: str) -> None:
    """Runs pytest and counts what it reports."""
    with counted(step) as junit:
        step.run(str(BIN / "python"), "-m", "pytest", "-q", *arguments, f"--junitxml={junit}")


def step_driver(step: Step) -> None:
    """the driver for Windows: compiled, packed and signed; every file of the package is looked at"""
    step.run("cmake", "--preset", "driver")
    build(step, "driver")
    run_pytest(step, "-c", "tests/python/pytest.ini", "--rootdir", ".", "tests/driver/package")


def step_wine(step: Step) -> None:
    """the driver's file, run under Wine: on the tests' own kernel, and as a service (needs the step driver)"""
    if not (ROOT / "build" / "driver" / "package" / "ringtun.sys").exists():
        raise StepFailed("build/driver/package/ringtun.sys is not there: run the step driver first")
    step.run("cmake", "--preset", "wine")
    try:
        build(step, "wine")
        run_ctest(step, "wine")
    finally:
        step.run("tools/run-wine", "--end")  # the server of all tests lingers for some seconds behind the last


def step_package(step: Step) -> None:
    """the package builds and installs (pip), and its wheel works alone in a new environment"""
    step.run("tools/install-package")
    wheels = ROOT / "build" / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    environment = ROOT / "build" / "wheel-environment"
    pip = (str(BIN / "python"), "-m", "pip", "--disable-pip-version-check")
    # With pip's own build isolation: what a user without this checkout's environment gets.
    step.run(*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), ".")
    step.run("/usr/bin/python3", "-m", "venv", "--clear", str(environment))
    wheel = str(next(iter(wheels.glob("*.whl")), "no wheel was built"))
    step.run(*pip, "--python", str(environment), "install", "--no-deps", "--no-index", wheel)
    step.run(str(environment / "bin" / "python"), "-I", "-m", "wintun", "version", "--json")


def step_types(step: Step) -> None:
    """mypy, strict, and stubtest: the stubs against the built module"""
    step.run("tools/install-package")
    step.run(str(BIN / "python"), "-m", "mypy")
    step.run(str(BIN / "python"), "-m", "mypy.stubtest", "wintun")


def step_pytest(step: Step) -> None:
    """tests of the Python package on real devices, and every example"""
    step.run("tools/install-package")
    run_pytest(step, "tests/python", "-ra")  # its conftest.py enters namespaces itself


def step_demo(step: Step) -> None:
    """tools/demo: real packets from the kernel, a checked download through the embedded stack"""
    step.run("tools/demo")
    lines = step.log.read_text(errors="replace").splitlines()
    # Each part either did what it is for, or is missing here and says why.
    for part, proof, missing in (
        ("kernel", "Received ", "no device of the kernel here"),
        ("embedded", "every byte as it was sent", "this build is without the embedded backend"),
    ):
        reason = next((line for line in lines if line.startswith(missing)), None)
        if any(proof in line for line in lines):
            step.outcome.passed += 1
        elif reason is not None:
            step.outcome.skipped.append(Skip(f"the demo's {part} part", reason))
        else:
            raise StepFailed(f"the demo's {part} part received nothing")


STEPS: dict[str, Callable[[Step], None]] = {
    function.__name__.removeprefix("step_"): function
    for function in (
        step_format,
        step_ruff,
        step_docs,
        step_site,
        step_hooks,
        step_freestanding,
        step_mingw,
        step_driver,
        step_wine,
        step_dev,
        step_package,
        step_types,
        step_pytest,
        step_demo,
        step_clang,
        step_tidy,
        step_asan,
        step_tsan,
    )
}


def show_failure(path: Path) -> None:
    """Prints the lines of a log that look like a cause, and its end: with many jobs the cause is seldom at the end."""
    lines = COLOUR.sub("", path.read_text(errors="replace")).splitlines()
    body = lines[:-TAIL_LINES]
    wanted: list[int] = []
    for number, line in enumerate(body):
        if CULPRIT.search(line):
            wanted += [n for n in range(number, min(number + 4, len(body))) if not wanted or n > wanted[-1]]
        if len(wanted) >= CULPRIT_LINES:
            break
    name = path.relative_to(ROOT)
    if wanted:
        say(f"----- from {name}")
        for number in wanted:
            say(f"    {body[number][:400]}")
    say(f"----- the end of {name}")
    for line in lines[-TAIL_LINES:]:
        say(f"    {line[:400]}")
    say("-----")


def run_step(name: str, number: int, total: int) -> Outcome:
    step = Step(name)
    step.log.write_text("")
    say(f"[{number:2}/{total}] {name}: {STEPS[name].__doc__}")
    start = time.monotonic()
    problem = ""
    try:
        STEPS[name](step)
    except (StepFailed, OSError, subprocess.CalledProcessError, ElementTree.ParseError) as error:
        problem = str(error)
    elapsed = time.monotonic() - start
    outcome = step.outcome
    if problem and not outcome.failed:
        outcome.failed += 1
        outcome.failures.append(f"{name}: {problem}")
    if outcome.empty:
        outcome.passed += 1
    if outcome.failed:
        say(f"[{number:2}/{total}] {name}: FAILED after {elapsed:.0f} s ({problem or 'tests failed'})")
        show_failure(step.log)
    else:
        say(f"[{number:2}/{total}] {name}: ok, {outcome.passed} passed in {elapsed:.0f} s")
    return outcome


def skips_by_reason(skipped: Sequence[Skip]) -> list[str]:
    """A line a reason: on a machine without the kernel's device there are hundreds of skips, and few reasons."""
    reasons: dict[str, list[str]] = {}
    for skip in skipped:
        reasons.setdefault(skip.reason, []).append(skip.test)
    lines = []
    for reason, tests in reasons.items():
        if len(tests) <= SKIPS_NAMED:
            lines.append(f"{', '.join(tests)}: {reason}")
            continue
        # CTest's names are suite.test, pytest's module::test.
        groups = Counter(re.split(r"::|[.]", test)[0] for test in tests)
        lines.append(f"{len(tests)} tests: {reason}")
        lines.append("    of " + ", ".join(f"{group} {count}" for group, count in groups.items()))
    return lines


def sum_up(outcomes: dict[str, Outcome]) -> int:
    say("")
    say(f"{'step':<14}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for name, outcome in outcomes.items():
        say(f"{name:<14}{outcome.passed:>8}{outcome.failed:>8}{len(outcome.skipped):>8}")
    for name, outcome in outcomes.items():
        for failure in outcome.failures:
            say(f"failed in {name}: {failure}")
        for line in skips_by_reason(outcome.skipped):
            say(f"skipped in {name}: {line}")
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(outcome.failed for outcome in outcomes.values())
    skipped = sum(len(outcome.skipped) for outcome in outcomes.values())
    strict = os.environ.get("CI", "").lower() in ("true", "1")
    if skipped and strict:
        say("CI is set: a skipped test is a failure")
    say(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or (skipped and strict) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/test", description="Runs all checks, or some of them.")
    parser.add_argument("--list", action="store_true", help="show the steps and stop")
    parser.add_argument(
        "--only", action="append", choices=list(STEPS), metavar="STEP", help="run this step (may be given again)"
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name, function in STEPS.items():
            say(f"{name:<14}{function.__doc__}")
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    # A shell's background jobs ignore Ctrl-C, and so would all programs here, those too whose tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _stop)
    # Debian's tools come first: another toolchain in PATH must not decide. The cache is shared between checkouts.
    os.environ["PATH"] = f"/usr/bin:/bin:/usr/sbin:/sbin:{os.environ['PATH']}"
    os.environ.setdefault("CCACHE_BASEDIR", str(ROOT))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")
    os.environ["CTEST_OUTPUT_ON_FAILURE"] = "1"
    names = [name for name in STEPS if not arguments.only or name in arguments.only]
    try:
        outcomes = {name: run_step(name, number, len(names)) for number, name in enumerate(names, 1)}
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return sum_up(outcomes)


if __name__ == "__main__":
    sys.exit(main())
