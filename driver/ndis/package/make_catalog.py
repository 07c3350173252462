"""Writes an unsigned security catalog: the hashes of a driver package's files, as Windows wants them signed together.

`make_catalog.py --hardware-id ID --out FILE.cat FILE...`. The format is a certificate trust list in a PKCS #7
signedData without signers, which osslsigncode fills in: version 2 of the catalog's members, SHA-256. Portable
executables are hashed by the Authenticode rules (Microsoft, "Windows Authenticode Portable Executable Signature
Format"), everything else as it is. That Windows takes the catalog was never seen.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import struct
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from asn1crypto import core

CATALOG_LIST = "1.3.6.1.4.1.311.12.1.1"
CATALOG_MEMBER_V2 = "1.3.6.1.4.1.311.12.1.3"
NAME_VALUE = "1.3.6.1.4.1.311.12.2.1"
MEMBER_INFO_V2 = "1.3.6.1.4.1.311.12.2.3"
INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
PE_IMAGE_DATA = "1.3.6.1.4.1.311.2.1.15"
FLAT_DATA = "1.3.6.1.4.1.311.2.1.25"
TRUST_LIST = "1.3.6.1.4.1.311.10.1"
SHA256 = "2.16.840.1.101.3.4.2.1"
TEXT_IN_CATALOG = 0x10010001  # attribute flags: authenticated, replaced, plain text


class Algorithm(core.Sequence):
    _fields = [("algorithm", core.ObjectIdentifier), ("parameters", core.Null)]


class DigestInfo(core.Sequence):
    _fields = [("algorithm", Algorithm), ("digest", core.OctetString)]


class TypeAndValue(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("value", core.Any)]


class IndirectData(core.Sequence):
    _fields = [("data", TypeAndValue), ("digest", DigestInfo)]


class NameValue(core.Sequence):
    _fields = [("name", core.BMPString), ("flags", core.Integer), ("value", core.OctetString)]


class Values(core.SetOf):
    _child_spec = core.Any


class Attribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("values", Values)]


class Attributes(core.SetOf):
    _child_spec = Attribute


class Member(core.Sequence):
    _fields = [("identifier", core.OctetString), ("attributes", Attributes)]


class Members(core.SequenceOf):
    _child_spec = Member


class Usage(core.SequenceOf):
    _child_spec = core.ObjectIdentifier


class Extension(core.Sequence):
    _fields = [("id", core.ObjectIdentifier), ("value", core.OctetString)]


class Extensions(core.SequenceOf):
    _child_spec = Extension


class TrustList(core.Sequence):
    _fields = [
        ("usage", Usage),
        ("identifier", core.OctetString),
        ("made", core.UTCTime),
        ("algorithm", Algorithm),
        ("members", Members),
        ("extensions", Extensions, {"explicit": 0}),
    ]


class TrustListContent(core.Sequence):
    _fields = [("content_type", core.ObjectIdentifier), ("content", TrustList, {"explicit": 0})]


class DigestAlgorithms(core.SetOf):
    _child_spec = Algorithm


class Nothing(core.SetOf):
    _child_spec = core.Any


class SignedData(core.Sequence):
    _fields = [
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("content", TrustListContent),
        ("signers", Nothing),
    ]


class SignedContent(core.Sequence):
    _fields = [("content_type", core.ObjectIdentifier), ("content", SignedData, {"explicit": 0})]


def image_digest(data: bytes) -> bytes:
    """Authenticode's hash of a portable executable: all of it but its checksum and its signature."""
    header = struct.unpack_from("<I", data, 0x3C)[0]
    optional = header + 24
    is_64_bit = struct.unpack_from("<H", data, optional)[0] == 0x20B
    checksum = optional + 64
    security = optional + (112 if is_64_bit else 96) + 4 * 8
    signature, signature_size = struct.unpack_from("<II", data, security)
    end = signature if signature_size else len(data)
    hashed = data[:checksum] + data[checksum + 4 : security] + data[security + 8 : end]
    return hashlib.sha256(hashed + b"\0" * (-len(data[:end]) % 8)).digest()


def attribute(kind: str, value: core.Asn1Value) -> Attribute:
    return Attribute({"type": kind, "values": Values([core.Any(value)])})


def name_value(name: str, value: str) -> NameValue:
    return NameValue({"name": name, "flags": TEXT_IN_CATALOG, "value": (value + "\0").encode("utf-16-le")})


def sha256() -> Algorithm:
    return Algorithm({"algorithm": SHA256, "parameters": core.Null()})


def indirect_data(digest: bytes, is_image: bool) -> IndirectData:
    # What an image or a file "is" has been a constant in all signatures for long: a link to <<<Obsolete>>>.
    text = "<<<Obsolete>>>".encode("utf-16-be")
    link = bytes([0xA2, len(text) + 2, 0x80, len(text)]) + text
    if is_image:
        no_flags = b"\x03\x01\x00"
        content = no_flags + bytes([0xA0, len(link)]) + link
        link = bytes([0x30, len(content)]) + content
    return IndirectData(
        {
            "data": TypeAndValue({"type": PE_IMAGE_DATA if is_image else FLAT_DATA, "value": core.Any.load(link)}),
            "digest": DigestInfo({"algorithm": sha256(), "digest": digest}),
        }
    )


def member(path: Path) -> Member:
    data = path.read_bytes()
    is_image = data[:2] == b"MZ"
    digest = image_digest(data) if is_image else hashlib.sha256(data).digest()
    return Member(
        {
            "identifier": digest,
            "attributes": Attributes(
                [
                    attribute(NAME_VALUE, name_value("File", path.name)),
                    attribute(MEMBER_INFO_V2, core.Null(tag_type="implicit", tag=0)),
                    attribute(INDIRECT_DATA, indirect_data(digest, is_image)),
                ]
            ),
        }
    )


def catalog(paths: Sequence[Path], hardware_id: str, made: datetime.datetime) -> bytes:
    members = sorted((member(path) for path in paths), key=lambda each: bytes(each["identifier"]))
    digest = hashlib.sha256(b"".join(bytes(each["identifier"]) for each in members)).digest()
    about = [name_value("OS", "10_X64"), name_value("OSAttr", "2:10.0"), name_value("HWID1", hardware_id)]
    trust_list = TrustList(
        {
            "usage": Usage([CATALOG_LIST]),
            "identifier": uuid.UUID(bytes=digest[:16]).bytes_le,
            "made": made,
            "algorithm": Algorithm({"algorithm": CATALOG_MEMBER_V2, "parameters": core.Null()}),
            "members": Members(members),
            "extensions": Extensions([Extension({"id": NAME_VALUE, "value": each.dump()}) for each in about]),
        }
    )
    return SignedContent(
        {
            "content_type": "1.2.840.113549.1.7.2",
            "content": SignedData(
                {
                    "version": 1,
                    "digest_algorithms": DigestAlgorithms([]),
                    "content": TrustListContent({"content_type": TRUST_LIST, "content": trust_list}),
                    "signers": Nothing([]),
                }
            ),
        }
    ).dump()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes an unsigned security catalog of a driver package's files.")
    parser.add_argument("--hardware-id", required=True, help="of the devices that the package is for")
    parser.add_argument("--out", type=Path, required=True, help="the catalog to write")
    parser.add_argument("files", type=Path, nargs="+", help="what it vouches for")
    options = parser.parse_args(arguments)
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", options.files[0].stat().st_mtime))
    made = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    options.out.write_bytes(catalog(options.files, options.hardware_id.lower(), made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
