"""Checks that the documents tell the truth about this tree: every relative link, every heading linked to, every file
named in backquotes and every command of the command line exists; docs/README.md lists every document; Python blocks
parse, and C++ and C blocks that have a main() compile. Called by the step `docs` of tools/test.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What in backquotes is a file of this tree: it starts with a folder of ours, or is a known file at the root.
FOLDERS = ("src", "dll", "driver", "python", "tests", "examples", "tools", "docs", "cmake", ".ci")
NAMED = re.compile(rf"^(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*{{}},-]*$")
COMMAND = re.compile(r"python -m wintun ([a-z]+)")
STEP = re.compile(r"tools/test --only ([a-z]+)")


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def anchors(path: Path) -> set[str]:
    """The anchors that the headings of a document make, as most viewers make them."""
    text = BLOCK.sub("", path.read_text())
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-") for heading in headings}


def check_links(path: Path, text: str) -> list[str]:
    problems = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            problems.append(f"links to {target}, which does not exist")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            problems.append(f"links to {target}: no such heading")
    return problems


def check_list() -> list[str]:
    """docs/README.md is the way to all others for who reads them on a forge; the site has a menu."""
    listed = set(LINK.findall((ROOT / "docs/README.md").read_text()))
    return [
        f"does not list {path.name}" for path in (ROOT / "docs").glob("*.md") if path.name not in {*listed, "README.md"}
    ]


def expanded(name: str) -> list[str]:
    """`a/{b,c}.hpp` names two files."""
    match = re.search(r"\{([^}]*)\}", name)
    if not match:
        return [name]
    parts = match[1].split(",")
    return [one for part in parts for one in expanded(name[: match.start()] + part + name[match.end() :])]


def check_names(text: str) -> list[str]:
    problems = []
    for code in CODE.findall(text):
        word = code.split()[0] if code.split() else ""
        if not NAMED.match(word):
            continue
        for name in expanded(word):
            exists = any(ROOT.glob(name.rstrip("/"))) if "*" in name else (ROOT / name).exists()
            if not exists:
                problems.append(f"names {name}, which does not exist")
    return problems


def check_commands(text: str) -> list[str]:
    cli = (ROOT / "python/wintun/_cli.py").read_text()
    steps = (ROOT / "tools/run_steps.py").read_text()
    problems = [
        f"names `python -m wintun {c}`: no such command" for c in COMMAND.findall(text) if f'add("{c}"' not in cli
    ]
    problems += [f"names step {s}: no such step" for s in STEP.findall(text) if f"def step_{s}(" not in steps]
    return problems


def compiles(language: str, code: str) -> str:
    """What the compiler says about a whole program; empty if it is content."""
    if "int main(" not in code:
        return ""
    compiler, suffix = (["g++", "-std=c++20"], ".cpp") if language == "cpp" else (["gcc", "-std=c99"], ".c")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"block{suffix}"
        file.write_text(code)
        includes = [f"-I{ROOT / name}" for name in ("src", "dll", ".")]
        answer = subprocess.run(
            [*compiler, "-fsyntax-only", *includes, str(file)], capture_output=True, text=True, check=False
        )
    return answer.stderr if answer.returncode else ""


def check_blocks(text: str) -> list[str]:
    problems = []
    for language, code in BLOCK.findall(text):
        first = code.strip().splitlines()[0] if code.strip() else ""
        if language == "python":
            try:
                # A block may use await at its top, as a notebook's cell does.
                compile(code, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            except SyntaxError as error:
                problems.append(f"a Python block ('{first}') does not parse: {error}")
        elif language in ("c", "cpp"):
            complaint = compiles(language, code)
            if complaint:
                problems.append(f"a {language} block ('{first}') does not compile: {complaint}")
    return problems


def main() -> int:
    failed = False
    paths = documents()
    for path in paths:
        text = path.read_text()
        prose = BLOCK.sub("", text)
        problems = check_list() if path == ROOT / "docs/README.md" else []
        problems += check_links(path, prose) + check_names(prose) + check_commands(text) + check_blocks(text)
        for problem in problems:
            print(f"{path.relative_to(ROOT)}: {problem}")
            failed = True
    print(f"{len(paths)} documents looked at")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
