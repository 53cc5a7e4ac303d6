"""DNS-SD as deployed nodes expect it: the names of services, and what their TXT says.

An instance's name is the node id. The TXT of ours has one key more, ``secure-port``, where Core
Secure is spoken; deployed nodes don't look at it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xmesh_mesh.canonical import b64u
from xmesh_mesh.introduction import MAX_NAME
from xmesh_mesh.wire.trust import Self

__all__ = ["Sighting", "group_type", "read_txt", "service_type", "txt"]

SECURE_PORT: Final = "secure-port"
_DOMAIN: Final = "local."
_MAX_ADDRESSES: Final = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    """A node that somebody says is there. Nothing of it is proven."""

    node_id: str
    name: str
    addresses: tuple[str, ...]
    port: int | None  # plain MMP
    secure_port: int | None  # Core Secure; only ours have one


def group_type(group: str) -> str:
    """Return the service type of a group, such as ``_lab._tcp``."""
    return f"_{'sym' if group == 'default' else group}._tcp"


def service_type(group: str) -> str:
    """Return the same with its domain, as multicast DNS has it."""
    return f"{group_type(group)}.{_DOMAIN}"


def txt(own: Self, hostname: str, secure_port: int) -> dict[str, str]:
    """Return what the TXT record of a local peer says."""
    return {
        "node-id": own.node_id,
        "node-name": own.name,
        "public-key": b64u(own.public_key),
        "hostname": hostname,
        SECURE_PORT: str(secure_port),
    }


def read_txt(
    properties: Mapping[bytes, bytes | None], addresses: list[str], port: int
) -> Sighting | None:
    """Return whom a service announces, None where it does not say so properly."""
    node_id = _text(properties, b"node-id", 36)
    if not node_id or not addresses or not 0 < port < 65_536:
        return None
    name = _text(properties, b"node-name", MAX_NAME)
    secure = _port(_text(properties, SECURE_PORT.encode(), 5))
    return Sighting(node_id, name, tuple(addresses[:_MAX_ADDRESSES]), port, secure)


def _text(properties: Mapping[bytes, bytes | None], key: bytes, limit: int) -> str:
    value = properties.get(key) or b""
    return value.decode(errors="replace") if len(value) <= limit else ""


def _port(text: str) -> int | None:
    is_port = text.isascii() and text.isdigit() and 0 < int(text) < 65_536
    return int(text) if is_port else None
