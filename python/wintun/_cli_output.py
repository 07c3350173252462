"""What a command shows, in three ways: JSON for programs, rich tables for a terminal, plain lines for the rest.

rich is optional (the extra `cli`): doctor must run on a machine where things are missing, so the package itself
depends on nothing. One thread, the command's.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

Row = Sequence[object]


class Output:
    """Prints a command's results.

    Args:
        as_json: One JSON value a line on standard output and nothing else; text goes to standard error.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty()
        self.use_rich = self.is_terminal and not as_json and importlib.util.find_spec("rich") is not None

    def line(self, text: str) -> None:
        """A line for people; with --json it does not appear among the results."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def progress(self, text: str) -> None:
        """A line that the next one replaces, on a terminal only."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def progress_done(self) -> None:
        self.progress("")

    def result(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """The result for programs; does nothing without --json."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False), flush=True)

    def table(self, headers: Sequence[str], rows: Sequence[Row]) -> None:
        """A table for people; does nothing with --json."""
        if self.as_json:
            return
        if self.use_rich:
            self._rich_table(headers, rows)
        else:
            print(plain_table(headers, rows), flush=True)

    def _rich_table(self, headers: Sequence[str], rows: Sequence[Row]) -> None:
        from rich.console import Console

        Console().print(rich_table(headers, rows))


class LiveTable:
    """A table drawn again and again under the lines: on a terminal with rich. Elsewhere the lines alone are shown.

    Args:
        output: Where to show.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._shown = 0.0
        self._live: Any = None
        if output.use_rich:
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()

    def line(self, text: str) -> None:
        """A line above the table."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            self._output.line(text)

    def update(self, headers: Sequence[str], rows: Sequence[Row], last: bool = False) -> None:
        """Draws it, at most ten times a second; `last`: in any case."""
        now = time.monotonic()
        if self._live is None or (now - self._shown < 0.1 and not last):
            return
        self._shown = now
        self._live.update(rich_table(headers, rows), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def rich_table(headers: Sequence[str], rows: Sequence[Row]) -> Any:
    """A rich.table.Table; numbers stand right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column, header in enumerate(headers):
        right = bool(rows) and all(_is_number(row[column]) for row in rows)
        table.add_column(header, justify="right" if right else "left")
    for row in rows:
        # Text, not str: brackets in a name are no markup.
        table.add_row(*(Text(_text(cell)) for cell in row))
    return table


def plain_table(headers: Sequence[str], rows: Sequence[Row]) -> str:
    """The same as lines of text."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in texts), 0) for i, header in enumerate(headers)]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headers))]

    def joined(cells: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right)).rstrip()

    return "\n".join([joined(headers), *map(joined, texts)])


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    return str(cell)
