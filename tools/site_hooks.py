"""What makes a site of documents that are also read on a forge and in an editor, as they are.

mkdocs calls on_files and on_page_markdown. Documents at the root and in examples/ become pages of the site, and so does
the notebook, with its outputs; sources that a document links to become pages under source/, and relative links out of
docs/ are turned to those. mkdocstrings loads `NativeDocstrings`: pybind11 writes a signature above a docstring, and
the stubs have a better one.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any, Optional

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)((?:#[^)\s]*)?)\)")
ROW = re.compile(r"^\|.*$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
# Documents outside of docs/, and the pages they become.
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "examples/embedded_download.ipynb": "notebook.md",
}
LANGUAGES = {".cpp": "cpp", ".hpp": "cpp", ".c": "c", ".h": "c", ".py": "python", ".txt": "text", ".yml": "yaml"}


def repository_path(uri: str) -> str:
    """The file that a page is made of, as a path in the project."""
    return next((name for name, page in PAGES.items() if page == uri), f"docs/{uri}")


def page_of(name: str) -> Optional[str]:
    """The page that a file of the project becomes; None: none."""
    if name in PAGES:
        return PAGES[name]
    if name.startswith("docs/"):
        return name[len("docs/") :]
    if (ROOT / name).is_file():
        return f"source/{name}.md"
    return None


def links(uri: str, markdown: str) -> list[str]:
    """The files of the project that a document links to."""
    folder = posixpath.dirname(repository_path(uri))
    prose = FENCED.sub("", markdown)
    return [posixpath.normpath(posixpath.join(folder, target)) for _, target, _ in LINK.findall(prose)]


def title(name: str) -> str:
    heading = re.search(r"^# +(.+)$", (ROOT / name).read_text(), re.MULTILINE) if (ROOT / name).is_file() else None
    return heading[1] if heading else name


def bare_pipes(markdown: str) -> str:
    """Forges want a pipe in a table's code escaped; here it would be shown with its backslash."""

    def bare(row: re.Match[str]) -> str:
        return CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0])

    return ROW.sub(bare, markdown)


def source_page(name: str) -> str:
    text = (ROOT / name).read_text()
    return f"# {name}\n\n```{LANGUAGES.get(Path(name).suffix, 'text')}\n{text.rstrip()}\n```\n"


def output_block(output: dict[str, Any]) -> str:
    """What a notebook's cell gave: as HTML if it has that, else as a picture, else as text."""
    data = output.get("data", {})
    if "text/html" in data:
        # One block for Markdown, which an empty line would end.
        return re.sub(r"\n\s*\n", "\n", f"<div>{''.join(data['text/html'])}</div>")
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    return f"```text\n{''.join(output.get('text', data.get('text/plain', ''))).rstrip()}\n```"


def notebook_page(name: str) -> str:
    """A notebook with the outputs that it was committed with, as Markdown."""
    parts = []
    for cell in json.loads((ROOT / name).read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *map(output_block, cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, uri in PAGES.items():
        if name.endswith(".ipynb"):
            files.append(File.generated(config, uri, content=notebook_page(name)))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    wanted = {name for file in files.documentation_pages() for name in links(file.src_uri, file.content_string)}
    for name in sorted(wanted):
        page = page_of(name)
        if page is not None and page.startswith("source/"):
            files.append(File.generated(config, page, content=source_page(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    here = posixpath.dirname(uri)
    folder = posixpath.dirname(repository_path(uri))

    def turned(match: re.Match[str]) -> str:
        name = posixpath.normpath(posixpath.join(folder, match[2]))
        target = page_of(name)
        # What exists nowhere stays as it is: mkdocs says so, and ends.
        if target is None:
            return match[0]
        # On a forge a document is best called by its file's name, on the site by its title.
        label = title(name) if match[1].endswith(".md") else match[1]
        return f"[{label}]({posixpath.relpath(target, here or '.')}{match[3]})"

    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(turned, bare_pipes(part)) for part in parts)


class NativeDocstrings(griffe.Extension):
    """Makes the compiled module's functions look like Python's: without pybind11's signature in their docstrings."""

    def on_object(self, *, obj: griffe.Object, **_options: Any) -> None:
        obj.labels.discard("method descriptor")
        if obj.docstring is None:
            return
        first, _, rest = obj.docstring.value.partition("\n")
        if re.match(rf"{re.escape(obj.name)}\(.*\) -> ", first):
            obj.docstring.value = rest.strip()
