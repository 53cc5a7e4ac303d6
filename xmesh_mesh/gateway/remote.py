"""One remote node as one local peer deals with it: its links, and what is sent over them."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from xmesh_mesh.errors import RecordError, StoreError
from xmesh_mesh.gateway.clock import now_ms, wall_ms
from xmesh_mesh.gateway.conversation import Conversation, Do, Line
from xmesh_mesh.gateway.link import Link
from xmesh_mesh.gateway.operators import Presented, from_bytes
from xmesh_mesh.gateway.pace import Pace
from xmesh_mesh.gateway.refusals import Refusals
from xmesh_mesh.gateway.store import Outgoing, Pair, Store
from xmesh_mesh.gateway.talk import Counterpart
from xmesh_mesh.record import decode
from xmesh_mesh.wire import frames
from xmesh_mesh.wire.errors import WireError

__all__ = ["Remote"]

PAGE: Final = 16


class Remote:
    """``moved`` is called when the remote has certainly got more of what we say.

    ``first`` says that nobody of this name was ever met before; what it shows then is old news.
    """

    def __init__(
        self, pair: Pair, counterpart: Counterpart, store: Store, moved: Callable[["Remote"], None]
    ) -> None:
        now = now_ms()
        self.pair = pair
        self.counterpart = counterpart
        cursor, known = store.meet(pair, wall_ms())
        self.first = not known
        self.conversation = Conversation(pair.local, pair.remote, cursor)
        self.links: dict[Line, Link] = {}
        self.refusals = Refusals()
        self.pace = Pace(now)
        self.operators = Presented()
        self.sent = 0
        self.received = 0
        self.last_seen_ms = wall_ms()
        self._hungry = True  # there may be something to send
        self._store = store
        self._moved = moved
        self._pumping: asyncio.Task[None] | None = None

    def attach(self, link: Link, counterpart: Counterpart) -> list[Link]:
        """Take a link whose handshake is through; return those that are to be closed for it."""
        self.counterpart = counterpart
        if link.line is not None:
            self.conversation.renewed(link.line)
            return []
        now = now_ms()
        line = Line(link.wire.transport, counterpart.secure, link.wire.outbound, now)
        superfluous = self.conversation.add(line, now)
        if line not in superfluous:
            link.line, link.node_id = line, self.pair.remote
            self.links[line] = link
        return [link if each is line else self.links.pop(each) for each in superfluous]

    def detach(self, link: Link) -> None:
        """A link is gone; what it carried without an answer goes over another."""
        if link.line is not None and self.links.pop(link.line, None) is not None:
            self.conversation.remove(link.line)
            self.first = False
            self.pump()

    def heard(self, link: Link, frame: frames.Frame | frames.Unknown) -> None:
        self.last_seen_ms = wall_ms()
        if link.line is not None and self.conversation.heard(link.line, frame, now_ms()):
            self._moved(self)
        if isinstance(frame, frames.Pong):
            self.pump()

    def tick(self) -> list[tuple[Link, bool]]:
        """Send the pings that are due; return the links to close, and whether each was mute."""
        now = now_ms()
        for line, link in self.links.items():
            if link.busy:
                # What comes is still being read, more slowly; that is no silence.
                line.pulse.heard(frames.Unknown(""), now)
        lost: list[tuple[Link, bool]] = []
        for deed in self.conversation.tick(now):
            link = self.links[deed.line]
            if deed.do is Do.PING:
                _send(link, frames.Ping())
            else:
                lost.append((link, deed.do is Do.CLOSE_MUTE))
        if self._hungry or self.conversation.would_change(now):
            self.pump()
        return lost

    def pump(self) -> None:
        """Send what is next for this remote, in the background."""
        self._hungry = True
        if self.links and (self._pumping is None or self._pumping.done()):
            self._pumping = asyncio.create_task(self._pump())

    def stop(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()

    def preferred(self) -> Link | None:
        line = self.conversation.preferred(now_ms())
        return self.links[line] if line is not None else None

    def attest(self, frame: frames.AttestationFrame) -> None:
        """Show an attestation; it is kept nowhere, and lost where there is no link."""
        link = self.preferred()
        if link is not None:
            _send(link, frame)

    def status(self) -> list[dict[str, Any]]:
        """Return the rows of ``peers``, without what only the endpoint knows: its own, and those
        of the operators of its host."""
        operators = self.operators.status(self.pair.group, self.counterpart.name)
        return [self._own_status(), *operators]

    def _own_status(self) -> dict[str, Any]:
        now, best, secure = now_ms(), self.preferred(), self.counterpart.secure
        cursor = self.conversation.feed.cursor
        return {
            "node_id": self.pair.remote,
            "name": self.counterpart.name,
            "group": self.pair.group,
            "implementation": self.counterpart.implementation,
            "preferred": best.wire.transport if best else None,
            "transports": [_transport(line, link, now) for line, link in self.links.items()],
            "last_seen_ms": self.last_seen_ms,
            "sent": self.sent,
            "received": self.received,
            "waiting": self._store.waiting(self.pair, cursor, secure=secure),
            "refused": self.refusals.counts(),
        }

    async def _pump(self) -> None:
        try:
            while await self._pump_page():
                pass
        except (OSError, StoreError):
            return  # a dead link ends by its reader; what is unsent is tried at the next tick
        line = self.conversation.ping_due(now_ms())
        if line is not None:
            _send(self.links[line], frames.Ping())

    async def _pump_page(self) -> bool:
        """Send a page; return whether there may be more to send now."""
        link, feed = self.preferred(), self.conversation.feed
        if link is None or feed.room <= 0:
            return False
        head = self._store.head()
        limit, secure = min(feed.room, PAGE), _is_secure(link)
        page = self._store.after(self.pair, feed.sent, limit, secure=secure)
        if not page:
            self._passed(head)
            self._hungry = False
            return False
        return await self._give_all(link, page)

    async def _give_all(self, link: Link, page: list[Outgoing]) -> bool:
        """Send records for as long as nothing changes meanwhile; False where none can go now."""
        feed = self.conversation.feed
        for each in page:
            sent = feed.sent
            await link.wire.drained()
            if self.preferred() is not link or feed.sent != sent or feed.room <= 0:
                return True
            if not self._give(link, each):
                return False
        return True

    def _give(self, link: Link, outgoing: Outgoing) -> bool:
        """Send one record; False where this link cannot carry any now."""
        feed = self.conversation.feed
        try:
            _present(link, outgoing)
            link.send(link.talk.pack(decode(outgoing.record), outgoing.author))
        except (WireError, RecordError) as error:
            self.refusals.note(f"unsent-{error.code}")
            if error.code in {"no-secret", "no-encryption"} or link.closed:
                return False
            self._passed(outgoing.seq)
            return True
        feed.took(outgoing.seq, len(outgoing.record))
        self.sent += 1
        return True

    def _passed(self, seq: int) -> None:
        before = self.conversation.feed.cursor
        self.conversation.feed.passed(seq)
        if self.conversation.feed.cursor != before:
            self._moved(self)


def _is_secure(link: Link) -> bool:
    return link.counterpart is not None and link.counterpart.secure


def _present(link: Link, outgoing: Outgoing) -> None:
    """Say who the operator is, before the first of its records on a session."""
    if outgoing.introduction is not None:
        frame = link.talk.present(from_bytes(outgoing.introduction))
        if frame is not None:
            link.send(frame)


def _send(link: Link, frame: frames.Frame) -> None:
    """Send what nobody waits for."""
    try:
        link.send(frame)
    except WireError:
        link.close()


def _transport(line: Line, link: Link, now: int) -> dict[str, Any]:
    return {
        "kind": line.transport,
        "secure": line.secure,
        "address": link.wire.address,
        "since_s": (now - line.since_ms) // 1_000,
        "heard_s_ago": (now - line.heard_ms) // 1_000,
        "healthy": line.is_well(now),
    }
