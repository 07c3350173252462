"""Checks build/site, as mkdocs left it: what a reader's browser would miss or fetch from elsewhere.

- Every link within the site leads to a page and an anchor that are there, those in docstrings and menus too.
- Nothing is loaded from another host: no scripts, styles, fonts, pictures. Links for people to follow may lead there.
- Every public name of the package has its entry in the API reference, with a text.

Called by `tools/site build`.
"""

from __future__ import annotations

import inspect
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import wintun
import wintun._stack
import wintun._stack_asyncio
import wintun.compat.pymobiledevice3
import wintun.compat.pytun_pmd3
import wintun.compat.pywintunx_pmd3
import wintun.pcapng

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# Tables and code that Markdown left as text: a list or a table without an empty line before it, say.
LEFT_OVER = re.compile(r"^\s*(?:\|.*\||```.*|- \S.*)$", re.MULTILINE)
# What TunDevice is made of: native, without a docstring of their own, and for its own use.
INNER = re.compile(r"(?:get|set|put|drop)_\w+|wait_descriptor|open_packet_descriptor")


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.left_over: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors.update(filter(None, (values.get("id"), values.get("name") if tag == "a" else None)))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values and values.get("rel") != "canonical":
            self.loads.append(values[LOADS[tag]])
        if tag in ("p", "pre", "code", "script", "style"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open == ["p"]:
            self.left_over += LEFT_OVER.findall(data)
        if self._open[-1:] == ["code"] and "pre" not in self._open and "\\|" in data:
            self.left_over.append(data)


def check_links(page: Page, pages: dict[Path, Page]) -> list[str]:
    problems = []
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if path.is_dir():
            path /= "index.html"
        if not path.exists():
            problems.append(f"links to {link}, which does not exist")
        elif parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].anchors:
            problems.append(f"links to {link}: no such anchor")
    return problems


def check_loads(page: Page) -> list[str]:
    loads = [*page.loads, *re.findall(r"url\(\s*['\"]?(https?:[^)'\"]*)", page.path.read_text())]
    return [f"loads {url} from another host" for url in loads if urlsplit(url).netloc]


def public_members(owner: type | ModuleType) -> list[tuple[str, object]]:
    names = getattr(owner, "__all__", None) if inspect.ismodule(owner) else dir(owner)
    return [(name, getattr(owner, name)) for name in names or [] if not name.startswith("_") and not INNER.match(name)]


def public_names() -> dict[str, object]:
    """What programs may use: a path, and the thing."""
    names: dict[str, object] = {}
    compat = wintun.compat
    for module in (wintun, compat.pytun_pmd3, compat.pywintunx_pmd3, compat.pymobiledevice3):
        for name, thing in public_members(module):
            if isinstance(thing, type) and thing.__module__.startswith("wintun") and thing is not wintun.Statistics:
                members = public_members(thing) if not issubclass(thing, OSError) else []
                names.update({f"{module.__name__}.{thing.__name__}.{member}": value for member, value in members})
            if callable(thing):
                names[f"{module.__name__}.{getattr(thing, '__name__', name)}"] = thing
    sockets = (wintun._stack.StackSocket, wintun._stack.StackDatagramSocket, wintun._stack_asyncio.StackServer)
    for thing in (*sockets, wintun.pcapng.PcapngWriter):
        names.update(
            {f"{thing.__module__}.{thing.__name__}.{member}": value for member, value in public_members(thing)}
        )
    return names


def check_api(page: Page) -> list[str]:
    problems = []
    for name, thing in public_names().items():
        if name not in page.anchors:
            problems.append(f"{name} has no entry")
        if (callable(thing) or isinstance(thing, property)) and not (thing.__doc__ or "").strip():
            problems.append(f"{name} has no docstring")
    return problems


def main() -> int:
    pages = {path: Page(path) for path in sorted(SITE.rglob("*.html"))}
    problems = {
        # 404.html is shown at any address, so its links begin at the root.
        page: (check_links(page, pages) if page.path.name != "404.html" else [])
        + check_loads(page)
        + [f"shows its Markdown: {text.strip()}" for text in page.left_over]
        for page in pages.values()
    }
    for path in SITE.rglob("*.css"):
        for url in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"]*)", path.read_text()):
            print(f"{path.relative_to(SITE)}: loads {url} from another host")
            return 1
    api = pages.get(SITE / "api.html")
    if api is None:
        print(f"{SITE} is no site with an API reference: `tools/site build` makes it")
        return 1
    problems[api] += check_api(api)
    for page, found in problems.items():
        for problem in found:
            print(f"{page.path.relative_to(SITE)}: {problem}")
    print(f"{len(pages)} pages looked at, {len(public_names())} public names")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
