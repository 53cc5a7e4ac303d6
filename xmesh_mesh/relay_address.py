"""Which addresses of a relay may be used. Importing this costs nothing."""

import ipaddress
from urllib.parse import urlsplit

__all__ = ["PLAIN_RELAYS", "RELAY_FIX", "relay_objection"]

PLAIN_RELAYS = "XMESH_PLAIN_RELAYS"  # "1" in the environment: a relay elsewhere may do without TLS
RELAY_FIX = "write it like wss://relay.example.org; ws:// only for a relay on this host"


def relay_objection(url: str, *, plain_allowed: bool = False) -> str:
    """Return why ``url`` cannot be a relay's address; empty where it can.

    What is said on a relay is partly in the clear, its token always: beyond this host only TLS,
    unless ``plain_allowed``.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        return "is no address of a relay"
    if parts.scheme == "ws" and not plain_allowed and not _is_loopback(parts.hostname or ""):
        return "is not encrypted, and not on this host"
    return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
