"""Writes captured IP packets as a pcapng file, the format of Wireshark and tshark.

One section, one interface of link type RAW (a packet begins with its IP header). Blocks and options follow the IETF's
draft-ietf-opsawg-pcapng. A file is valid after every write, so whoever is interrupted leaves a readable one.
No locks: one writer, one thread. The command `capture` (_cli_capture.py) writes with it, and so may any program.
"""

from __future__ import annotations

import struct
import time
from typing import BinaryIO, Union

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE_DESCRIPTION = 1
_ENHANCED_PACKET = 6
_INTERFACE_STATISTICS = 5

_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LINKTYPE_RAW = 101
_SNAP_LENGTH = 0x10000  # larger than any packet

_END_OF_OPTIONS = b"\0\0\0\0"
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_DESCRIPTION = 3
_IF_TSRESOL = 9
_EPB_FLAGS = 2
_ISB_STARTTIME = 2
_ISB_ENDTIME = 3
_ISB_IFRECV = 4
_ISB_IFDROP = 5

# The low two bits of epb_flags: who sent it, seen from the interface's owner. Here that is the program.
INBOUND = 1
OUTBOUND = 2

Buffer = Union[bytes, bytearray, memoryview]


def _padded(data: Buffer) -> bytes:
    return bytes(data) + b"\0" * (-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _split_time(nanoseconds: int) -> bytes:
    return struct.pack("<II", nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)


class PcapngWriter:
    """A pcapng file with one interface.

    Args:
        file: Where to write, open for bytes; the caller closes it.
        interface: The interface's name, shown by Wireshark.
        description: What it is, one line.
        application: Who writes the file.
    """

    def __init__(self, file: BinaryIO, interface: str, description: str = "", application: str = "wintun") -> None:
        self._file = file
        self._start = time.time_ns()
        self.packets = 0
        # A section whose length is not known yet says -1.
        section = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
        section += _option(_SHB_USERAPPL, application.encode()) + _END_OF_OPTIONS
        options = _option(_IF_NAME, interface.encode())
        if description:
            options += _option(_IF_DESCRIPTION, description.encode())
        options += _option(_IF_TSRESOL, b"\x09") + _END_OF_OPTIONS  # times in 10^-9 seconds
        head = struct.pack("<HHI", _LINKTYPE_RAW, 0, _SNAP_LENGTH)
        file.write(_block(_SECTION_HEADER, section) + _block(_INTERFACE_DESCRIPTION, head + options))

    def write(self, packet: Buffer, direction: int = INBOUND, nanoseconds: int | None = None) -> None:
        """Adds one packet.

        Args:
            packet: A whole IP packet.
            direction: INBOUND for what the program read, OUTBOUND for what it wrote.
            nanoseconds: When, since 1970-01-01 UTC; now, if not given.
        """
        when = time.time_ns() if nanoseconds is None else nanoseconds
        head = struct.pack("<I", 0) + _split_time(when) + struct.pack("<II", len(packet), len(packet))
        options = _option(_EPB_FLAGS, struct.pack("<I", direction)) + _END_OF_OPTIONS
        self._file.write(_block(_ENHANCED_PACKET, head + _padded(packet) + options))
        self.packets += 1

    def flush(self) -> None:
        """Makes what was written visible to other programs."""
        self._file.flush()

    def finish(self, received: int, dropped: int) -> None:
        """Ends the capture with the interface's totals.

        Args:
            received: Packets that came for the program.
            dropped: Packets that came and could not be delivered.
        """
        now = time.time_ns()
        options = _option(_ISB_STARTTIME, _split_time(self._start)) + _option(_ISB_ENDTIME, _split_time(now))
        options += _option(_ISB_IFRECV, struct.pack("<Q", received))
        options += _option(_ISB_IFDROP, struct.pack("<Q", dropped)) + _END_OF_OPTIONS
        self._file.write(_block(_INTERFACE_STATISTICS, struct.pack("<I", 0) + _split_time(now) + options))
        self._file.flush()
