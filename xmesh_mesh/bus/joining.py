"""Hello and what follows: who may join, from where it is served, and who must leave for it."""

from dataclasses import dataclass, replace

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.core import Session, starting_cursor
from xmesh_mesh.bus.journal import Member
from xmesh_mesh.bus.registry import Registry
from xmesh_mesh.bus.upkeep import Upkeep
from xmesh_mesh.errors import ConfigError, RecordError
from xmesh_mesh.introduction import check_introduction
from xmesh_mesh.paths import check_group

__all__ = ["Joining"]

# How long a connection that still stands counts as a second process of the same node. A process
# that was killed a moment ago may stand that long in the kernel and in ZeroMQ.
CONTEST_MS = 500
CONTEST_STEP_MS = 20
MAX_CONTESTS = 256


@dataclass(frozen=True, slots=True)
class _Contest:
    hello: frames.Hello
    deadline_ms: int


class Joining:
    def __init__(self, registry: Registry, upkeep: Upkeep) -> None:
        self._registry = registry
        self._upkeep = upkeep
        self._contests: dict[bytes, _Contest] = {}

    def contested(self) -> list[tuple[bytes, frames.Hello]]:
        """Return the Hellos that another session stands in the way of; they are due again."""
        return [(route, contest.hello) for route, contest in self._contests.items()]

    def is_waiting(self, route: bytes) -> bool:
        return route in self._contests

    def give_up(self, route: bytes) -> None:
        self._contests.pop(route, None)

    def hello(self, route: bytes, hello: frames.Hello, mono_ms: int) -> None:
        try:
            group = _checked_group(hello)
        except (RecordError, ConfigError) as error:
            self.give_up(route)
            self._registry.refuse(route, None, "bad-introduction", str(error))
            return
        if hello.role == "member" and self._is_contested(route, hello, mono_ms):
            return
        self.give_up(route)
        if hello.role == "gateway":
            self._replace_gateway(group, hello.session)
        self._welcome(route, hello, group)

    def _is_contested(self, route: bytes, hello: frames.Hello, mono_ms: int) -> bool:
        """Whether another process stands in the way: refuse, or look again a little later."""
        intro = hello.introduction
        assert intro is not None
        sessions = self._registry.sessions
        rival = sessions.rival(intro.node_id, intro.name, intro.group, hello.session)
        while rival and not self._registry.is_there(rival[0]):
            self._registry.end(rival[0].route)
            rival = sessions.rival(intro.node_id, intro.name, intro.group, hello.session)
        if rival is None:
            return False
        contest = self._contests.setdefault(route, _Contest(hello, mono_ms + CONTEST_MS))
        if mono_ms >= contest.deadline_ms or len(self._contests) > MAX_CONTESTS:
            self.give_up(route)
            text = f"{intro.name} is already live in {intro.group}"
            self._registry.refuse(route, None, rival[1], text)
        return True

    def _replace_gateway(self, group: str, token: str) -> None:
        """A gateway that was started anew must not wait for what is left of the old one."""
        for session in self._registry.sessions.gateways(group):
            if session.token != token:
                self._registry.end(session.route)
                text = f"another gateway serves {group} now"
                self._registry.refuse(session.route, None, "replaced", text)

    def _welcome(self, route: bytes, hello: frames.Hello, group: str) -> None:
        registry, journal = self._registry, self._registry.journal
        cursor = self._starting_point(hello)
        intro = hello.introduction if hello.role in {"member", "publisher"} else None
        node_id, name = (intro.node_id, intro.name) if intro else ("", "")
        session = Session(
            *(route, hello.session, hello.role, node_id, name, group, cursor),
            window=hello.window,
            own=hello.own,
        )
        if intro:
            registry.introduce(intro)
        if hello.role == "member":
            self._enrol(session)
        registry.sessions.open(session)
        registry.opened.append(route)
        present = registry.present(group)
        registry.answer(route, frames.Welcome(journal.epoch, journal.head, cursor, present))

    def _starting_point(self, hello: frames.Hello) -> int:
        journal = self._registry.journal
        if hello.role == "gateway" and hello.position is not None:
            epoch, seq = hello.position
            return min(seq, journal.head) if epoch == journal.epoch else 0
        if hello.role != "member":
            return journal.head if hello.since is None else min(hello.since, journal.head)
        assert hello.introduction is not None
        known = self._registry.members.get(hello.introduction.node_id)
        if known is not None and known.group != hello.introduction.group:
            known = None
        if known is not None:
            known = replace(known, cursor=self._upkeep.cursor(known))
        return starting_cursor(known, hello.position, journal.epoch, journal.head)

    def _enrol(self, session: Session) -> None:
        registry = self._registry
        known = registry.members.get(session.node_id)
        if known is None or known.group != session.group:
            known = Member(
                *(session.node_id, session.group, session.name, session.cursor, session.cursor),
            )
        member = replace(known, name=session.name, own=session.own, cursor=session.cursor)
        if member != registry.members.get(session.node_id):
            registry.journal.join(member)
            registry.members[session.node_id] = member
            registry.removed.discard(session.node_id)
        self._upkeep.begin(member)


def _checked_group(hello: frames.Hello) -> str:
    if hello.role in {"tail", "gateway"}:
        return check_group(hello.group)
    if hello.introduction is None:
        raise RecordError("bad-introduction", "a member or publisher must introduce itself")
    if hello.introduction.origin != "local":
        raise RecordError("bad-introduction", "who joins is of this host: its origin is local")
    check_introduction(hello.introduction)
    return check_group(hello.introduction.group)
