"""Reads a Windows INF file as Microsoft's "General Syntax Rules for INF Files" has it, as far as drivers here need it.

Sections with entries in order; names are case-insensitive; comments, quoted strings, continued lines, %strings%.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


class InfError(ValueError):
    """The text is no INF, or refers to something that it does not have."""


@dataclass
class Entry:
    key: str  # empty where the line has no "="
    values: list[str]


@dataclass
class Inf:
    sections: dict[str, list[Entry]] = field(default_factory=dict)

    def section(self, name: str) -> list[Entry]:
        try:
            return self.sections[name.lower()]
        except KeyError:
            raise InfError(f"there is no section [{name}]") from None

    def values(self, section: str, key: str) -> list[str]:
        found = [entry.values for entry in self.section(section) if entry.key.lower() == key.lower()]
        if len(found) != 1:
            raise InfError(f"[{section}] has {len(found)} entries {key}, not one")
        return found[0]

    def value(self, section: str, key: str) -> str:
        values = self.values(section, key)
        if len(values) != 1:
            raise InfError(f"{key} in [{section}] has {len(values)} values, not one")
        return values[0]


def _split(text: str) -> list[str]:
    """At commas outside of quotes; a doubled quote in a quoted string is one."""
    parts = re.findall(r'\s*("(?:[^"]|"")*"|[^,"]*)\s*(?:,|$)', text)
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part.strip() for part in parts[:-1] or parts]


def _without_comment(line: str) -> str:
    return re.sub(r'^((?:[^";]|"[^"]*")*);.*$', r"\1", line).strip()


def parse(text: str) -> Inf:
    inf = Inf()
    current: list[Entry] | None = None
    for number, raw in enumerate(re.sub(r"\\\r?\n", "", text).splitlines(), 1):
        line = _without_comment(raw)
        if not line:
            continue
        if line.startswith("["):
            if not line.endswith("]"):
                raise InfError(f"line {number}: a section's name has no end")
            current = inf.sections.setdefault(line[1:-1].strip().lower(), [])
            continue
        if current is None:
            raise InfError(f"line {number}: an entry before the first section")
        if line.count('"') % 2:
            raise InfError(f"line {number}: a quoted string has no end")
        key, equals, values = line.partition("=")
        current.append(Entry(key.strip(), _split(values)) if equals else Entry("", _split(line)))
    return _resolved(inf)


def _resolved(inf: Inf) -> Inf:
    strings = {entry.key.lower(): entry.values[0].replace("%%", "%") for entry in inf.sections.get("strings", [])}

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name == "":
            return "%"
        # The numbers are directories (DIRID), not strings.
        if name.isdigit():
            return match.group(0)
        if name.lower() not in strings:
            raise InfError(f"%{name}% is in no [Strings]")
        return strings[name.lower()]

    for name, entries in inf.sections.items():
        for entry in entries if name != "strings" else []:
            entry.key = re.sub(r"%([^%]*)%", replace, entry.key)
            entry.values = [re.sub(r"%([^%]*)%", replace, value) for value in entry.values]
    return inf
