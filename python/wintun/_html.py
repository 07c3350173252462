"""HTML for notebooks: how devices, statistics and batches of packets show themselves as tables. Pure functions.

Plain tables with the little style that a notebook's own sheet leaves open, so that they look at home in light and dark
themes, and still read well where a viewer drops all style. Packets come from others: nothing in them is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from ipaddress import ip_address
from typing import Union

Cell = Union[str, int]

_SHOWN = 10  # packets of a batch that get a row
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")  # from the lowest bit of a TCP header's byte 13


def _cell(cell: Cell, tag: str = "td") -> str:
    # Numbers under each other to the right; text to the left, where notebooks would put that to the right too.
    text, side = (cell, "left") if isinstance(cell, str) else (f"{cell:,}", "right")
    return f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>'


def table(title: str, rows: Iterable[Sequence[Cell]], head: Sequence[str] = (), note: str = "") -> str:
    """A table with a title above it.

    Args:
        title: What is shown.
        rows: The lines; a number is written with thousands apart.
        head: The columns' names. Without them a row is a name and its value.
        note: A small line below.
    """
    lines = list(rows)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in lines)
    if head:
        # A name stands on the side of what is below it.
        numbers = [any(isinstance(row[column], int) for row in lines) for column in range(len(head))]
        names = "".join(
            f'<th style="text-align:{"right" if number else "left"}">{escape(name)}</th>'
            for name, number in zip(head, numbers)
        )
        body = f"<thead><tr>{names}</tr></thead><tbody>{body}</tbody>"
    below = f'<div style="font-size:smaller;opacity:0.7">{escape(note)}</div>' if note else ""
    return f'<div><div style="font-weight:bold">{escape(title)}</div><table>{body}</table>{below}</div>'


def beside(*parts: str) -> str:
    """Puts tables next to each other, or below each other where there is no room."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:0 3em;align-items:flex-start">{"".join(parts)}</div>'


def _bits(number: int) -> Iterator[str]:
    return (name for bit, name in enumerate(_FLAGS) if number >> bit & 1)


def _endpoint(address: bytes, port: int | None) -> str:
    text = str(ip_address(address))
    if port is None:
        return text
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def describe(packet: memoryview) -> tuple[str, str, str]:
    """Sender, receiver and protocol of an IP packet, for people. What is cut short or no IP is said to be so."""
    size = len(packet)
    version = packet[0] >> 4 if size else 0
    if version == 4 and size >= 20:
        source, target, protocol, header = bytes(packet[12:16]), bytes(packet[16:20]), packet[9], (packet[0] & 15) * 4
        first = int.from_bytes(packet[6:8], "big") & 0x1FFF == 0  # later fragments have no ports
    elif version == 6 and size >= 40:
        source, target, protocol, header, first = bytes(packet[8:24]), bytes(packet[24:40]), packet[6], 40, True
    else:
        return "", "", "not an IP packet"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in (6, 17) and first and size >= header + 8:
        ports = (
            int.from_bytes(packet[header : header + 2], "big"),
            int.from_bytes(packet[header + 2 : header + 4], "big"),
        )
        if protocol == 6 and size >= header + 20:
            name = " ".join([name, *_bits(packet[header + 13])])
    return _endpoint(source, ports[0]), _endpoint(target, ports[1]), name


def batch(packets: Sequence[memoryview]) -> str:
    """A PacketBatch: one row a packet, the first ones only when there are many."""
    shown = packets[:_SHOWN]
    rows = [(number, *describe(packet), len(packet)) for number, packet in enumerate(shown)]
    more = len(packets) - len(shown)
    return table(
        f"{len(packets):,} packet{'s' * (len(packets) != 1)}, {sum(map(len, packets)):,} bytes",
        rows,
        ("", "from", "to", "protocol", "bytes"),
        f"and {more:,} more" if more else "",
    )
