"""What is signed verifies, and no longer once a byte of it is another; installers hold the files that were signed."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest


def verify(package: Path, file: Path, *more: str) -> bool:
    command = ["osslsigncode", "verify", "-CAfile", str(package / "ringtun-test.pem"), *more, "-in", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def tampered(file: Path, folder: Path, at: int) -> Path:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    copy = folder / file.name
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("name", ["ringtun.sys", "ringtun.cat", "ringtun.msi"])
def test_the_signature_verifies(package: Path, name: str) -> None:
    assert verify(package, package / name)


@pytest.mark.parametrize(("name", "at"), [("ringtun.sys", 0x410), ("ringtun.cat", 150)])
def test_a_changed_byte_fails_verification(package: Path, tmp_path: Path, name: str, at: int) -> None:
    assert not verify(package, tampered(package / name, tmp_path, at))


def test_the_catalog_vouches_for_the_driver_and_not_for_a_changed_one(package: Path, tmp_path: Path) -> None:
    catalog = str(package / "ringtun.cat")
    assert verify(package, package / "ringtun.sys", "-catalog", catalog)
    assert not verify(package, tampered(package / "ringtun.sys", tmp_path, 0x410), "-catalog", catalog)


def test_the_catalog_has_the_hash_of_the_inf(package: Path) -> None:
    catalog = (package / "ringtun.cat").read_bytes()
    assert hashlib.sha256((package / "ringtun.inf").read_bytes()).digest() in catalog


def test_another_certificate_does_not_verify(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "ringtun-test.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout"]
        + [str(tmp_path / "key"), "-out", str(other)],
        check=True,
        capture_output=True,
    )
    assert not verify(tmp_path, package / "ringtun.sys")


def export(file: Path, table: str) -> list[list[str]]:
    text = subprocess.run(["msiinfo", "export", str(file), table], capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in text.splitlines()[3:]]


def test_the_installer_has_the_signed_files(package: Path, tmp_path: Path) -> None:
    subprocess.run(["msiextract", "-C", str(tmp_path), str(package / "ringtun.msi")], check=True, capture_output=True)
    extracted = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert extracted == {n: (package / n).read_bytes() for n in ("ringtun.sys", "ringtun.inf", "ringtun.cat")}


def test_the_installer_hands_the_package_to_the_driver_store_behind_the_files(package: Path) -> None:
    msi = package / "ringtun.msi"
    (action,) = export(msi, "CustomAction")
    assert action[:4] == ["AddDriver", "3106", "INSTALLDIR", "[System64Folder]pnputil.exe /add-driver ringtun.inf"]
    order = {row[0]: int(row[2]) for row in export(msi, "InstallExecuteSequence")}
    assert order["InstallFiles"] < order["AddDriver"] < order["InstallFinalize"]
    assert "INSTALLDIR" in {row[0] for row in export(msi, "Directory")}


def test_the_merge_module_has_the_signed_files_under_names_of_its_own(package: Path, tmp_path: Path) -> None:
    module = package / "ringtun.msm"
    files = export(module, "File")
    assert [row[2] for row in files] == ["ringtun.sys", "ringtun.inf", "ringtun.cat"]
    ((_, guid_of_component, *_),) = export(module, "Component")
    ((component, signature, language),) = export(module, "ModuleComponents")
    assert [row[:2] for row in export(module, "ModuleSignature")] == [[signature, language]]
    assert all(row[1] == component for row in files)
    assert guid_of_component.startswith("{")
    cabinet = tmp_path / "module.cab"
    cabinet.write_bytes(
        subprocess.run(
            ["msiinfo", "extract", str(module), "MergeModule.CABinet"], capture_output=True, check=True
        ).stdout
    )
    subprocess.run(["gcab", "--extract", "--directory", str(tmp_path), str(cabinet)], check=True, capture_output=True)
    for row in files:
        assert (tmp_path / row[0]).read_bytes() == (package / row[2]).read_bytes()
