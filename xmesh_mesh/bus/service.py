"""The bus without its socket: requests of many clients in, answers and deliveries out.

Requests come in batches. What a batch writes is committed once, and nobody is answered before.
When the journal cannot be written, whoever needed it is told so and tries again; the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.bus.core import Recent, Session
from xmesh_mesh.bus.delivery import Delivery, Outlet
from xmesh_mesh.bus.edge import Edge
from xmesh_mesh.bus.joining import CONTEST_STEP_MS, Joining
from xmesh_mesh.bus.journal import Entry, Journal, JournalUnavailable, Member
from xmesh_mesh.bus.registry import Registry
from xmesh_mesh.bus.upkeep import Log, Upkeep
from xmesh_mesh.errors import RecordError

__all__ = ["Now", "Service"]

# How often connections are looked for that ended without a word and were sent nothing since.
SWEEP_MS = 60_000

Incoming = tuple[bytes, frames.Request]


class Now(NamedTuple):
    """``mono_ms`` for intervals, ``wall_ms`` for what is written down."""

    mono_ms: int
    wall_ms: int


class Service:
    """Raises JournalDamaged where the journal is of no more use; a new Service must take over."""

    def __init__(self, journal: Journal, outlet: Outlet, log: Log, pid: int, now: Now) -> None:
        self._journal = journal
        self._outlet = outlet
        self._pid = pid
        self._now = now
        self._registry = Registry(journal, outlet)
        self._sessions = self._registry.sessions
        self._recent = Recent(journal.head)
        self._upkeep = Upkeep(journal, log, now.mono_ms)
        self._delivery = Delivery(journal, self._recent, outlet, self._registry.end)
        self._joining = Joining(self._registry, self._upkeep)
        self._edge = Edge(self._registry)
        self._sweep_due_ms = now.mono_ms + SWEEP_MS
        self._fresh: list[tuple[str, Entry]] = []

    def handle(self, batch: Sequence[tuple[bytes, bytes]], now: Now) -> None:
        """Do what the frames ask for. Never raises for anything that a client sends."""
        incoming: list[Incoming] = []
        for route, data in batch:
            try:
                incoming.append((route, frames.decode_request(data)))
            except RecordError as error:
                self._registry.refuse(route, None, "malformed", str(error)[:200])
        self._process(incoming, now)

    def tick(self, now: Now) -> None:
        """Do what is due: contests, proofs, deliveries that are left, cursors, retention."""
        self._edge.tick(now.mono_ms)
        self._process(self._joining.contested(), now)
        if now.mono_ms >= self._sweep_due_ms:
            self._sweep_due_ms = now.mono_ms + SWEEP_MS
            self._registry.sweep()
        if self._upkeep.run(now.mono_ms, now.wall_ms):
            self._registry.load_members()

    def wait_ms(self, now: Now) -> int:
        """Return how long nothing is due, if nobody says anything."""
        if self._delivery.hungry:
            return 0
        waits = [max(0, self._sweep_due_ms - now.mono_ms), self._upkeep.wait_ms(now.mono_ms)]
        proofs = self._edge.wait_ms(now.mono_ms)
        waits += [] if proofs is None else [proofs]
        waits += [CONTEST_STEP_MS] if self._joining.contested() else []
        return min(waits)

    def dismiss(self) -> None:
        """Tell everybody to say Hello again: this service ends and another takes over."""
        refusal = frames.encode(frames.Refused(None, "no-session", "the journal was replaced"))
        for session in self._sessions:
            self._outlet.send(session.route, refusal)

    def close(self) -> None:
        """Write the cursors a last time, where that is possible."""
        self._upkeep.write_cursors()

    def _process(self, incoming: Sequence[Incoming], now: Now) -> None:
        self._now = now
        try:
            self._write(incoming)
        except JournalUnavailable as error:
            self._take_back(incoming, error)
        self._recent_grows()
        self._registry.send_answers()
        self._delivery.run(self._sessions, self._upkeep, now.mono_ms)

    def _write(self, incoming: Sequence[Incoming]) -> None:
        if not any(isinstance(request, _WRITES) for _, request in incoming):
            self._dispatch(incoming)
            return
        with self._journal.batch():
            self._dispatch(incoming)
            self._upkeep.go_along(self._now.mono_ms)
        self._upkeep.written()

    def _take_back(self, incoming: Sequence[Incoming], error: JournalUnavailable) -> None:
        """Nothing was kept: forget what the batch had begun, serve who needs no disk."""
        self._upkeep.failed(error)
        self._registry.take_back(_needs_no_disk)
        self._fresh = []
        for route, request in incoming:
            if isinstance(request, _WRITES):
                number = request.request if isinstance(request, _NUMBERED) else None
                self._registry.refuse(route, number, "journal-unavailable", error.what)
        self._dispatch([pair for pair in incoming if isinstance(pair[1], _REPEATABLE)])

    def _recent_grows(self) -> None:
        for group, entry in self._fresh:
            self._recent.add(group, entry)
        self._fresh, self._registry.opened = [], []

    def _dispatch(self, incoming: Sequence[Incoming]) -> None:
        for route, request in incoming:
            if isinstance(request, frames.EdgeRequest):
                self._dispatch_edge(route, request)
                continue
            match request:
                case frames.Publish():
                    self._publish(route, request)
                case frames.Ack():
                    self._acknowledge(route, request)
                case frames.Ping():
                    self._ping(route)
                case frames.Hello():
                    self._joining.hello(route, request, self._now.mono_ms)
                case frames.Leave():
                    self._leave(route)
                case frames.Remove():
                    self._remove(route, request)
                case frames.Status():
                    self._registry.answer(route, self._status())

    def _dispatch_edge(self, route: bytes, request: frames.EdgeRequest) -> None:
        match request:
            case edge_frames.Introduce():
                self._edge.introduce(route, request)
            case edge_frames.Prove():
                self._edge.prove(route, request, self._now.mono_ms)
            case edge_frames.Proof():
                self._edge.proof(route, request)
            case edge_frames.Collide():
                self._edge.collide(route, request)
            case edge_frames.Attest():
                self._edge.attest(route, request)

    def _publish(self, route: bytes, publish: frames.Publish) -> None:
        session = self._sessions.get(route)
        if session is None or session.role == "tail":
            self._registry.refuse(route, publish.request, "no-session")
            return
        author = publish.author or session.node_id
        seq = self._journal.known(author, publish.assertion)
        refusal = self._no_author(session, publish)
        if seq is None and refusal is None:
            refusal = self._objection(session, publish)
        if refusal:
            self._registry.refuse(route, publish.request, *refusal)
            return
        if seq is None:
            seq = self._append(session.group, author, publish)
        self._registry.answer(route, frames.Accepted(publish.request, seq))

    def _no_author(self, session: Session, publish: frames.Publish) -> tuple[str, str] | None:
        """Only a gateway speaks for others: for those that it has introduced as remote."""
        if session.role != "gateway":
            foreign = publish.author is not None or publish.history
            return ("not-a-gateway", "everybody speaks for himself") if foreign else None
        key = (session.group, publish.author or "")
        known = self._registry.introductions.get(key)
        if known is None or known.origin != "remote":
            return "unknown-author", f"{publish.author} is no remote node of {session.group}"
        return None

    def _objection(self, session: Session, publish: frames.Publish) -> tuple[str, str] | None:
        if len(publish.record) > frames.MAX_RECORD_BYTES:
            return "too-large", f"a record has at most {frames.MAX_RECORD_BYTES} bytes"
        if publish.to is not None and not self._may_address(session, publish.to):
            return "unknown-recipient", f"{publish.to} is not known in {session.group}"
        return None

    def _may_address(self, session: Session, to: str) -> bool:
        """Nothing goes from one remote node to another by way of this host."""
        if session.role == "gateway" and not self._registry.is_local(to):
            return False
        return self._registry.may_address(to, session.group)

    def _append(self, group: str, author: str, publish: frames.Publish) -> int:
        where = (author, publish.to, self._now.wall_ms)
        draft = Entry(0, *where, publish.assertion, publish.record, publish.history)
        entry = self._journal.append(group, draft)
        self._fresh.append((group, entry))
        return entry.seq

    def _acknowledge(self, route: bytes, ack: frames.Ack) -> None:
        session = self._sessions.get(route)
        if session is None:
            self._registry.refuse(route, None, "no-session")
        elif session.acknowledge(ack.seq, self._journal.head):
            self._upkeep.moved(session, self._now.mono_ms)

    def _ping(self, route: bytes) -> None:
        if self._sessions.get(route) is None and not self._joining.is_waiting(route):
            self._registry.refuse(route, None, "no-session")
        else:
            self._registry.answer(route, frames.Pong())

    def _leave(self, route: bytes) -> None:
        self._registry.end(route)
        self._joining.give_up(route)
        self._registry.answer(route, frames.Left())

    def _remove(self, route: bytes, remove: frames.Remove) -> None:
        registry = self._registry
        if remove.remote:
            known = registry.forget_remote(remove.node_id)
            registry.answer(route, frames.Removed(remove.node_id, known))
            return
        found = registry.members.pop(remove.node_id, None) is not None
        self._journal.remove(remove.node_id)
        registry.removed.add(remove.node_id)
        self._upkeep.forget(remove.node_id)
        session = self._sessions.member(remove.node_id)
        if session is not None:
            registry.end(session.route)
        registry.answer(route, frames.Removed(remove.node_id, found))

    def _status(self) -> frames.StatusReply:
        self._registry.sweep()
        return frames.StatusReply(
            *(self._journal.epoch, self._journal.head, self._pid),
            members=[self._member_status(member) for member in self._registry.members.values()],
            records=self._journal.records(),
            cut=self._journal.cut_count(),
            sessions=len(self._sessions),
        )

    def _member_status(self, member: Member) -> frames.MemberStatus:
        cursor = self._upkeep.cursor(member)
        return frames.MemberStatus(
            *(member.node_id, member.name, member.group, cursor),
            pending=self._journal.pending(replace(member, cursor=cursor)),
            connected=self._sessions.member(member.node_id) is not None,
            lost=member.lost,
        )


_NUMBERED = (frames.Publish, edge_frames.Introduce)
_WRITES = (*_NUMBERED, frames.Hello, frames.Remove)
# What may be done a second time when the rest of its batch could not be.
_REPEATABLE = (frames.Ack, frames.Ping, frames.Leave, frames.Status)


def _needs_no_disk(answer: frames.Answer) -> bool:
    if isinstance(answer, frames.Refused):
        return answer.code in {"malformed", "collision"}
    return isinstance(answer, frames.EdgeAnswer)
