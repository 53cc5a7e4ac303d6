"""The bus without its socket: requests of many clients in, answers and deliveries out.

Requests come in batches. What a batch writes is committed once, and nobody is answered before.
When the journal cannot be written, whoever needed it is told so and tries again; the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.core import Recent, Session, Sessions, starting_cursor
from xmesh_mesh.bus.delivery import Delivery, Outlet
from xmesh_mesh.bus.journal import Entry, Journal, JournalUnavailable, Member
from xmesh_mesh.bus.upkeep import Log, Upkeep
from xmesh_mesh.errors import ConfigError, RecordError
from xmesh_mesh.introduction import Introduction, check_introduction
from xmesh_mesh.paths import check_group

__all__ = ["Now", "Service"]

# How long a connection that still stands counts as a second process of the same node. A process
# that was killed a moment ago may stand that long in the kernel and in ZeroMQ.
CONTEST_MS = 500
CONTEST_STEP_MS = 20
MAX_CONTESTS = 256
# How often connections are looked for that ended without a word and were sent nothing since.
SWEEP_MS = 60_000

Incoming = tuple[bytes, frames.Request]


class Now(NamedTuple):
    """``mono_ms`` for intervals, ``wall_ms`` for what is written down."""

    mono_ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class _Contest:
    hello: frames.Hello
    deadline_ms: int


class Service:
    """Raises JournalDamaged where the journal is of no more use; a new Service must take over."""

    def __init__(self, journal: Journal, outlet: Outlet, log: Log, pid: int, now: Now) -> None:
        self._journal = journal
        self._outlet = outlet
        self._log = log
        self._pid = pid
        self._now = now
        self._sessions = Sessions()
        self._recent = Recent(journal.head)
        self._upkeep = Upkeep(journal, log, now.mono_ms)
        self._delivery = Delivery(journal, self._recent, outlet, self._end)
        self._contests: dict[bytes, _Contest] = {}
        self._sweep_due_ms = now.mono_ms + SWEEP_MS
        self._answers: list[tuple[bytes, frames.Answer]] = []
        self._opened: list[bytes] = []
        self._fresh: list[tuple[str, Entry]] = []
        self._load()

    def _load(self) -> None:
        known = self._journal.introductions()
        self._introductions = {(each.group, each.node_id): each for each in known}
        self._removed = self._journal.removed()
        self._members = {member.node_id: member for member in self._journal.members()}

    def handle(self, batch: Sequence[tuple[bytes, bytes]], now: Now) -> None:
        """Do what the frames ask for. Never raises for anything that a client sends."""
        incoming: list[Incoming] = []
        for route, data in batch:
            try:
                incoming.append((route, frames.decode_request(data)))
            except RecordError as error:
                self._refuse(route, None, "malformed", str(error)[:200])
        self._process(incoming, now)

    def tick(self, now: Now) -> None:
        """Do what is due: contests, deliveries that are left, cursors to write, retention."""
        contested = [(route, contest.hello) for route, contest in self._contests.items()]
        self._process(contested, now)
        if now.mono_ms >= self._sweep_due_ms:
            self._sweep_due_ms = now.mono_ms + SWEEP_MS
            self._sweep()
        if self._upkeep.run(now.mono_ms, now.wall_ms):
            self._members = {member.node_id: member for member in self._journal.members()}

    def wait_ms(self, now: Now) -> int:
        """Return how long nothing is due, if nobody says anything."""
        if self._delivery.hungry:
            return 0
        sweep = max(0, self._sweep_due_ms - now.mono_ms)
        wait = min(sweep, self._upkeep.wait_ms(now.mono_ms))
        return min(wait, CONTEST_STEP_MS) if self._contests else wait

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
        self._answer()
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
        for route in self._opened:
            self._sessions.close(route)
        kept = [pair for pair in self._answers if _is_malformed(pair[1])]
        self._answers, self._opened, self._fresh = kept, [], []
        self._load()
        for route, request in incoming:
            if isinstance(request, _WRITES):
                number = request.request if isinstance(request, frames.Publish) else None
                self._refuse(route, number, "journal-unavailable", error.what)
        self._dispatch([pair for pair in incoming if not isinstance(pair[1], _WRITES)])

    def _recent_grows(self) -> None:
        for group, entry in self._fresh:
            self._recent.add(group, entry)
        self._fresh, self._opened = [], []

    def _answer(self) -> None:
        answers, self._answers = self._answers, []
        for route, answer in answers:
            if not self._outlet.send(route, frames.encode(answer)):
                self._end(route)

    def _end(self, route: bytes) -> None:
        self._sessions.close(route)

    def _refuse(self, route: bytes, request: int | None, code: str, text: str = "") -> None:
        self._answers.append((route, frames.Refused(request, code, text)))

    def _dispatch(self, incoming: Sequence[Incoming]) -> None:
        for route, request in incoming:
            match request:
                case frames.Publish():
                    self._publish(route, request)
                case frames.Ack():
                    self._acknowledge(route, request)
                case frames.Ping():
                    self._ping(route)
                case frames.Hello():
                    self._hello(route, request)
                case frames.Leave():
                    self._leave(route)
                case frames.Remove():
                    self._remove(route, request)
                case frames.Status():
                    self._answers.append((route, self._status()))

    def _publish(self, route: bytes, publish: frames.Publish) -> None:
        session = self._sessions.get(route)
        if session is None or session.role == "tail":
            self._refuse(route, publish.request, "no-session")
            return
        seq = self._journal.known(session.node_id, publish.assertion)
        if seq is None:
            refusal = self._objection(session, publish)
            if refusal:
                self._refuse(route, publish.request, *refusal)
                return
            seq = self._append(session, publish)
        self._answers.append((route, frames.Accepted(publish.request, seq)))

    def _objection(self, session: Session, publish: frames.Publish) -> tuple[str, str] | None:
        if len(publish.record) > frames.MAX_RECORD_BYTES:
            return "too-large", f"a record has at most {frames.MAX_RECORD_BYTES} bytes"
        if publish.to is not None and not self._may_address(publish.to, session.group):
            return "unknown-recipient", f"{publish.to} is not known in {session.group}"
        return None

    def _may_address(self, node_id: str, group: str) -> bool:
        """Return whether it is a living member or a publisher, whose records tails show."""
        member = self._members.get(node_id)
        if member is not None:
            return member.group == group
        return (group, node_id) in self._introductions and node_id not in self._removed

    def _append(self, session: Session, publish: frames.Publish) -> int:
        where = (session.node_id, publish.to, self._now.wall_ms)
        draft = Entry(0, *where, publish.assertion, publish.record)
        entry = self._journal.append(session.group, draft)
        self._fresh.append((session.group, entry))
        return entry.seq

    def _acknowledge(self, route: bytes, ack: frames.Ack) -> None:
        session = self._sessions.get(route)
        if session is None:
            self._refuse(route, None, "no-session")
        elif session.acknowledge(ack.seq, self._journal.head):
            self._upkeep.moved(session, self._now.mono_ms)

    def _ping(self, route: bytes) -> None:
        if self._sessions.get(route) is None and route not in self._contests:
            self._refuse(route, None, "no-session")
        else:
            self._answers.append((route, frames.Pong()))

    def _hello(self, route: bytes, hello: frames.Hello) -> None:
        try:
            group = self._checked_group(hello)
        except (RecordError, ConfigError) as error:
            self._contests.pop(route, None)
            self._refuse(route, None, "bad-introduction", str(error))
            return
        if hello.role == "member" and self._is_contested(route, hello):
            return
        self._contests.pop(route, None)
        self._welcome(route, hello, group)

    def _checked_group(self, hello: frames.Hello) -> str:
        if hello.role == "tail":
            return check_group(hello.group)
        if hello.introduction is None:
            raise RecordError("bad-introduction", "a member or publisher must introduce itself")
        check_introduction(hello.introduction)
        return check_group(hello.introduction.group)

    def _is_contested(self, route: bytes, hello: frames.Hello) -> bool:
        """Whether another process stands in the way: refuse, or look again a little later."""
        intro = hello.introduction
        assert intro is not None
        rival = self._sessions.rival(intro.node_id, intro.name, intro.group, hello.session)
        while rival and not self._outlet.send(rival[0].route, _PROBE):
            self._end(rival[0].route)
            rival = self._sessions.rival(intro.node_id, intro.name, intro.group, hello.session)
        if rival is None:
            return False
        deadline_ms = self._now.mono_ms + CONTEST_MS
        contest = self._contests.setdefault(route, _Contest(hello, deadline_ms))
        if self._now.mono_ms >= contest.deadline_ms or len(self._contests) > MAX_CONTESTS:
            del self._contests[route]
            self._refuse(route, None, rival[1], f"{intro.name} is already live in {intro.group}")
        return True

    def _welcome(self, route: bytes, hello: frames.Hello, group: str) -> None:
        cursor = self._starting_point(hello)
        intro = hello.introduction if hello.role != "tail" else None
        node_id, name = (intro.node_id, intro.name) if intro else ("", "")
        session = Session(
            *(route, hello.session, hello.role, node_id, name, group, cursor),
            window=hello.window,
            own=hello.own,
        )
        if intro:
            self._introduce(intro)
        if hello.role == "member":
            self._enrol(session)
        self._sessions.open(session)
        self._opened.append(route)
        present = [each for (of, _), each in self._introductions.items() if of == group]
        welcome = frames.Welcome(self._journal.epoch, self._journal.head, cursor, present)
        self._answers.append((route, welcome))

    def _starting_point(self, hello: frames.Hello) -> int:
        head = self._journal.head
        if hello.role != "member":
            return head if hello.since is None else min(hello.since, head)
        assert hello.introduction is not None
        known = self._members.get(hello.introduction.node_id)
        if known is not None and known.group != hello.introduction.group:
            known = None
        if known is not None:
            known = replace(known, cursor=self._upkeep.cursor(known))
        return starting_cursor(known, hello.position, self._journal.epoch, head)

    def _introduce(self, introduction: Introduction) -> None:
        key = (introduction.group, introduction.node_id)
        before = self._introductions.get(key)
        if before is not None and _essence(before) == _essence(introduction):
            return
        self._journal.introduce(introduction)
        self._introductions[key] = introduction
        for session in self._sessions.receivers(introduction.group):
            if session.node_id != introduction.node_id:
                self._answers.append((session.route, frames.Introduced(introduction)))

    def _enrol(self, session: Session) -> None:
        known = self._members.get(session.node_id)
        if known is None or known.group != session.group:
            known = Member(
                *(session.node_id, session.group, session.name, session.cursor, session.cursor),
            )
        member = replace(known, name=session.name, own=session.own, cursor=session.cursor)
        if member != self._members.get(session.node_id):
            self._journal.join(member)
            self._members[session.node_id] = member
            self._removed.discard(session.node_id)
        self._upkeep.begin(member)

    def _leave(self, route: bytes) -> None:
        self._end(route)
        self._contests.pop(route, None)
        self._answers.append((route, frames.Left()))

    def _remove(self, route: bytes, remove: frames.Remove) -> None:
        found = self._members.pop(remove.node_id, None) is not None
        self._journal.remove(remove.node_id)
        self._removed.add(remove.node_id)
        self._upkeep.forget(remove.node_id)
        session = self._sessions.member(remove.node_id)
        if session is not None:
            self._end(session.route)
        self._answers.append((route, frames.Removed(remove.node_id, found)))

    def _sweep(self) -> None:
        for session in self._sessions:
            if not self._outlet.send(session.route, _PROBE):
                self._end(session.route)

    def _status(self) -> frames.StatusReply:
        self._sweep()
        return frames.StatusReply(
            *(self._journal.epoch, self._journal.head, self._pid),
            members=[self._member_status(member) for member in self._members.values()],
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


_PROBE = frames.encode(frames.Pong())
_WRITES = (frames.Publish, frames.Hello, frames.Remove)


def _is_malformed(answer: frames.Answer) -> bool:
    return isinstance(answer, frames.Refused) and answer.code == "malformed"


def _essence(introduction: Introduction) -> tuple[str, ...]:
    """What makes an introduction news, beside the time it was made."""
    who = (introduction.public_key, introduction.name)
    return (*who, introduction.implementation, introduction.origin)
