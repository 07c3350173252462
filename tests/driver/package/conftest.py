"""Where the driver's package is: build/driver/package, which `cmake --build --preset driver` makes."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def package() -> Path:
    folder = ROOT / "build" / "driver" / "package"
    assert (folder / "ringtun.sys").exists(), "build it: cmake --preset driver && cmake --build --preset driver"
    return folder
