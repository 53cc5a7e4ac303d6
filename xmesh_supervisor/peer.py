"""A peer as the supervisor knows it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from xmesh_supervisor.child import Child
from xmesh_supervisor.lifecycle import ALIVE, Desired, State
from xmesh_supervisor.spec import Spec

__all__ = ["Peer"]


@dataclass(slots=True)
class Peer:
    """A peer that somebody named: what it is (``spec``), its run, and its process' shell."""

    spec: Spec
    child: Child
    run: str

    @property
    def is_up(self) -> bool:
        """Whether it runs, or soon does again."""
        return self.child.desired is Desired.RUN and self.child.state in ALIVE | {State.BACKOFF}

    def variables(self, lift: str | None, keys: Mapping[str, str]) -> dict[str, str]:
        """Return what its environment says to it alone: plan, run, the tombstone that its start
        lifts, and its model's key, which may stand in our own environment."""
        own = {"XMESH_PLAN": self.spec.plan, "XMESH_RUN": self.run}
        if self.spec.encoder:
            own["XMESH_ENCODER"] = "expected"
        if lift is not None:
            own["XMESH_LIFT"] = lift
        variable = self.spec.key_env
        value = keys.get(variable) or os.environ.get(variable, "")
        return {**own, variable: value} if variable and value else own
