"""What the bus knows while it runs: who is connected, enrolled and introduced, and what is to be
answered once the batch is on disk."""

from collections.abc import Callable

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.core import Session, Sessions
from xmesh_mesh.bus.delivery import Outlet
from xmesh_mesh.bus.journal import Journal
from xmesh_mesh.introduction import Introduction

__all__ = ["Registry"]

PROBE = frames.encode(frames.Pong())


class Registry:
    """The journal's tables in memory, the sessions, and the answers of the batch under way."""

    def __init__(self, journal: Journal, outlet: Outlet) -> None:
        self.journal = journal
        self.outlet = outlet
        self.sessions = Sessions()
        self.opened: list[bytes] = []
        self._answers: list[tuple[bytes, frames.Answer]] = []
        self.load()

    def load(self) -> None:
        """Take everything anew from the journal."""
        known = self.journal.introductions()
        self.introductions = {(each.group, each.node_id): each for each in known}
        self.removed = self.journal.removed()
        self.load_members()

    def load_members(self) -> None:
        self.members = {member.node_id: member for member in self.journal.members()}

    # What is to be said

    def answer(self, route: bytes, frame: frames.Answer) -> None:
        self._answers.append((route, frame))

    def refuse(self, route: bytes, request: int | None, code: str, text: str = "") -> None:
        self.answer(route, frames.Refused(request, code, text))

    def take_back(self, kept: Callable[[frames.Answer], bool]) -> None:
        """Nothing of the batch was written: forget its sessions and answers but those ``kept``."""
        for route in self.opened:
            self.end(route)
        self.opened = []
        self._answers = [pair for pair in self._answers if kept(pair[1])]
        self.load()

    def send_answers(self) -> None:
        answers, self._answers = self._answers, []
        for route, answer in answers:
            if not self.outlet.send(route, frames.encode(answer)):
                self.end(route)

    # Who is there

    def end(self, route: bytes) -> None:
        self.sessions.close(route)

    def sweep(self) -> None:
        """End the sessions whose connections have ended without a word."""
        for session in self.sessions:
            if not self.is_there(session):
                self.end(session.route)

    def is_there(self, session: Session) -> bool:
        return self.outlet.send(session.route, PROBE)

    def present(self, group: str) -> list[Introduction]:
        return [each for (of, _), each in self.introductions.items() if of == group]

    def may_address(self, node_id: str, group: str) -> bool:
        """Return whether it is a living member, or one who is introduced: a publisher, whose
        records tails show, or a remote node."""
        member = self.members.get(node_id)
        if member is not None:
            return member.group == group
        return (group, node_id) in self.introductions and node_id not in self.removed

    def is_local(self, node_id: str) -> bool:
        """Return whether a node of this host has this id, in whatever group."""
        return node_id in self.members or any(
            each.node_id == node_id and each.origin == "local"
            for each in self.introductions.values()
        )

    def introduce(self, introduction: Introduction) -> None:
        """Within a batch: write down who somebody is, and tell the group where that is news."""
        key = (introduction.group, introduction.node_id)
        before = self.introductions.get(key)
        if before is not None and _essence(before) == _essence(introduction):
            return
        self.journal.introduce(introduction)
        self.introductions[key] = introduction
        for session in self.sessions.receivers(introduction.group):
            if session.node_id != introduction.node_id:
                self.answer(session.route, frames.Introduced(introduction))

    def forget_remote(self, node_id: str) -> bool:
        """Within a batch: take back what was said of a remote node; return whether there was."""
        keys = [
            key for key, each in self.introductions.items()
            if each.node_id == node_id and each.origin == "remote"
        ]  # fmt: skip
        for key in keys:
            self.journal.forget(*key)
            del self.introductions[key]
        return bool(keys)


def _essence(introduction: Introduction) -> tuple[str, ...]:
    """What makes an introduction news, beside the time it was made."""
    who = (introduction.public_key, introduction.name)
    return (*who, introduction.implementation, introduction.origin)
