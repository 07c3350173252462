"""Arguments of TunDevice, checked before anything has changed: TypeError or ValueError, with what would be right."""

from __future__ import annotations

import operator
import os
import uuid
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import Optional, Union

IPAddress = Union[str, IPv4Address, IPv6Address, IPv4Interface, IPv6Interface]
"""An address that a device is given: without a prefix it means /24 or /64."""

IPInterface = Union[IPv4Interface, IPv6Interface]
"""An address of a device, with its prefix."""

NAME_LIMIT = 127  # characters, of the ABI
MIN_CAPACITY, MAX_CAPACITY = 0x20000, 0x4000000  # bytes
MIN_MTU, MAX_MTU = 68, 65535  # bytes; RFC 791 has the lower one
MIN_MTU_IPV6 = 1280  # RFC 8200
DEFAULT_PREFIX = {4: 24, 6: 64}


def text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what}: a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what}: empty; 1 to {NAME_LIMIT} characters")
    if len(value) > NAME_LIMIT:
        raise ValueError(f"{what}: 1 to {NAME_LIMIT} characters, not {len(value)}")
    if "\0" in value:
        raise ValueError(f"{what}: no null character, as {value!r} has")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what}: {value!r} is no valid text (a lone surrogate)") from None
    return value


def number(what: str, value: object) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{what}: an int, not bool")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what}: an int, not {type(value).__name__}") from None


def ring_capacity(value: object) -> int:
    capacity = number("ring_capacity", value)
    if not MIN_CAPACITY <= capacity <= MAX_CAPACITY or capacity & (capacity - 1):
        raise ValueError(
            f"ring_capacity: a power of two from {MIN_CAPACITY:#x} to {MAX_CAPACITY:#x} bytes, not {capacity:#x}"
        )
    return capacity


def mtu(value: object, has_ipv6: bool) -> int:
    size = number("mtu", value)
    if not MIN_MTU <= size <= MAX_MTU:
        raise ValueError(f"mtu: {MIN_MTU} to {MAX_MTU} bytes, not {size}")
    if has_ipv6 and size < MIN_MTU_IPV6:
        raise ValueError(
            f"mtu: IPv6 needs {MIN_MTU_IPV6} bytes at least, not {size}, and the device has an IPv6 address; "
            "remove it first"
        )
    return size


def guid(value: object) -> Optional[bytes]:
    if value is None:
        return None
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, str):
        try:
            return uuid.UUID(value).bytes
        except ValueError:
            raise ValueError(f"guid: {value!r} is no GUID") from None
    raise TypeError(f"guid: a uuid.UUID, a str or None, not {type(value).__name__}")


def backend(value: object) -> str:
    source = "backend"
    if value is None:
        source, value = "WINTUN_BACKEND", os.environ.get("WINTUN_BACKEND") or "kernel"
    if not isinstance(value, str):
        raise TypeError(f"backend: 'kernel', 'embedded' or None, not {type(value).__name__}")
    if value not in ("kernel", "embedded"):
        raise ValueError(f"{source}: 'kernel' or 'embedded', not {value!r}")
    return value


def address(what: str, value: object, family: Optional[int] = None) -> IPInterface:
    """With the default prefix where none was given. `family`: only this one, 4 or 6."""
    if isinstance(value, (IPv4Interface, IPv6Interface)):
        result: IPInterface = value
    elif isinstance(value, (IPv4Address, IPv6Address)):
        result = ip_interface((str(value), DEFAULT_PREFIX[value.version]))
    elif isinstance(value, str):
        try:
            if "/" in value:
                result = ip_interface(value)
            else:
                plain = ip_interface(value)
                result = ip_interface((value, DEFAULT_PREFIX[plain.version]))
        except ValueError as error:
            raise ValueError(f"{what}: {value!r} is no IP address, with or without a prefix ({error})") from None
    else:
        raise TypeError(f"{what}: a str or an object of ipaddress, not {type(value).__name__}")
    if family is not None and result.version != family:
        raise ValueError(f"{what}: an IPv{family} address, not {value!s}")
    if getattr(result, "scope_id", None):
        raise ValueError(f"{what}: {value!s} names a scope; an address of the device has none")
    if result.ip.is_unspecified or result.ip.is_multicast:
        raise ValueError(f"{what}: {value!s} can be no address of a device")
    return result
