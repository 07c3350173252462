"""Two embedded devices on a cable, and what tests of their asyncio streams share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

import wintun
from cable import Cable

HERE, THERE, HERE6, THERE6 = "10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"


@contextlib.contextmanager
def made_pair(
    names: tuple[str, str] = ("here", "there"), mtu: int = 9000
) -> Iterator[tuple[wintun.TunDevice, wintun.TunDevice]]:
    """Always the same addresses: only the cable says who talks to whom."""
    with (
        wintun.TunDevice(names[0], backend="embedded") as here,
        wintun.TunDevice(names[1], backend="embedded") as there,
    ):
        for device, addresses in ((here, (HERE, HERE6)), (there, (THERE, THERE6))):
            device.mtu = mtu
            for address in addresses:
                device.add_address(address)
            device.up()
        with Cable(here, there):
            yield here, there


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 110))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
