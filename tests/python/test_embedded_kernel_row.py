"""On the kernel backend, what only the embedded one has says who does it there."""

from __future__ import annotations

import asyncio
import errno

import pytest


@pytest.mark.parametrize(
    "call",
    [
        lambda tun: tun.create_connection(("10.77.0.2", 80)),
        lambda tun: asyncio.run(tun.open_connection("10.77.0.2", 80)),
        lambda tun: asyncio.run(tun.start_server(print, "10.77.0.1", 80)),
        lambda tun: tun.datagram(remote=("10.77.0.2", 80)),
        lambda tun: tun.ping("10.77.0.2"),
        lambda tun: tun.limit_packets(8192),
        lambda tun: tun.check_checksums(False),
    ],
    ids=["create_connection", "open_connection", "start_server", "datagram", "ping", "limit_packets", "checksums"],
)
def test_a_kernel_device_refers_to_the_systems_own_sockets(tun, call):
    with pytest.raises(OSError, match="only the backend 'embedded' has this.*operating system's own sockets") as caught:
        call(tun)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "'testtun'" in str(caught.value)
    assert tun.is_up  # and goes on
