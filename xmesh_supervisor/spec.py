"""What the supervisor needs to know about a peer; everything else it hands on unread."""

from typing import Literal

import msgspec

from xmesh_supervisor.restarts import Policy

__all__ = ["Edge", "Spec"]


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a peer meets other hosts. ``relay`` is an address, empty for none; its token travels
    with the models' keys."""

    group: str
    lan: bool
    relay: str
    trust: Literal["tofu", "strict", "open"]

    @property
    def goes_out(self) -> bool:
        return self.lan or bool(self.relay)


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One peer to run. ``plan`` is its PeerPlan as JSON, without any key; the supervisor never
    looks into it. ``key_env`` names the variable that carries its model's key, or is empty."""

    name: str
    plan: str
    adapter: str = ""
    model: str = ""
    key_env: str = ""
    restart: Literal["on-failure", "always", "never"] = "on-failure"
    max_restarts: int = 5
    window_s: float = 60.0
    stop_timeout_s: float = 10.0
    log_bytes: int = 5 * 1024 * 1024
    log_keep: int = 5
    encoder: bool = False
    """Whether it judges with vectors of the host's encoder process."""
    edge: Edge | None = None

    @property
    def policy(self) -> Policy:
        return Policy(self.restart, self.max_restarts, self.window_s)

    @property
    def model_text(self) -> str:
        """Return what the MODEL column shows."""
        return "/".join(part for part in (self.adapter, self.model) if part)
