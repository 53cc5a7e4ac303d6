"""The stage of the scenes: a host of ours and a stock node, on a LAN or on a stock relay."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from helpers import netns
from helpers.edge import Edge, Member, eventually
from helpers.stock import StockNode, StockRelay
from helpers.tap import Tap, tap

from xmesh_mesh.canonical import unb64u

Kind = Literal["lan", "relay"]
KINDS: tuple[Kind, ...] = ("lan", "relay")
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
    our_host: netns.Host
    plan: dict[str, Any]
    options: dict[str, Any]  # of every stock node here
    relay: StockRelay | None = None
    tap: Tap | None = None

    def another(self, name: str, group: str) -> StockNode:
        """Return one more stock node beside the first one; it is still to be started."""
        return StockNode(self.root, name, group, host=self.stock.host, **self.options)

    def until_met(self) -> None:
        """Return once our peer and the stock node have each other."""
        self.ours.until_linked(self.writer.name, self.stock.node_id, self.kind)
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
        places = _on_lan(lan) if kind == "lan" else _on_relay(stack, root, lan)
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
            kind, root, ours, writer, stock, stranger, places.our_host, places.plan,
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


def _on_relay(stack: ExitStack, root: Path, lan: netns.Lan) -> _Places:
    """All on one host: without TLS, a relay is reached on loopback only."""
    host = lan.hosts[0]
    relay = stack.enter_context(StockRelay(root, token="a token", host=host))
    ear = stack.enter_context(tap(root, relay.url, host))
    plan = {"lan": False, "relay": ear.url, "relay_token": "a token"}
    options = {"relay": relay.url, "relayToken": "a token", "relayOnly": True}
    return _Places(host, host, plan, options, relay, ear)
