"""A TUN device: IP packets between the operating system's network stack and a Python program.

    import wintun

    with wintun.TunDevice('Demo') as tun:
        tun.addr = '10.2.0.1/24'
        tun.up()
        packet = tun.read(timeout=None)

See `TunDevice`, and docs/python.md in the project.
"""

from . import _process
from ._logging import get_driver_version, set_logger
from ._native import PacketBatch, Reader, __version__
from ._statistics import Statistics
from .device import TunDevice

__all__ = [
    "PacketBatch",
    "Reader",
    "Statistics",
    "TunDevice",
    "__version__",
    "get_driver_version",
    "set_logger",
]

_process.prepare()
del _process
