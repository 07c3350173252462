"""What a device has counted: a mapping that notebooks render as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

_MEANINGS = {
    "received_packets": "packets read by the program",
    "received_bytes": "bytes read by the program",
    "received_drops": "packets from the network stack that could not be delivered",
    "sent_packets": "packets written by the program",
    "sent_bytes": "bytes written by the program",
    "sent_drops": "packets refused by a full ring or by the network stack",
    "waits": "waits for a packet",
    "wakes": "waits that a packet ended",
}


class Statistics(Mapping[str, int]):
    """Counts of one moment, since the device was made; they go on over `down()` and `up()`.

    A mapping of `received_packets`, `received_bytes`, `received_drops`, `sent_packets`, `sent_bytes`, `sent_drops`,
    `waits` and `wakes` to numbers: of packets, of bytes, of times. "Received" is what the program read. Notebooks show
    it as a table.
    """

    __slots__ = ("_counts", "_name")

    def __init__(self, name: str, counts: Mapping[str, int]) -> None:
        self._name = name
        self._counts: dict[str, int] = dict(counts)

    def __getitem__(self, key: str) -> int:
        try:
            return self._counts[key]
        except KeyError:
            raise KeyError(f"{key!r} is not counted; there are {', '.join(self._counts)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return f"<wintun.Statistics of {self._name!r}: {', '.join(f'{k}={v}' for k, v in self._counts.items())}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td>{escape(key)}</td><td style="text-align:right">{value:,}</td>'
            f'<td style="text-align:left">{escape(_MEANINGS.get(key, ""))}</td></tr>'
            for key, value in self._counts.items()
        )
        return f"<table><caption>{escape(self._name)}</caption>{rows}</table>"
