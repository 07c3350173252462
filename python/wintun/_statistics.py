"""What a device has counted: a mapping that notebooks render as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import _html


class Statistics(Mapping[str, int]):
    """Counts of one moment, since the device was made; they go on over `down()` and `up()`.

    A mapping of names to numbers: of packets, of bytes, of times. Notebooks show it as a table.

    - `received_packets`, `received_bytes`: read by the program.
    - `received_drops`: packets from the network stack that could not be delivered.
    - `sent_packets`, `sent_bytes`: written by the program.
    - `sent_drops`: packets refused by a full ring or by the network stack.
    - `waits`, `wakes`: waits for a packet, and those that a packet ended.
    - `acknowledgements_left_out`: on the embedded backend, those that the stack did not send, since a later one said
      more.
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
        get = self._counts.get
        rows = [
            (words, get(f"{way}_packets", 0), get(f"{way}_bytes", 0), get(f"{way}_drops", 0))
            for way, words in (("received", "received: read by the program"), ("sent", "sent: written by the program"))
        ]
        waits = get("waits", 0)
        note = f"{waits:,} waits for a packet, {get('wakes', 0):,} of them ended by one" if waits else ""
        return _html.table(f"{self._name}: traffic", rows, ("", "packets", "bytes", "dropped"), note)
