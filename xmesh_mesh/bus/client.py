"""A node's side of the bus. Restarts of the bus are the client's business, not its user's.

When the connection breaks, or the bus no longer knows the session, the client says Hello again from
where it stands and sends again what was not answered; the bus knows what it has accepted already.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.bus.inbox import Delivery, Inbox, Item
from xmesh_mesh.bus.link import Link
from xmesh_mesh.bus.outbox import Outbox
from xmesh_mesh.bus.query import remove, status, unavailable
from xmesh_mesh.errors import BusError, CollisionError, PublishRefused, RecordError
from xmesh_mesh.introduction import Introduction

__all__ = ["BusClient", "Delivery", "Position", "remove", "status"]

PING_S = 1.0
# A bus that has left so many pings unanswered is tried on a new connection.
MAX_SILENT_PINGS = 5
RELINK_S = 0.005
RETRY_FIRST_S, RETRY_LAST_S = 0.05, 2.0
LEAVE_S = 0.2

Position = tuple[str, int]
Prover = Callable[[edge_frames.ProofRole, bytes], str]


class BusClient:
    """One member, publisher or tail; the gateway's is a ``GatewayClient``.

    ``position`` says up to which (epoch, seq) the caller's own store has everything; without it the
    client goes by what was acknowledged. ``on_introduced`` is called for everybody new or changed
    in the group, the client itself included, always before a record of theirs is delivered; what it
    raises ends the client. ``prove`` gives a member's proof for a handshake of the gateway's: its
    signature in base64url, or ValueError where it declines. ``group`` and ``since`` are a tail's.
    """

    def __init__(
        self,
        socket: Path,
        introduction: Introduction | None,
        *,
        role: frames.Role = "member",
        position: Callable[[], Position | None] = lambda: None,
        window: int = 64,
        own: bool = False,
        group: str = "",
        since: int | None = None,
        on_introduced: Callable[[Introduction], None] = lambda _: None,
        prove: Prover | None = None,
    ) -> None:
        token = secrets.token_hex(16)
        self._hello = frames.Hello(
            token, role, introduction, window=window, own=own, group=group, since=since
        )
        self._path = socket
        self._position = position
        self._on_introduced = on_introduced
        self._prove = prove
        self._members: dict[str, Introduction] = {}
        self._inbox = Inbox()
        self._outbox = Outbox()
        self._link: Link | None = None
        self._joined = False
        self._welcome: asyncio.Future[frames.Welcome] | None = None
        self._ended: Exception | None = None
        self._left = asyncio.Event()
        self._arrived = asyncio.Event()
        self._pinger: asyncio.Task[None] | None = None
        self._silent_pings = 0
        self._hindrance = ""
        self._retries = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ack_scheduled = False

    @property
    def members(self) -> Mapping[str, Introduction]:
        """Everybody introduced in the group, by node id."""
        return MappingProxyType(self._members)

    @property
    def epoch(self) -> str:
        return self._inbox.epoch

    async def connect(self, timeout_s: float = 10.0) -> frames.Welcome:
        """Join, waiting for a bus that is not up yet. To be called once.

        CollisionError where the node, or its name, is live already; BusUnavailable after
        ``timeout_s``; BusError where the bus refuses otherwise. The client is closed then.
        """
        self._welcome = asyncio.get_running_loop().create_future()
        self._relink()
        self._pinger = asyncio.create_task(self._keep_alive())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._welcome
        except TimeoutError:
            raise unavailable(self._path, timeout_s, self._hindrance) from None
        finally:
            if not self._joined:
                await self.close()

    async def publish(self, assertion: str, record: bytes, to: str | None = None) -> int:
        """Return the record's seq once the bus has it on disk, however often the bus restarts.

        PublishRefused where it will never take it; CollisionError or BusError where this client
        has ended. Publishing the same assertion again is harmless and returns the same seq.
        """
        if len(record) > frames.MAX_RECORD_BYTES:
            raise PublishRefused(
                "too-large", f"a record has at most {frames.MAX_RECORD_BYTES} bytes"
            )
        return await self._request(lambda number: frames.Publish(number, assertion, record, to))

    async def _request(self, build: Callable[[int], frames.Request]) -> int:
        async with self._outbox.room:
            if self._ended is not None:
                raise self._ended
            number, frame = self._outbox.add(build)
            if self._joined:
                self._send(frame)
            return await self._outbox.answer(number)

    def attest(self, statement: bytes) -> None:
        """Give a member's statement to the gateway, if there is one now; nothing keeps it.

        ValueError over ``MAX_STATEMENT_BYTES``.
        """
        if len(statement) > edge_frames.MAX_STATEMENT_BYTES:
            raise ValueError(f"a statement has at most {edge_frames.MAX_STATEMENT_BYTES} bytes")
        if self._joined:
            self._send(frames.encode(edge_frames.Attest(statement)))

    async def deliveries(self) -> AsyncGenerator[Delivery, None]:
        """Yield records in order until ``close``; for one consumer.

        CollisionError where another process has taken the node over meanwhile.
        """
        async with contextlib.aclosing(self.stream()) as stream:
            async for item in stream:
                if isinstance(item, Delivery):
                    yield item

    async def stream(self) -> AsyncGenerator[Item, None]:
        """Yield what ``deliveries`` yields, for a tail introductions between, for a gateway
        attestations too."""
        while True:
            while self._inbox.waiting:
                yield self._inbox.take()
            if self._ended is not None:
                if self._left.is_set():
                    return
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()

    def ack(self, seq: int) -> None:
        """Everything up to ``seq`` is in the caller's own store."""
        if self._inbox.acknowledge(seq) and not self._ack_scheduled:
            self._ack_scheduled = True
            asyncio.get_running_loop().call_soon(self._send_ack)

    async def close(self) -> None:
        """Say goodbye where somebody listens, and end. What is unanswered is refused."""
        if self._joined:
            self._send_ack()
            self._send(frames.encode(frames.Leave()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._left.wait()
        self._left.set()
        self._end(BusError("the client was closed"))
        if self._pinger is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._pinger

    def _end(self, error: Exception) -> None:
        if self._ended is not None:
            return
        self._ended = error
        self._joined = False
        if self._link is not None:
            self._link.close()
        if self._pinger is not None:
            self._pinger.cancel()
        for timer in self._timers.values():
            timer.cancel()
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(error)
        self._outbox.refuse_all(error)
        self._arrived.set()

    def _send(self, frame: bytes) -> None:
        assert self._link is not None
        self._link.send(frame)

    def _send_ack(self) -> None:
        self._ack_scheduled = False
        if self._joined and self._inbox.acknowledged:
            self._send(frames.encode(frames.Ack(self._inbox.acknowledged)))

    def _later(self, name: str, delay_s: float, action: Callable[[], None]) -> None:
        """Do something once after a while; a second wish for the same meanwhile adds nothing."""

        def due() -> None:
            del self._timers[name]
            action()

        if name not in self._timers and self._ended is None:
            self._timers[name] = asyncio.get_running_loop().call_later(delay_s, due)

    def _relink(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = Link(self._path, self._received, self._lost)
        self._silent_pings = 0
        self._say_hello()

    def _lost(self) -> None:
        self._joined = False
        self._later("relink", RELINK_S, self._relink)

    def _say_hello(self) -> None:
        self._joined = False
        position, since = self._position(), self._hello.since
        if self._inbox.epoch:
            position = position or (self._inbox.epoch, self._inbox.acknowledged)
            since = self._inbox.newest
        hello = msgspec.structs.replace(self._hello, position=position, since=since)
        self._send(frames.encode(hello))

    async def _keep_alive(self) -> None:
        """Notice a bus that has forgotten us, which only an answer can tell."""
        while True:
            await asyncio.sleep(PING_S)
            self._silent_pings += 1
            if self._silent_pings > MAX_SILENT_PINGS:
                self._relink()
            elif self._joined:
                self._send(frames.encode(frames.Ping()))

    def _received(self, data: bytes) -> None:
        self._silent_pings = 0
        try:
            answer = frames.decode_answer(data)
        except RecordError as error:
            return self._end(BusError(f"the bus speaks in no way known here: {error}"))
        match answer:
            case frames.Deliver():
                self._deliver(answer)
            case frames.Accepted():
                self._retries = 0
                self._outbox.accept(answer.request, answer.seq)
            case frames.Welcome():
                self._begin(answer)
            case frames.Introduced():
                self._meet(answer.introduction)
            case frames.Refused():
                self._refused(answer)
            case frames.Left():
                self._left.set()
            case _:
                self._received_else(answer)
        return None

    def _received_else(self, answer: frames.Answer) -> None:
        if isinstance(answer, edge_frames.ProofAsked):
            sig = self._proof(answer)
            self._send(frames.encode(edge_frames.Proof(answer.token, sig)))

    def _proof(self, asked: edge_frames.ProofAsked) -> str:
        try:
            return self._prove(asked.role, asked.transcript) if self._prove else ""
        except ValueError:
            return ""

    def _deliver(self, frame: frames.Deliver) -> None:
        if self._joined and self._inbox.put(frame):
            self._arrived.set()

    def _begin(self, welcome: frames.Welcome) -> None:
        self._joined = True
        self._inbox.begin(welcome)
        for introduction in welcome.members:
            self._meet(introduction)
        if self._ended is not None:
            return
        if self._inbox.acknowledged > welcome.cursor:
            self._send_ack()
        self._send_unanswered()
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_result(welcome)

    def _send_unanswered(self) -> None:
        for frame in self._outbox.frames():
            self._send(frame)

    def _meet(self, introduction: Introduction) -> None:
        if self._members.get(introduction.node_id) == introduction:
            return
        self._members[introduction.node_id] = introduction
        if self._hello.role in {"tail", "gateway"}:
            self._inbox.waiting.append(introduction)
            self._arrived.set()
        try:
            self._on_introduced(introduction)
        except Exception as error:  # noqa: BLE001 - raised again to the caller
            self._end(error)

    def _refused(self, refused: frames.Refused) -> None:
        if refused.code == "no-session":
            if self._joined:
                self._say_hello()
        elif refused.code == "journal-unavailable":
            self._hindrance = f"the bus cannot write its journal: {refused.text}"
            self._retry()
        elif refused.request is not None:
            self._outbox.refuse(refused.request, PublishRefused(refused.code, refused.text))
        else:
            self._end(self._final(refused))

    def _retry(self) -> None:
        delay_s = min(RETRY_FIRST_S * 2.0**self._retries, RETRY_LAST_S)
        if "retry" not in self._timers:
            self._retries += 1
        self._later("retry", delay_s * random.uniform(0.5, 1.0), self._try_again)  # noqa: S311

    def _try_again(self) -> None:
        if self._joined:
            self._send_unanswered()
        else:
            self._say_hello()

    def _final(self, refused: frames.Refused) -> BusError | CollisionError:
        if refused.code in {"collision", "name-taken"}:
            fix = "stop the other one first, or give this one a name of its own"
            return CollisionError(refused.text, where=str(self._path), fix=fix)
        text = f"the bus refuses this client ({refused.code}): {refused.text}"
        return BusError(text, where=str(self._path))
