"""The bus without sockets: a Service over a real in-memory journal, with a scripted way out."""

import functools
import os
import sqlite3
from collections import defaultdict
from typing import Any

from helpers.bus import GROUP, make_identity, make_introduction

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.journal import Journal
from xmesh_mesh.bus.service import Now, Service
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import Introduction

WALL_MS = 1_700_000_000_000


@functools.cache
def identity(name: str) -> Identity:
    return make_identity(name)


@functools.cache
def introduction(name: str, group: str = GROUP) -> Introduction:
    return make_introduction(name, group, identity(name))


def node_id(name: str) -> str:
    return identity(name).node_id


def memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


class Outlet:
    """What was sent, by route. ``gone`` routes take nothing."""

    def __init__(self) -> None:
        self.sent: dict[bytes, list[frames.Answer]] = defaultdict(list)
        self.gone: set[bytes] = set()

    def send(self, route: bytes, data: bytes) -> bool:
        if route in self.gone:
            return False
        self.sent[route].append(frames.decode_answer(data))
        return True

    def take(self, route: bytes, kind: type | None = None) -> list[Any]:
        """Return and forget what was sent to a route; with ``kind``, only such frames of it."""
        answers = self.sent.pop(route, [])
        return [each for each in answers if kind is None or isinstance(each, kind)]


class Desk:
    """A service, its outlet, its journal and a virtual clock."""

    def __init__(self, connection: sqlite3.Connection | None = None) -> None:
        self.connection = connection or memory()
        self.outlet = Outlet()
        self.logged: list[tuple[str, str]] = []
        self.mono_ms = 0
        self.restart()

    @property
    def now(self) -> Now:
        return Now(self.mono_ms, WALL_MS + self.mono_ms)

    def restart(self) -> None:
        """A new process over the same journal; nothing else of the old one is left."""
        self.journal = Journal(self.connection)
        self.service = Service(self.journal, self.outlet, self._log, os.getpid(), self.now)

    def _log(self, level: str, event: str, _text: str) -> None:
        self.logged.append((level, event))

    def say(self, route: bytes, *requests: frames.Request) -> list[Any]:
        """Give one batch and return what this route was told in answer."""
        self.outlet.take(route)
        self.raw(*((route, frames.encode(request)) for request in requests))
        return self.outlet.take(route)

    def raw(self, *batch: tuple[bytes, bytes]) -> None:
        self.service.handle(batch, self.now)

    def advance(self, ms: int) -> None:
        self.mono_ms += ms
        self.service.tick(self.now)

    def join(self, name: str, group: str = GROUP, **options: Any) -> frames.Welcome:
        """Say Hello as a member on the route of its name; return the Welcome."""
        answers = self.hello(name, group=group, **options)
        (welcome,) = [each for each in answers if isinstance(each, frames.Welcome)]
        return welcome

    def hello(
        self,
        name: str,
        *,
        route: bytes = b"",
        group: str = GROUP,
        session: str = "",
        **options: Any,
    ) -> list[Any]:
        role = options.pop("role", "member")
        intro = introduction(name, group)
        hello = frames.Hello(session or f"session-{name}", role, intro, **options)
        return self.say(route or name.encode(), hello)

    def publish(self, name: str, mark: int, to: str | None = None, size: int = 8) -> Any:
        """Publish as ``name``; return the one answer to it."""
        record = mark.to_bytes(8) + bytes(size - 8)
        publish = frames.Publish(mark, assertion(mark), record, to and node_id(to))
        answers = self.say(name.encode(), publish)
        (answer,) = [each for each in answers if isinstance(each, frames.Accepted | frames.Refused)]
        return answer

    def delivered(self, name: str) -> list[int]:
        """Return and forget the marks that were delivered to a name."""
        deliveries = self.outlet.take(name.encode(), frames.Deliver)
        return [int.from_bytes(each.record[:8]) for each in deliveries]


def assertion(mark: int) -> str:
    return f"{mark:064x}"
