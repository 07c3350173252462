"""The commands list and stats: what TUN interfaces there are, and what goes through them. One thread."""

from __future__ import annotations

import errno
import sys
import time
from dataclasses import asdict
from typing import Any

from wintun import _cli_links
from wintun._cli_links import Link
from wintun._cli_output import Output, rich_table

_STATS_HEADERS = ("interface", "to user", "MB", "drops", "packets/s", "to network", "MB", "drops", "packets/s")


def list_interfaces(output: Output) -> int:
    """Prints every TUN interface of this network namespace."""
    links = _cli_links.tun_links()
    holders = _cli_links.holders() if links else {}
    output.result([{**asdict(link), "holder": holders.get(link.name)} for link in links])
    rows = [
        (
            link.name,
            str(link.index),
            ("up" if link.running else "up, no session") if link.up else "down",
            str(link.mtu),
            ", ".join(link.addresses) or "-",
            "persistent" if link.persistent else "-",
            holders.get(link.name, "-"),
        )
        for link in links
    ]
    if rows:
        output.table(("interface", "index", "state", "MTU", "addresses", "kind", "held by"), rows)
    else:
        output.line("no TUN interface here")
    return 0


def _sample(name: str | None) -> dict[str, Link]:
    links = {link.name: link for link in _cli_links.tun_links()}
    if name is None:
        return links
    if name not in links:
        there = ", ".join(links) or "none"
        raise OSError(errno.ENODEV, f"counting on {name}: no such TUN interface; there are: {there}")
    return {name: links[name]}


def _rates(link: Link, before: Link | None, seconds: float) -> tuple[float, float]:
    if before is None or before.index != link.index or seconds <= 0:
        return 0.0, 0.0
    return (
        (link.to_user_packets - before.to_user_packets) / seconds,
        (link.to_network_packets - before.to_network_packets) / seconds,
    )


def _row(link: Link, rates: tuple[float, float]) -> tuple[object, ...]:
    to_user = (link.to_user_packets, link.to_user_bytes / 1e6, link.to_user_drops, rates[0])
    to_network = (link.to_network_packets, link.to_network_bytes / 1e6, link.to_network_drops, rates[1])
    return (link.name, *to_user, *to_network)


def _json_row(link: Link, rates: tuple[float, float]) -> dict[str, Any]:
    counters = {key: value for key, value in asdict(link).items() if key.startswith("to_")}
    return {
        "interface": link.name,
        **counters,
        "to_user_packets_per_second": rates[0],
        "to_network_packets_per_second": rates[1],
    }


def stats(output: Output, name: str | None, interval: float, count: int | None) -> int:
    """Samples the kernel's counters and shows them, until `count` samples or Ctrl-C.

    Args:
        output: Where to show.
        name: One interface; all, if None.
        interval: Seconds between two samples; the first rates are those of the first interval.
        count: How many samples; None is without end on a terminal and 1 elsewhere.
    """
    left = count if count is not None else (None if sys.stdout.isatty() else 1)
    before, start = _sample(name), time.monotonic()
    live = None
    if output.use_rich:
        from rich.live import Live

        live = Live(auto_refresh=False)
        live.start()
    try:
        while left is None or left > 0:
            time.sleep(interval)
            now, end = _sample(name), time.monotonic()
            rates = {key: _rates(link, before.get(key), end - start) for key, link in now.items()}
            rows = [_row(link, rates[key]) for key, link in now.items()]
            output.result([_json_row(link, rates[key]) for key, link in now.items()])
            if live is not None:
                live.update(rich_table(_STATS_HEADERS, rows), refresh=True)
            elif rows:
                output.table(_STATS_HEADERS, rows)
            else:
                output.line("no TUN interface here")
            before, start = now, end
            left = None if left is None else left - 1
    except KeyboardInterrupt:
        # The usual way to end a live table.
        return 0
    finally:
        if live is not None:
            live.stop()
    return 0
