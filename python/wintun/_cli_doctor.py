"""The commands version and doctor: what is here, which backend it can run, and what to do if not.

doctor changes nothing: what it tries, it tries in other processes and in namespaces of their own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import mmap
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

import wintun
from wintun._cli_output import Output
from wintun._native import has_stack

_TUN = Path("/dev/net/tun")
_CAP_NET_ADMIN = 12
_LARGEST_RING = 12 + 0x4000000 + 0x10000  # bytes
_DEVICE_DESCRIPTORS = 16  # more than one device takes
_REMEDY_TUN = (
    "load the module as root (modprobe tun); in a container, start it with --device /dev/net/tun --cap-add NET_ADMIN"
)
_REMEDY_NAMESPACES = (
    "as root: sysctl -w user.max_user_namespaces=10000, and where they exist kernel.unprivileged_userns_clone=1 and "
    "kernel.apparmor_restrict_unprivileged_userns=0"
)
_REMEDY_STACK = (
    "run tools/fetch-lwip, which brings the source it is built from, and build again (tools/install-package)"
)


@dataclass
class Check:
    """One finding. `status` is ok, warn (something will not work, most will) or fail."""

    name: str
    status: str
    found: str
    remedy: str = ""


def package_version() -> str:
    """The installed package's version."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("wintun")
    return "unknown (not installed)"


def _driver_version() -> str:
    number = wintun.get_driver_version()
    return f"{number >> 16}.{number & 0xFFFF}"


def version(output: Output) -> int:
    """Prints versions; a missing driver is told, and is no failure."""
    try:
        driver = _driver_version()
    except OSError as error:
        driver = f"none ({error})"
    facts = {
        "wintun": package_version(),
        "driver": driver,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    output.result(facts)
    for name, value in facts.items():
        output.line(f"{name:<8} {value}")
    return 0


def check_tun() -> Check:
    """Whether the device node of the kernel's TUN can be opened."""
    name = str(_TUN)
    if not _TUN.exists():
        return Check(name, "fail", "does not exist", _REMEDY_TUN)
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        mode = oct(_TUN.stat().st_mode & 0o777)[2:]
        remedy = "run as root, or let an administrator give it mode 0666, as most systems have it"
        return Check(name, "fail", f"may not be opened by this user (its mode is {mode})", remedy)
    except OSError as error:
        return Check(name, "fail", f"cannot be opened: {error.strerror}", _REMEDY_TUN)
    return Check(name, "ok", "can be opened")


def _check_driver() -> Check:
    try:
        return Check("driver", "ok", f"version {_driver_version()}")
    except OSError as error:
        return Check("driver", "fail", str(error), _REMEDY_TUN)


def has_net_admin() -> bool:
    """Whether this process may make interfaces on this machine's own network."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def _check_rights() -> Check:
    if has_net_admin():
        return Check("rights", "ok", "CAP_NET_ADMIN: devices on this machine's own network can be made")
    return Check(
        "rights",
        "warn",
        "no CAP_NET_ADMIN: devices only in a network namespace of your own (the demo makes one)",
        "run as root (sudo), or inside `unshare -Urn`",
    )


def _run_self(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, timeout=60, check=False)


def _check_namespaces() -> Check:
    answer = _run_self("-c", "from wintun._cli_namespace import enter_private_network as e; print(e())")
    if answer.returncode == 0:
        return Check("namespaces", "ok", f"a {answer.stdout.strip()} can be made")
    last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
    return Check("namespaces", "warn", f"none can be made: {last}", _REMEDY_NAMESPACES)


def _check_ipv6() -> Check:
    setting = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if not setting.exists():
        return Check("IPv6", "warn", "the kernel has none", "needed only for IPv6 addresses (iPhone tunnels use them)")
    if setting.read_text().strip() != "0":
        return Check("IPv6", "warn", "is switched off", "as root: sysctl -w net.ipv6.conf.all.disable_ipv6=0")
    return Check("IPv6", "ok", "is on")


def _check_memory() -> Check:
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(contextlib.closing(mmap.mmap(-1, _LARGEST_RING)))
    except (OSError, ValueError) as error:
        return Check(
            "memory", "warn", f"no room for two rings of 64 MiB: {error}", "ring_capacity=0x20000 needs 400 KB"
        )
    return Check("memory", "ok", "two rings of the largest size can be had")


def _check_descriptors() -> Check:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    free = soft - used
    if free < _DEVICE_DESCRIPTORS:
        return Check("descriptors", "warn", f"{used} of {soft} are in use", "raise the limit: ulimit -n 4096")
    return Check("descriptors", "ok", f"{used} of {soft} are in use")


def _try_backend(backend: str) -> tuple[dict[str, Any], str]:
    """What the demo of this backend found; empty, and why, if not all came through."""
    answer = _run_self("-m", "wintun", "demo", "--backend", backend, "--quick", "--json")
    try:
        result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        result = {}
    if answer.returncode == 0 and result.get("ok"):
        return result[backend], ""
    reason = result.get("error", {}).get("message") or (answer.stderr.strip().splitlines() or ["some were lost"])[-1]
    return {}, reason


def _check_packets() -> Check:
    result, reason = _try_backend("kernel")
    if not reason:
        return Check("packets", "ok", f"{result['packets']} came from the kernel, in a namespace of their own")
    return Check("packets", "fail", f"no device could be tried: {reason}", "mend what failed above, then try again")


def _check_embedded() -> Check:
    if not has_stack:
        return Check("embedded", "warn", "this build has no embedded backend, which needs no rights", _REMEDY_STACK)
    result, reason = _try_backend("embedded")
    if not reason:
        return Check("embedded", "ok", f"{sum(p['downloaded'] for p in result['peers']):,} bytes came by its own stack")
    return Check("embedded", "fail", f"could not be tried: {reason}", "this should work anywhere: please report it")


def _checks(output: Output) -> Iterator[Check]:
    yield Check("package", "ok", f"wintun {package_version()}, {wintun.__file__}")
    yield Check("system", "ok", f"{platform.system()} {platform.release()}, Python {platform.python_version()}")
    checks: tuple[Callable[[], Check], ...] = (
        check_tun,
        _check_driver,
        _check_rights,
        _check_namespaces,
        _check_ipv6,
        _check_memory,
        _check_descriptors,
        _check_packets,
        _check_embedded,
    )
    for check in checks:
        output.progress(f"looking at {check.__name__.removeprefix('_check_')}")
        try:
            yield check()
        except OSError as error:
            # Where even looking is forbidden, say that and go on.
            yield Check(
                check.__name__.lstrip("_").removeprefix("check_"),
                "warn",
                f"could not be looked at: {error}",
                "run it as root",
            )
    output.progress_done()


def doctor(output: Output) -> int:
    """Prints what was found, with a remedy for all that is not well.

    Returns:
        0 if nothing failed (warnings may stand), else 1.
    """
    found = []
    for check in _checks(output):
        found.append(check)
        output.progress_done()
        output.line(f"{check.status:<5}{check.name}: {check.found}")
        if check.remedy:
            output.line(f"     -> {check.remedy}")
    failed = [check.name for check in found if check.status == "fail"]
    # What was tried and came through, whatever stands above.
    well = {check.name for check in found if check.status == "ok"}
    backends = {"kernel": "packets" in well, "embedded": "embedded" in well}
    output.result({"ok": not failed, "backends": backends, "checks": [asdict(check) for check in found]})
    if failed:
        output.line(f"not well: {', '.join(failed)}")
    for backend, works in backends.items():
        output.line(f"backend {backend!r}: {'works here' if works else 'does not work here'}")
    return 1 if failed else 0
