"""The relay without its sockets: what clients say and the time in, what to send and close out.

A connection is LOGIN, MEMBER or CLOSING, and ``_on_message`` says what a message means in each.
Nothing that a client says raises. Nodes are known by channel and nodeId: channels never meet, not
even where one nodeId is in two of them.
"""

from dataclasses import dataclass, field
from enum import Enum

from xmesh_mesh.errors import RecordError
from xmesh_mesh.relay import frames
from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.deadlines import Deadlines
from xmesh_mesh.relay.directory import Directory
from xmesh_mesh.relay.effects import REASONS, TOLD, Abort, Close, Code, Effect, Note, Send
from xmesh_mesh.relay.limits import Limits
from xmesh_mesh.relay.throttle import Bucket

__all__ = ["Relay"]


class _Phase(Enum):
    LOGIN = "login"
    MEMBER = "member"
    CLOSING = "closing"


@dataclass(slots=True)
class _Session:
    conn: int
    messages: Bucket
    volume: Bucket
    phase: _Phase = _Phase.LOGIN
    node_id: str = ""
    name: str = ""
    channel: str = ""
    stamp: bytes = b""
    joined_ms: int = 0
    answered: bool = True
    put_off_ms: int = 0


@dataclass(slots=True)
class _Channel:
    directory: Directory
    members: dict[str, _Session] = field(default_factory=dict)


