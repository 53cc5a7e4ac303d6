"""What the supervisor asks of the gateway: which local peers are on the wire, and how."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import check_group, check_name
from xmesh_mesh.pins import Trust
from xmesh_mesh.relay.door import is_loopback

__all__ = ["MAX_PEERS", "PeerPlan", "read_plan", "relay_objection"]

MAX_PEERS = 256

_Text = Annotated[str, Meta(max_length=1_024)]


class PeerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One local peer. ``relay`` is the URL of a relay, empty for none."""

    name: _Text
    group: _Text
    lan: bool = True
    relay: _Text = ""
    relay_token: _Text = ""
    trust: Trust = "tofu"


class _Request(msgspec.Struct):
    peers: Annotated[list[PeerPlan], Meta(max_length=MAX_PEERS)]


def read_plan(request: dict[str, Any]) -> dict[str, PeerPlan]:
    """Return the peers by name; ConfigError where the request is no plan."""
    try:
        peers = msgspec.convert(request, _Request).peers
    except msgspec.ValidationError as error:
        raise ConfigError(f"this is no plan: {error}", where="plan") from None
    for peer in peers:
        check_name(peer.name, where="plan")
        check_group(peer.group, where="plan")
    plan = {peer.name: peer for peer in peers}
    if len(plan) != len(peers):
        raise ConfigError("a peer stands in the plan twice", where="plan")
    return plan


def relay_objection(url: str, *, plain_allowed: bool) -> str:
    """Return why no connection is made to ``url``, empty where nothing speaks against it.

    The login, and with it the token, goes over it in clear unless TLS hides it.
    """
    try:
        parts = urlsplit(url)
        host, port_is_fine = parts.hostname or "", parts.port is None or parts.port > 0
    except ValueError:
        return "this is no URL"
    if parts.scheme not in {"ws", "wss"} or not host or not port_is_fine:
        return "a relay's address begins with ws:// or wss:// and names a host"
    if parts.scheme == "wss" or plain_allowed or host == "localhost" or is_loopback(host):
        return ""
    return "beyond this host a relay is reached by wss:// only"
