"""ringtun.sys as a file: what it asks of Windows, how it may be loaded, which instructions it has."""

from __future__ import annotations

from pathlib import Path

import capstone
import pefile
import pytest

IMPORTS = Path(__file__).with_name("imports.txt")


@pytest.fixture(scope="module")
def image(package: Path) -> pefile.PE:
    return pefile.PE(str(package / "ringtun.sys"))


def allowed() -> set[str]:
    lines = (line.split("#")[0].strip() for line in IMPORTS.read_text().splitlines())
    return {line for line in lines if line}


def imported(image: pefile.PE) -> set[str]:
    return {
        f"{library.dll.decode().lower()} {function.name.decode()}"
        for library in image.DIRECTORY_ENTRY_IMPORT
        for function in library.imports
    }


def instructions(image: pefile.PE) -> list[capstone.CsInsn]:
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.detail = True
    machine.skipdata = True
    found = []
    for section in image.sections:
        if section.Characteristics & pefile.SECTION_CHARACTERISTICS["IMAGE_SCN_MEM_EXECUTE"]:
            size = min(section.Misc_VirtualSize, section.SizeOfRawData)
            found += list(machine.disasm(section.get_data()[:size], section.VirtualAddress))
    return found


def test_it_imports_what_is_on_the_list_and_nothing_else(image: pefile.PE) -> None:
    assert imported(image) - allowed() == set()


def test_the_list_of_imports_has_nothing_that_is_not_used(image: pefile.PE) -> None:
    assert allowed() - imported(image) == set()


def test_it_is_a_native_x64_image_that_may_be_loaded_anywhere(image: pefile.PE) -> None:
    assert image.FILE_HEADER.Machine == pefile.MACHINE_TYPE["IMAGE_FILE_MACHINE_AMD64"]
    assert image.OPTIONAL_HEADER.Subsystem == pefile.SUBSYSTEM_TYPE["IMAGE_SUBSYSTEM_NATIVE"]
    for flag in ("DYNAMIC_BASE", "NX_COMPAT", "HIGH_ENTROPY_VA"):
        name = f"IMAGE_DLLCHARACTERISTICS_{flag}"
        assert image.OPTIONAL_HEADER.DllCharacteristics & pefile.DLL_CHARACTERISTICS[name], name
    assert not image.FILE_HEADER.Characteristics & pefile.IMAGE_CHARACTERISTICS["IMAGE_FILE_RELOCS_STRIPPED"]
    assert image.verify_checksum()


def test_no_section_can_be_written_and_executed(image: pefile.PE) -> None:
    both = (
        pefile.SECTION_CHARACTERISTICS["IMAGE_SCN_MEM_WRITE"] | pefile.SECTION_CHARACTERISTICS["IMAGE_SCN_MEM_EXECUTE"]
    )
    assert [section.Name for section in image.sections if section.Characteristics & both == both] == []


def test_it_has_no_privileged_instruction(image: pefile.PE) -> None:
    found = [
        f"{i.address:#x} {i.mnemonic}" for i in instructions(image) if i.id and i.group(capstone.x86.X86_GRP_PRIVILEGE)
    ]
    assert found == []


def test_it_has_no_floating_or_vector_instruction(image: pefile.PE) -> None:
    groups = [
        getattr(capstone.x86, f"X86_GRP_{name}")
        for name in ("FPU", "MMX", "SSE1", "SSE2", "SSE3", "SSE41", "AVX", "AVX2")
    ]
    # Barriers are in SSE's groups, and touch no register of its.
    barriers = {"mfence", "lfence", "sfence", "pause"}
    found = [
        f"{i.address:#x} {i.mnemonic} {i.op_str}"
        for i in instructions(image)
        if i.id and i.mnemonic not in barriers and any(i.group(group) for group in groups)
    ]
    assert found == []


def test_the_instruction_check_sees_code(image: pefile.PE) -> None:
    found = instructions(image)
    assert sum(1 for i in found if i.mnemonic == "ret") > 0
    assert sum(1 for i in found if i.id == 0) < len(found) / 100  # data among the code
