"""The gateway's requests: who is out there, proofs of members, collisions; and attestations."""

from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.bus.core import Session
from xmesh_mesh.bus.proofs import Proofs
from xmesh_mesh.bus.registry import Registry
from xmesh_mesh.errors import RecordError
from xmesh_mesh.introduction import Introduction, check_remote

__all__ = ["MAX_REMOTES", "Edge"]

# Remote nodes that are known in one group. A node that is gone for good is removed by a person.
MAX_REMOTES = 1_024


class Edge:
    """What only a gateway may ask is refused to everybody else, as ``not-a-gateway``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._proofs = Proofs()

    def introduce(self, route: bytes, request: edge_frames.Introduce) -> None:
        """Within a batch."""
        gateway = self._gateway(route, request.request)
        if gateway is None:
            return
        refusal = self._objection(gateway, request.introduction)
        if refusal:
            self._registry.refuse(route, request.request, *refusal)
            return
        self._registry.introduce(request.introduction)
        self._registry.answer(route, frames.Accepted(request.request, 0))

    def _objection(self, gateway: Session, intro: Introduction) -> tuple[str, str] | None:
        try:
            check_remote(intro)
        except RecordError as error:
            return "bad-introduction", str(error)
        registry = self._registry
        if intro.group != gateway.group:
            return "bad-introduction", f"{intro.name} is of {intro.group}, not of {gateway.group}"
        if registry.is_local(intro.node_id):
            return "own-node", f"{intro.node_id} is a node of this host"
        known = (intro.group, intro.node_id) in registry.introductions
        if not known and self._remotes(intro.group) >= MAX_REMOTES:
            return "too-many-remotes", f"{MAX_REMOTES} remote nodes are known in {intro.group}"
        return None

    def _remotes(self, group: str) -> int:
        return sum(each.origin == "remote" for each in self._registry.present(group))

    def prove(self, route: bytes, request: edge_frames.Prove, mono_ms: int) -> None:
        gateway = self._gateway(route, None)
        if gateway is None:
            return
        member = self._registry.sessions.member(request.node_id)
        if member is None or member.group != gateway.group:
            self._registry.answer(route, edge_frames.Unproved(request.proof, "not-connected"))
            return
        token = self._proofs.ask(route, request.proof, member.route, mono_ms)
        if token is None:
            self._registry.answer(route, edge_frames.Unproved(request.proof, "busy"))
            return
        asked = edge_frames.ProofAsked(token, request.role, request.transcript)
        self._registry.answer(member.route, asked)

    def proof(self, route: bytes, answer: edge_frames.Proof) -> None:
        """Pass a member's answer on; one that nobody asked for, or too late, is nobody's."""
        asked = self._proofs.answered(answer.token, route)
        if asked is None:
            return
        if answer.sig:
            self._registry.answer(asked.gateway, edge_frames.Proved(asked.proof, answer.sig))
        else:
            self._registry.answer(asked.gateway, edge_frames.Unproved(asked.proof, "declined"))

    def collide(self, route: bytes, request: edge_frames.Collide) -> None:
        """End the member's session for good: its process ends on the refusal."""
        gateway = self._gateway(route, None)
        member = self._registry.sessions.member(request.node_id)
        if gateway is None or member is None or member.group != gateway.group:
            return
        self._registry.end(member.route)
        self._registry.refuse(member.route, None, "collision", request.text)

    def attest(self, route: bytes, request: edge_frames.Attest) -> None:
        session = self._registry.sessions.get(route)
        if session is None or session.role != "member":
            code = "not-a-member" if session else "no-session"
            self._registry.refuse(route, None, code)
            return
        attested = edge_frames.Attested(session.node_id, request.statement)
        for gateway in self._registry.sessions.gateways(session.group):
            self._registry.answer(gateway.route, attested)

    def tick(self, mono_ms: int) -> None:
        """Tell the gateway which proofs will not come."""
        for asked, code in self._proofs.overdue(mono_ms, self._lives):
            self._registry.answer(asked.gateway, edge_frames.Unproved(asked.proof, code))

    def wait_ms(self, mono_ms: int) -> int | None:
        return self._proofs.wait_ms(mono_ms)

    def _lives(self, route: bytes) -> bool:
        return self._registry.sessions.get(route) is not None

    def _gateway(self, route: bytes, request: int | None) -> Session | None:
        session = self._registry.sessions.get(route)
        if session is not None and session.role == "gateway":
            return session
        if session is None:
            self._registry.refuse(route, None, "no-session")
        else:
            self._registry.refuse(route, request, "not-a-gateway")
        return None
