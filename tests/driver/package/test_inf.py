"""The INF by which Windows installs the driver: complete, consistent, and with no name but our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inf import Inf, InfError, parse


@pytest.fixture(scope="module")
def text(package: Path) -> str:
    return (package / "ringtun.inf").read_bytes().decode("ascii")


@pytest.fixture(scope="module")
def inf(text: str) -> Inf:
    return parse(text)


def models(inf: Inf) -> str:
    name, *platforms = inf.values("Manufacturer", "The wintun for Python developers")
    assert platforms == ["NTamd64.6.1"]
    return f"{name}.{platforms[0]}"


def test_the_device_has_our_hardware_id_and_an_install_section(inf: Inf) -> None:
    install, hardware_id = inf.values(models(inf), "ringtun adapter")
    assert hardware_id == "ringtun"
    assert inf.section(f"{install}.NT")
    assert inf.section(f"{install}.NT.Services")


def test_it_is_a_virtual_network_adapter_of_medium_ip(inf: Inf) -> None:
    assert inf.value("Version", "Class") == "Net"
    assert inf.value("Version", "ClassGUID").upper() == "{4D36E972-E325-11CE-BFC1-08002BE10318}"
    assert inf.value("Install.NT", "Characteristics") == "0x1"
    assert inf.value("Install.NT", "*IfType") == "53"
    assert inf.value("Install.NT", "*MediaType") == "19"


def test_every_section_that_is_named_exists(inf: Inf) -> None:
    for entry in inf.section("Install.NT"):
        if entry.key.lower() in ("addreg", "copyfiles"):
            for name in entry.values:
                assert inf.section(name), name
    service, flags, *sections = inf.values("Install.NT.Services", "AddService")
    assert (service, flags) == ("ringtun", "0x2")
    for name in sections:
        assert inf.section(name), name


def test_every_file_that_is_copied_is_in_the_package_and_on_the_disk_it_names(inf: Inf, package: Path) -> None:
    copied = [entry.values[0] for entry in inf.section("Install.Files")]
    assert copied == ["ringtun.sys"]
    for name in copied:
        assert (package / name).exists()
        assert inf.value("SourceDisksNames", inf.value("SourceDisksFiles", name))
    assert inf.value("Version", "CatalogFile") == "ringtun.cat"
    assert (package / "ringtun.cat").exists()
    assert inf.value("Service", "ServiceBinary") == r"%12%\ringtun.sys"


def test_its_version_is_that_of_the_driver_file(inf: Inf, package: Path) -> None:
    pefile = pytest.importorskip("pefile", reason="tools/requirements.txt has it")
    date, version = inf.values("Version", "DriverVer")
    assert re.fullmatch(r"\d\d/\d\d/\d{4}", date)
    fixed = pefile.PE(str(package / "ringtun.sys")).VS_FIXEDFILEINFO[0]
    high, low = fixed.FileVersionMS, fixed.FileVersionLS
    assert version == f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def test_nothing_is_named_like_the_official_driver(text: str) -> None:
    assert "wintun" not in text.lower().replace("wintun for python developers", "")


def test_lines_end_as_windows_wants_them(text: str) -> None:
    assert text.count("\r\n") == text.count("\n") > 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("Signature = 1\n", "before the first section"),
        ("[Version\n", "has no end"),
        ('[A]\nB = "c\n', "quoted string has no end"),
        ("[A]\nB = %C%\n", "in no \\[Strings\\]"),
    ],
)
def test_the_parser_refuses_what_is_broken(broken: str, reason: str) -> None:
    with pytest.raises(InfError, match=reason):
        parse(broken)


def test_the_parser_knows_comments_quotes_and_continued_lines() -> None:
    inf = parse('[A] ; c\nB = "x;y, ""z""", %N%, \\\n 3 ; d\nplain, 2\n[Strings]\nN = "n%%n"\n')
    assert inf.values("a", "b") == ['x;y, "z"', "n%n", "3"]
    assert inf.section("A")[1].values == ["plain", "2"]
    with pytest.raises(InfError, match="no section"):
        inf.section("C")
    with pytest.raises(InfError, match="0 entries"):
        inf.value("A", "C")
