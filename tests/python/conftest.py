"""Every test of a device gets a network namespace of its own, made here and gone when nothing refers to it any more.

`unshare` moves only the calling thread, and threads and processes started later are born into the same namespace, so
the main thread moves before each test and never goes back: the way back would need rights over the first namespace
that an ordinary user's own user namespace does not give. An ordinary user gets one of those first, if the machine
allows it. What then still cannot run is skipped with its reason (tools/test counts these, and fails on them in CI).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

import pytest

from certificates import Certificate
from namespaces import enter_network_namespace, enter_user_namespace, why_no_tun

if TYPE_CHECKING:
    import wintun

_reason = ""


def pytest_configure() -> None:
    global _reason
    try:
        enter_network_namespace()
    except PermissionError as refused:
        try:
            enter_user_namespace()  # needs a process of one thread, so before any test has run
            enter_network_namespace()
        except OSError:
            _reason = f"no network namespace, which needs CAP_SYS_ADMIN or user namespaces: {refused.strerror}"
            return
    _reason = why_no_tun()


@pytest.fixture
def own_network() -> None:
    """An empty network namespace with its loopback up, where TUN devices can be made."""
    if _reason:
        pytest.skip(_reason)
    enter_network_namespace()


@pytest.fixture(autouse=True)
def namespace(request: pytest.FixtureRequest) -> None:
    """`own_network` for every test but those marked `no_device`; of these, one may ask for it by name."""
    if not request.node.get_closest_marker("no_device"):
        request.getfixturevalue("own_network")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For TLS to certificates.NAME."""
    pytest.importorskip("cryptography")
    return Certificate(tmp_path_factory.mktemp("certificate"))


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
