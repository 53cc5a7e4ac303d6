"""The membrane of a node: verify, then dedupe, then admit, then remember; and the way out.

Everything from outside passes ``receive`` and nothing is believed before its signature has been
checked with the author's pinned key. Time comes as an argument; the stores are the only I/O.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from xmesh_mesh import admission, attesting
from xmesh_mesh.admission import Candidate, Surroundings, Verdict
from xmesh_mesh.anchors import Anchors
from xmesh_mesh.errors import RecordError
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import Introduction, check_introduction, check_remote
from xmesh_mesh.memory import Judged, Memory, Wake
from xmesh_mesh.memory_rows import Judgement
from xmesh_mesh.pins import PinResult, Pins, Trust
from xmesh_mesh.record import Record, compose, decode
from xmesh_mesh.signing import assertion_id, check_unsigned, sign, verify
from xmesh_mesh.wire import secure, transcript

# Nodes that call themselves so are of our kind, on whatever host.
IMPLEMENTATION = "xmesh"

UNSIGNED = "unsigned: anybody may have said it"


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one delivery. ``refused`` is a short code, empty where nothing was wrong."""

    assertion: str
    record: Record | None
    verdict: Verdict | None
    wake: Wake | None
    refused: str = ""


@dataclass
class Node:
    """One agent's place on the mesh. ``judge`` may be replaced by any function of its shape.

    ``asks``: what the judge is unsure of is queued for a second look, whatever it leans to.
    """

    identity: Identity
    group: str
    memory: Memory
    pins: Pins
    charter: str
    weights: Mapping[str, float]
    judge: Callable[[Candidate, Surroundings], Verdict] = field(default=admission.judge)
    trust: Trust = "tofu"
    asks: bool = False
    _remotes: dict[str, Introduction] = field(default_factory=dict, init=False)
    _anchors: Anchors = field(init=False)

    def __post_init__(self) -> None:
        self._anchors = Anchors(self.memory)

    def meet(self, introduction: Introduction) -> PinResult:
        """Pin a member by its signed introduction; raise RecordError where that doesn't hold.

        A node of another host is let in as far as ``trust`` lets it.
        """
        if introduction.group != self.group:
            raise RecordError(
                "wrong-group", f"{introduction.name} is of group {introduction.group}"
            )
        if introduction.origin == "remote":
            return self._meet_remote(introduction)
        key = check_introduction(introduction)
        self._remotes.pop(introduction.node_id, None)
        return self.pins.pin(introduction.node_id, key, introduction.name)

    def _meet_remote(self, introduction: Introduction) -> PinResult:
        key = check_remote(introduction)
        result = self.pins.admit(introduction.node_id, key, introduction.name, self.trust)
        if result in {PinResult.FIRST, PinResult.SAME}:
            self._remotes[introduction.node_id] = introduction
        return result

    def is_remote(self, node_id: str) -> bool:
        return node_id in self._remotes

    def drops_echoes(self, node_id: str) -> bool:
        """Return whether this author takes a reply that cites it as a whole for an echo.

        Deployed nodes drop a record whose block parents include one of their own.
        """
        remote = self._remotes.get(node_id)
        return remote is not None and remote.implementation != IMPLEMENTATION

    def prove(self, role: secure.Role, transcript_bytes: bytes) -> str:
        """Return this node's proof for a handshake of its own; ValueError for anything else."""
        return transcript.prove(self.identity, self.group, role, transcript_bytes)

    def attest(self, author: str, received: "Received", now_ms: int) -> bytes | None:
        """Return a signed statement of the verdict on a record from another host, None where
        there is none to make. Inside ``memory.transaction``, with ``receive``."""
        if received.verdict is None or received.record is None or not self.is_remote(author):
            return None
        key, verdict = received.record.key, received.verdict
        return attesting.state(self.memory, self.identity, self.group, key, verdict, now_ms)

    def receive(
        self, author: str, data: bytes, *, seq: int, now_ms: int, may_wake: bool = True
    ) -> Received:
        """Take in one delivery; store it with its verdict. Inside ``memory.transaction``.

        ``author`` is the node id that the bus names; it counts only as far as the signature
        proves it. ``may_wake`` is False for what is old news to this node.
        """
        try:
            record = self._checked(author, data)
        except RecordError as error:
            return Received("", None, None, None, error.code)
        assertion = assertion_id(record)
        if self.memory.knows(assertion):
            return Received(assertion, record, None, None, "duplicate")
        verdict = self._judged(author, record, now_ms)
        own = author == self.identity.node_id
        judged = Judged(
            author=author,
            own=own,
            directed=record.to == self.identity.node_id,
            admitted=verdict.admitted or own,
            verdict=verdict.decision,
            drift=verdict.drift,
            reasons=verdict.reasons if record.sig else (*verdict.reasons, UNSIGNED),
            fields=_fields_json(verdict),
            mood=verdict.mood,
            judgement=_judgement(verdict),
        )
        wakes = (verdict.admitted or self._is_asked_about(verdict)) and may_wake and not own
        wake = self.memory.remember(
            record, assertion, judged, wire=data, seq=seq, now_ms=now_ms, wakes=wakes
        )
        return Received(assertion, record, verdict, wake)

    def _checked(self, author: str, data: bytes) -> Record:
        key = self.pins.key(author)
        if key is None and not self._is_open_to(author):
            raise RecordError("unknown-author", f"nobody has introduced {author}")
        record = decode(data)
        self._verify(author, key, record)
        if record.created_by != self._name(author) or record.created_by_node_id not in {
            None,
            author,
        }:
            raise RecordError("wrong-author", f"{author} signs as {record.created_by}")
        if record.group != self.group:
            raise RecordError("wrong-audience", f"the record is for group {record.group}")
        if record.to is not None and record.to != self.identity.node_id:
            raise RecordError("wrong-recipient", f"the record is for {record.to}")
        return record

    def _verify(self, author: str, key: bytes | None, record: Record) -> None:
        """SignatureError unless the author signed it, or may still speak without signing."""
        if key is None or (record.sig is None and self._is_open_to(author)):
            check_unsigned(record)
            return
        verify(record, key)
        if self.is_remote(author):
            self.pins.note_signed(author)

    def _is_open_to(self, author: str) -> bool:
        unsigned = self.trust == "open" and self.is_remote(author)
        return unsigned and not self.pins.has_signed(author)

    def _name(self, author: str) -> str | None:
        remote = self._remotes.get(author)
        return self.pins.name(author) or (remote.name if remote else None)

    def _is_asked_about(self, verdict: Verdict) -> bool:
        return self.asks and verdict.insight is not None and not verdict.insight.sure

    def _judged(self, author: str, record: Record, now_ms: int) -> Verdict:
        candidate = Candidate(
            record=record,
            age_s=max(0, now_ms - record.created_ms) / 1000,
            directed=record.to == self.identity.node_id,
        )
        held = self._anchors.around(record, author, self.identity.name, self.charter, self.weights)
        return self.judge(candidate, held)

    def compose(
        self,
        texts: Mapping[str, str],
        *,
        now_ms: int,
        parents: tuple[str, ...] = (),
        to: str | None = None,
        by_field: bool = False,
    ) -> tuple[Record, str]:
        """Build and sign an own record; return it with its assertion id. Nothing is stored yet.

        ``by_field`` cites the parents in every field that says something, instead of once for the
        whole: for authors that would take it for an echo (see ``drops_echoes``).
        """
        block = () if by_field else parents
        record = compose(
            texts,
            created_by=self.identity.name,
            created_ms=now_ms,
            group=self.group,
            to=to,
            parents=block,
            category_parents=dict.fromkeys(texts, parents) if by_field else {},
            method="SVAF-v2" if block else None,
        )
        signed = sign(record, self.identity.seed)
        return signed, assertion_id(signed)


def _judgement(verdict: Verdict) -> Judgement | None:
    insight = verdict.insight
    if insight is None:
        return None
    seen = {name: round(value, 4) for name, value in insight.values.items() if value}
    return Judgement(
        insight.kernel, insight.label, insight.sure, msgspec.json.encode(seen).decode()
    )


def _fields_json(verdict: Verdict) -> str:
    """Return the per-field verdicts as they are stored and shown by ``why``."""
    nearest = dict(_nearest(verdict))
    rows = {
        entry.field: {
            "verdict": entry.verdict,
            "drift": None if entry.drift is None else round(entry.drift, 4),
            "affinity": round(verdict.per_field.get(entry.field, 0.0), 4),
            "weight": entry.weight,
            "nearest": nearest.get(entry.field, ""),
        }
        for entry in verdict.reference.fields
    }
    return msgspec.json.encode(rows).decode()


def _nearest(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Yield each field with the key of the anchor that is nearest to it."""
    insight = verdict.insight
    for entry in insight.fields if insight else ():
        if insight and entry.index >= 0:
            yield entry.name, insight.anchors[entry.index]
