"""The stage of the scenes: a host of ours and a stock node, on a LAN, on a stock relay, or both."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from helpers import netns
from helpers.edge import Edge, eventually
from helpers.speakers import Member
from helpers.stock import StockNode, StockRelay
from helpers.tap import Tap, tap

from xmesh_mesh.canonical import unb64u

Kind = Literal["lan", "relay", "both"]
KINDS: tuple[Kind, ...] = ("lan", "relay", "both")
GROUP, OTHER_GROUP = "lab", "other"


@dataclass
class Stage:
    """``ours`` has one local peer, ``writer``; ``stock`` and it are of one group.

    ``stranger`` is a stock node of another group in the same place. ``relay`` and ``tap`` are there
    on a relay only: what passes between our gateway and the relay can be read in the tap.
    """

    kind: Kind
    root: Path
    ours: Edge
    writer: Member
    stock: StockNode
    stranger: StockNode
    lan: netns.Lan
    our_host: netns.Host
    plan: dict[str, Any]
    options: dict[str, Any]  # of every stock node here
    relay: StockRelay | None = None
    tap: Tap | None = None

    def another(self, name: str, group: str) -> StockNode:
        """Return one more stock node beside the first one; it is still to be started."""
        return StockNode(self.root, name, group, host=self.stock.host, **self.options)

    @property
    def ways(self) -> set[str]:
        """The kinds of links that there are to be between our peer and the stock node."""
        return {"lan", "relay"} if self.kind == "both" else {self.kind}

    def until_met(self) -> None:
        """Return once our peer and the stock node have each other."""
        for way in self.ways:
            self.ours.until_linked(self.writer.name, self.stock.node_id, way, timeout_s=30)
        eventually(self.stock_knows_us, "the stock node has our peer")

    def stock_knows_us(self) -> bool:
        return self.writer.node_id in self.stock.peers()

    def stock_key(self) -> bytes:
        """Return the stock node's public key as its own files say it."""
        (file,) = self.root.glob(f"stock-{self.stock.name}/**/identity.json")
        return unb64u(json.loads(file.read_text())["publicKey"], 32)


@contextmanager
def stage(kind: Kind, root: Path) -> Iterator[Stage]:
    """Set the stage; everything on it has ended afterwards."""
    with ExitStack() as stack:
        lan = stack.enter_context(netns.lan("alice", "bob"))
        places = _on_lan(lan) if kind == "lan" else _on_relay(stack, root, lan, kind)
        ours = stack.enter_context(Edge(root, "ours", places.our_host))
        writer = ours.member("ours-01", GROUP, **places.plan)
        stock, stranger = (
            stack.enter_context(StockNode(root, name, group, host=places.stock_host, **options))
            for name, group, options in (
                ("stock-01", GROUP, places.options),
                ("stranger-01", OTHER_GROUP, places.options),
            )
        )
        yield Stage(
            kind, root, ours, writer, stock, stranger, lan, places.our_host, places.plan,
            places.options, places.relay, places.tap,
        )  # fmt: skip


@dataclass
class _Places:
    our_host: netns.Host
    stock_host: netns.Host
    plan: dict[str, Any]
    options: dict[str, Any]
    relay: StockRelay | None = None
    tap: Tap | None = None


def _on_lan(lan: netns.Lan) -> _Places:
    return _Places(*lan.hosts, {"lan": True}, {})


def _on_relay(stack: ExitStack, root: Path, lan: netns.Lan, kind: Kind) -> _Places:
    """Where there is no LAN, all on one host: without TLS we reach a relay on loopback only."""
    host, far = lan.hosts
    relay = stack.enter_context(StockRelay(root, token="a token", host=host))
    ear = stack.enter_context(tap(root, relay.url, host))
    both = kind == "both"
    plan = {"lan": both, "relay": ear.url, "relay_token": "a token"}
    url = f"ws://{host.address}:{relay.port}"
    options = {"relay": url, "relayToken": "a token", "relayOnly": not both}
    return _Places(host, far, plan, options, relay, ear)
