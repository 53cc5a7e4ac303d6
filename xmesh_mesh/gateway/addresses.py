"""Where this host is on the LAN: its IPv4 addresses, or the ones it is told to use.

``XMESH_LAN_ADDRESSES`` names addresses, with commas between: the gateway listens and announces
itself there and nowhere else. A loopback address alone means this host only: nothing is announced.
"""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Final

import psutil

from xmesh_mesh.errors import ConfigError

__all__ = ["VARIABLE", "chosen_addresses", "lan_addresses"]

VARIABLE: Final = "XMESH_LAN_ADDRESSES"


def chosen_addresses(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the environment says, nothing where it says nothing; ConfigError."""
    texts = [text.strip() for text in env.get(VARIABLE, "").split(",") if text.strip()]
    try:
        return tuple(str(ipaddress.IPv4Address(text)) for text in texts)
    except ValueError as error:
        fix = "name IPv4 addresses of this host, with commas between"
        raise ConfigError(str(error), where=VARIABLE, fix=fix) from None


def lan_addresses(chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses to announce now: of interfaces that are up, loopback left out."""
    present = chosen or tuple(_present())
    return tuple(sorted(text for text in present if not ipaddress.ip_address(text).is_loopback))


def _present() -> list[str]:
    stats = psutil.net_if_stats()
    return [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in stats and stats[name].isup
        for address in addresses
        if address.family is socket.AF_INET
    ]
