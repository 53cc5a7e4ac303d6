"""How many connections there may be, in all and from one address. Pure."""

from collections import Counter
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from xmesh_mesh.errors import ConfigError

__all__ = ["Door", "is_loopback", "party", "proxy_address"]


class Door:
    """Counts by party: an IPv4 address, or the /64 that an IPv6 host has to itself.

    A connection of a reverse proxy (a loopback address, or one of ``proxies``) counts for the
    party that the proxy names.
    """

    def __init__(self, connections: int, per_address: int, proxies: AbstractSet[str]) -> None:
        self._connections = connections
        self._per_address = per_address
        self._proxies = proxies
        self._open = 0
        self._by_party: Counter[str] = Counter()

    def is_proxy(self, address: str) -> bool:
        return is_loopback(address) or str(_address(address)) in self._proxies

    def open(self) -> bool:
        """Count one more connection; False: there are too many. ``shut`` it in any case."""
        self._open += 1
        return self._open <= self._connections

    def shut(self) -> None:
        self._open -= 1

    def enter(self, party: str) -> bool:
        """Count a connection of ``party``, or return False where it has too many."""
        if self._by_party[party] >= self._per_address:
            return False
        self._by_party[party] += 1
        return True

    def leave(self, party: str) -> None:
        self._by_party[party] -= 1
        if not self._by_party[party]:
            del self._by_party[party]


def party(address: str, forwarded: str = "") -> str:
    """Return who ``address`` is, or whom a proxy there names last in ``X-Forwarded-For``."""
    named = _address(forwarded.rpartition(",")[2].strip())
    found = named or _address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return str(found or address)


def is_loopback(address: str) -> bool:
    found = _address(address)
    return found is not None and found.is_loopback


def proxy_address(text: str) -> str:
    """Return the address of a proxy as connections show it; ConfigError where it is none."""
    found = _address(text)
    if found is None:
        fix = "give an IP address, such as 10.0.0.1; loopback addresses are proxies already"
        raise ConfigError(f"{text!r} is no IP address", where="--proxy", fix=fix)
    return str(found)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
