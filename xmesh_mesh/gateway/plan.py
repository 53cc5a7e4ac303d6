"""What the supervisor asks of the gateway: which local peers are on the wire, and how."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import check_group, check_name
from xmesh_mesh.pins import Trust

__all__ = ["MAX_PEERS", "PeerPlan", "read_plan"]

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
