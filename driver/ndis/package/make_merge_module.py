"""Writes a merge module: files that another product's Windows Installer package takes in and installs as one component.

`make_merge_module.py --version 1.2.3 --out FILE.msm FILE...`. The tables are those of Microsoft, "Merge Modules":
Component, Directory, File, ModuleComponents, ModuleSignature, and the stream MergeModule.CABinet. All names carry the
module's GUID, so that they meet no name of the product's. Made with msibuild and gcab.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MODULE = "5B7C4E0A-9E46-4B5C-8E9F-2F1E6D1B6C53"
COMPONENT = "0D0C1F54-7C5B-4A21-9B0B-5A3F6C6B8F10"
LANGUAGE = "1033"
SUFFIX = "." + MODULE.replace("-", "_")
IS_64_BIT = 256  # msidbComponentAttributes64bit

# Table: columns with their types as in an .idt file, how many of them are the key.
TABLES = {
    "Component": (
        ["Component:s72", "ComponentId:S38", "Directory_:s72", "Attributes:i2", "Condition:S255", "KeyPath:S72"],
        1,
    ),
    "Directory": (["Directory:s72", "Directory_Parent:S72", "DefaultDir:l255"], 1),
    "File": (
        [
            "File:s72",
            "Component_:s72",
            "FileName:l255",
            "FileSize:i4",
            "Version:S72",
            "Language:S20",
            "Attributes:I2",
            "Sequence:i4",
        ],
        1,
    ),
    "ModuleComponents": (["Component:s72", "ModuleID:s72", "Language:i2"], 3),
    "ModuleSignature": (["ModuleID:s72", "Language:i2", "Version:s32"], 2),
}


def rows(files: Sequence[Path], version: str) -> dict[str, list[list[str]]]:
    component, directory, module = f"Driver{SUFFIX}", f"MODULE_DIRECTORY{SUFFIX}", f"ringtun{SUFFIX}"
    attributes = str(IS_64_BIT)
    return {
        "Component": [[component, f"{{{COMPONENT}}}", directory, attributes, "", f"{files[0].name}{SUFFIX}"]],
        "Directory": [["TARGETDIR", "", "SourceDir"], [directory, "TARGETDIR", "ringtun"]],
        "File": [
            [f"{path.name}{SUFFIX}", component, path.name, str(path.stat().st_size), "", "", "", str(number)]
            for number, path in enumerate(files, 1)
        ],
        "ModuleComponents": [[component, module, LANGUAGE]],
        "ModuleSignature": [[module, LANGUAGE, f"{version}.0"]],
    }


def write_table(folder: Path, name: str, values: Sequence[Sequence[str]]) -> Path:
    columns, keys = TABLES[name]
    names = [column.split(":")[0] for column in columns]
    lines = [names, [column.split(":")[1] for column in columns], [name, *names[:keys]], *values]
    path = folder / f"{name}.idt"
    path.write_text("".join("\t".join(line) + "\r\n" for line in lines), newline="")
    return path


def make(files: Sequence[Path], version: str, out: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # The cabinet knows its files by their keys in the table File.
        keyed = [shutil.copy(path, folder / f"{path.name}{SUFFIX}") for path in files]
        cabinet = folder / "module.cab"
        subprocess.run(
            ["gcab", "--create", "--zip", "--nopath", cabinet, *keyed], check=True, stdout=subprocess.DEVNULL
        )
        out.unlink(missing_ok=True)
        about = ["ringtun", "The wintun for Python developers", f"x64;{LANGUAGE}", f"{{{MODULE}}}"]
        tables = [str(write_table(folder, name, values)) for name, values in rows(files, version).items()]
        # msibuild takes one kind of change a call.
        for change in (["-s", *about], ["-i", *tables], ["-a", "MergeModule.CABinet", str(cabinet)]):
            subprocess.run(["msibuild", str(out), *change], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes a merge module of the driver's files.")
    parser.add_argument("--version", required=True, help="of the module, three numbers")
    parser.add_argument("--out", type=Path, required=True, help="the module to write")
    parser.add_argument("files", type=Path, nargs="+", help="what it installs")
    options = parser.parse_args(arguments)
    make(options.files, options.version, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