class Relay:
    """Connections have numbers, given by the shell and never used twice."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._sessions: dict[int, _Session] = {}
        self._channels: dict[str, _Channel] = {}
        self._logins = Deadlines(limits.login_ms)
        self._pings = Deadlines(limits.keepalive_ms)
        self._closings = Deadlines(limits.closing_ms)
        # Who is closing is not listened to.
        self._on_message = {_Phase.LOGIN: self._log_in, _Phase.MEMBER: self._forward}

    @property
    def connections(self) -> int:
        """Return how many clients are in."""
        return sum(len(channel.members) for channel in self._channels.values())

    @property
    def due_ms(self) -> int | None:
        """Return when ``tick`` has something to do, if no client says anything before."""
        queues = (self._logins, self._pings, self._closings)
        return min((due for queue in queues if (due := queue.next_ms) is not None), default=None)

    def is_member(self, conn: int) -> bool:
        session = self._sessions.get(conn)
        return session is not None and session.phase is _Phase.MEMBER

    def put_off_ms(self, conn: int, now_ms: int) -> int:
        """Return for how long no more of this client may be read."""
        session = self._sessions.get(conn)
        return max(0, session.put_off_ms - now_ms) if session else 0

    def connected(self, conn: int, now_ms: int) -> None:
        limits = self._limits
        messages = Bucket(limits.messages_per_s, limits.messages_burst, now_ms)
        volume = Bucket(limits.bytes_per_s, limits.bytes_burst, now_ms)
        self._sessions[conn] = _Session(conn, messages, volume)
        self._logins.start(conn, now_ms)

    def received(self, conn: int, data: str | bytes, now_ms: int) -> list[Effect]:
        """Handle one message, a text or bytes that should be one."""
        session = self._sessions.get(conn)
        handle = self._on_message.get(session.phase) if session else None
        if session is None or handle is None:
            return []
        effects = handle(session, data, now_ms)
        sent = sum(len(each.data) * len(each.to) for each in effects if isinstance(each, Send))
        waits = (
            session.messages.spend(1, now_ms),
            session.volume.spend(max(len(data), sent), now_ms),
        )
        session.put_off_ms = now_ms + max(waits)
        return effects

    def lost(self, conn: int, now_ms: int) -> list[Effect]:
        """The connection is no more, for whatever reason."""
        session = self._sessions.pop(conn, None)
        if session is None:
            return []
        effects = self._leave(session, now_ms) if session.phase is _Phase.MEMBER else []
        self._forget_times(conn)
        return effects

    def slow(self, conn: int, now_ms: int) -> list[Effect]:
        """The client reads more slowly than others write to it: it has to go."""
        session = self._sessions.get(conn)
        if session is None or session.phase is _Phase.CLOSING:
            return []
        effects = self._leave(session, now_ms) if session.phase is _Phase.MEMBER else []
        text = f"{_who(session)} reads too slowly and is closed."
        note = Note("warning", "slow", text)
        return [note, self._close(session, Code.TRY_AGAIN_LATER, now_ms), *effects]

    def drain(self, now_ms: int) -> list[Effect]:
        """The relay ends: close everybody, and say nothing of who leaves."""
        self._channels.clear()
        going = [each for each in self._sessions.values() if each.phase is not _Phase.CLOSING]
        return [self._close(session, Code.GOING_AWAY, now_ms) for session in going]

    def tick(self, now_ms: int) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        for conn in self._logins.take(now_ms):
            effects += self._refuse(self._sessions[conn], Code.NO_LOGIN, now_ms)
        for conn in self._pings.take(now_ms):
            effects += self._keep_alive(self._sessions[conn], now_ms)
        return effects + [Abort(conn) for conn in self._closings.take(now_ms)]

    def _log_in(self, session: _Session, data: str | bytes, now_ms: int) -> list[Effect]:
        try:
            login = frames.decode_login(data)
        except RecordError as error:
            # As deployed: what is no JSON is passed over, other JSON is the end.
            unparsable = error.code == "unparsable"
            return [] if unparsable else self._refuse(session, Code.BAD_LOGIN, now_ms)
        session.node_id, session.name = login.node_id, login.name
        name = self._access.channel(login.token)
        if name is None:
            return self._refuse(session, Code.BAD_TOKEN, now_ms)
        return self._enter(session, login, name, now_ms)

    def _enter(
        self, session: _Session, login: frames.Login, name: str, now_ms: int
    ) -> list[Effect]:
        channel = self._channel(name)
        old = channel.members.get(session.node_id)
        if old is None and len(channel.members) >= self._limits.peers:
            return self._refuse(session, Code.TRY_AGAIN_LATER, now_ms)
        if old is not None and now_ms - old.joined_ms < self._limits.fresh_ms:
            return self._refuse(session, Code.TOO_FRESH, now_ms)
        effects: list[Effect] = []
        if old is not None:
            text = f"{_who(old)} logged in again; its older connection is closed."
            effects = [Note("warning", "replaced", text), self._close(old, Code.REPLACED, now_ms)]
        self._join(session, name, now_ms)
        wake = frames.decode_wake(login.wake_channel)
        if wake:
            channel.directory.declare(session.node_id, session.name, wake, now_ms)
        return effects + self._announce(session, channel, now_ms)

    def _join(self, session: _Session, name: str, now_ms: int) -> None:
        session.phase = _Phase.MEMBER
        session.channel = name
        session.joined_ms = now_ms
        session.stamp = frames.stamp(session.node_id, session.name)
        self._logins.stop(session.conn)
        self._pings.start(session.conn, now_ms)
        # Last again among the members, as everybody is who comes in.
        self._channels[name].members.pop(session.node_id, None)
        self._channels[name].members[session.node_id] = session

    def _announce(self, session: _Session, channel: _Channel, now_ms: int) -> list[Effect]:
        listed = [
            frames.Listed(node_id, member.name, channel.directory.own(node_id))
            for node_id, member in channel.members.items()
            if member is not session
        ]
        listed += channel.directory.offline(channel.members, now_ms)
        text = f"{_who(session)} joined; {len(channel.members)} in its channel."
        return [
            Note("info", "joined", text),
            Send((session.conn,), frames.peers(listed)),
            *self._tell_others(session, frames.joined(session.node_id, session.name)),
        ]

    def _forward(self, session: _Session, data: str | bytes, now_ms: int) -> list[Effect]:
        try:
            envelope = frames.decode_envelope(data)
        except RecordError:
            return []
        if envelope.pong:
            session.answered = True
            return []
        if not envelope.payload:
            return []
        self._learn(session, envelope.payload, now_ms)
        frame = session.stamp + envelope.payload + b"}"
        if envelope.to is None:
            return self._tell_others(session, frame)
        addressee = self._channels[session.channel].members.get(envelope.to)
        return [Send((addressee.conn,), frame)] if addressee else []

    def _learn(self, session: _Session, payload: bytes, now_ms: int) -> None:
        if len(payload) > self._limits.gossip_bytes:
            return
        channel = self._channels[session.channel]
        for news in frames.decode_news(payload, self._limits.gossip_entries):
            if news.node_id is None:
                wake = news.wake_channel
                channel.directory.declare(session.node_id, session.name, wake, now_ms)
            elif news.name and news.node_id not in channel.members:
                # Who is there speaks for itself.
                channel.directory.hear(news.node_id, news.name, news.wake_channel, now_ms)

    def _keep_alive(self, session: _Session, now_ms: int) -> list[Effect]:
        # A client whose pong the relay itself may have put off reading is not judged.
        if not session.answered and session.put_off_ms <= now_ms:
            note = Note("warning", "no-pong", f"{_who(session)} does not answer and is closed.")
            effects = self._leave(session, now_ms)
            return [note, self._close(session, Code.NO_PONG, now_ms), *effects]
        session.answered = False
        self._pings.start(session.conn, now_ms)
        return [Send((session.conn,), frames.PING)]

    def _leave(self, session: _Session, now_ms: int) -> list[Effect]:
        channel = self._channels[session.channel]
        del channel.members[session.node_id]
        channel.directory.left(session.node_id, now_ms)
        text = f"{_who(session)} left; {len(channel.members)} in its channel."
        frame = frames.left(session.node_id, session.name)
        return [Note("info", "left", text), *self._tell_others(session, frame)]

    def _tell_others(self, session: _Session, frame: bytes) -> list[Effect]:
        members = self._channels[session.channel].members.values()
        others = tuple(each.conn for each in members if each is not session)
        return [Send(others, frame)] if others else []

    def _refuse(self, session: _Session, code: Code, now_ms: int) -> list[Effect]:
        message = TOLD.get(code)
        told: list[Effect] = [Send((session.conn,), frames.error(message))] if message else []
        note = Note("warning", "refused", f"{_who(session)} is not let in: {REASONS[code]}.")
        return [note, *told, self._close(session, code, now_ms)]

    def _close(self, session: _Session, code: Code, now_ms: int) -> Close:
        session.phase = _Phase.CLOSING
        self._forget_times(session.conn)
        self._closings.start(session.conn, now_ms)
        return Close(session.conn, code, REASONS[code])

    def _forget_times(self, conn: int) -> None:
        for deadlines in (self._logins, self._pings, self._closings):
            deadlines.stop(conn)

    def _channel(self, name: str) -> _Channel:
        if name not in self._channels:
            directory = Directory(self._limits.wake_entries, self._limits.wake_ms)
            self._channels[name] = _Channel(directory)
        return self._channels[name]


def _who(session: _Session) -> str:
    return f"{session.name!r} ({session.node_id[:8]!r})" if session.name else "A client"
