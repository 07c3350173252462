"""Every test gets a network namespace of its own, made here and gone when nothing refers to it any more.

`unshare` moves only the calling thread, and threads and processes started later are born into the same namespace, so
the main thread moves before each test and never goes back: the way back would need rights over the first namespace
that an ordinary user's own user namespace does not give. An ordinary user gets one of those first, if the machine
allows it. What then still cannot run is skipped with its reason (tools/test counts these, and fails on them in CI).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

import pytest

from namespaces import enter_network_namespace, enter_user_namespace

if TYPE_CHECKING:
    import wintun

_reason = ""


def pytest_configure() -> None:
    global _reason
    try:
        if os.geteuid() != 0:
            enter_user_namespace()  # needs a process of one thread, so before any test has run
        enter_network_namespace()
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        _reason = f"no network namespace with TUN devices here ({error}): run as root, or allow user namespaces"


@pytest.fixture(autouse=True)
def namespace(request: pytest.FixtureRequest) -> None:
    """An empty network namespace with its loopback up. Tests marked `no_device` run without."""
    if request.node.get_closest_marker("no_device"):
        return
    if _reason:
        pytest.skip(_reason)
    enter_network_namespace()


@pytest.fixture
def make_tun() -> Iterator[Callable[..., wintun.TunDevice]]:
    """Makes devices; those that a test leaves open are closed after it."""
    import wintun

    made: list[wintun.TunDevice] = []

    def make(name: str = "testtun", *arguments: Any, **options: Any) -> wintun.TunDevice:
        made.append(wintun.TunDevice(name, *arguments, **options))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def tun(make_tun: Callable[..., wintun.TunDevice]) -> wintun.TunDevice:
    """A device that is up, 10.77.0.1/24 and fd77::1/64."""
    device = make_tun()
    device.addr4 = "10.77.0.1/24"
    device.addr6 = "fd77::1/64"
    device.up()
    return device
