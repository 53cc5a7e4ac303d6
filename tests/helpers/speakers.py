"""Members that a test speaks through: whole local peers to a gateway, without a model."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

from helpers.bus import wait_until

from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.canonical import b64u
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import introduce
from xmesh_mesh.record import Record, compose, decode, encode
from xmesh_mesh.signing import assertion_id, sign, sign_bytes
from xmesh_mesh.wire.secure import Role, proof_payload

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own, for clients that outlive one call of a test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 20) -> T:
        return self.begin(work).result(timeout_s)

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Member:
    """A local peer. ``heard`` holds what was delivered to it, oldest first, and when (ms)."""

    def __init__(
        self, loop: Loop, bus: Path, identity: Identity, group: str, clock_off_s: int = 0
    ) -> None:
        self._clock_off_ms = clock_off_s * 1_000
        self.identity = identity
        self.node_id = identity.node_id
        self.name = identity.name
        self.group = group
        self.heard: list[tuple[float, Delivery, Record]] = []
        self.said: list[Record] = []
        self.ended: BaseException | None = None
        self._loop = loop
        introduction = introduce(identity, group, implementation="test", now_ms=self._now_ms())
        self._client = BusClient(bus, introduction, prove=self._prove, position=self._position)
        self._at: tuple[str, int] | None = None

    def join(self) -> Self:
        welcome = self._loop.run(self._client.connect(20))
        self._at = (welcome.epoch, welcome.cursor)
        self._listening = self._loop.begin(self._listen())
        return self

    def leave(self) -> None:
        self._loop.run(self._client.close())
        self._listening.exception(10)

    def compose(self, texts: Mapping[str, str], **more: Any) -> Record:
        arguments: dict[str, Any] = {
            "created_by": self.name,
            "created_ms": self._now_ms(),
            "group": self.group,
        }
        return sign(compose(texts, **{**arguments, **more}), self.identity.seed)

    def say(self, *focus: str, **more: Any) -> list[Record]:
        """Say one record about each; ``more`` are arguments of ``compose``, such as ``to``."""
        return self.publish([self.compose({"focus": each}, **more) for each in focus])

    def say_all(self, texts: Mapping[str, str], **more: Any) -> list[Record]:
        """Say one record of several fields."""
        return self.publish([self.compose(texts, **more)])

    def publish(self, records: list[Record]) -> list[Record]:
        """Return when the bus has all of it on disk."""
        self._loop.run(self._publish(records), 60)
        self.said += records
        return records

    def texts(self, *, by: str = "") -> list[str]:
        """Return the focus of everything heard, of one author where ``by`` names it."""
        heard = list(self.heard)
        return [r.text("focus") for _, _, r in heard if by in {"", r.created_by}]

    def hears(self, *focus: str, timeout_s: float = 20) -> None:
        """Return once all of these were delivered."""
        wanted = set(focus)
        wait_until(lambda: wanted <= set(self.texts()), self._missing(wanted), timeout_s)

    def _missing(self, wanted: set[str]) -> str:
        return f"{self.name} hears all of {sorted(wanted)[:5]}…"

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._clock_off_ms

    async def _publish(self, records: Sequence[Record]) -> None:
        for record in records:
            await self._client.publish(assertion_id(record), encode(record), record.to)

    async def _listen(self) -> None:
        try:
            async for delivery in self._client.deliveries():
                self._at = (delivery.epoch, delivery.seq)
                record = decode(delivery.record)
                self.heard.append((time.monotonic() * 1000, delivery, record))
                self._client.ack(delivery.seq)
        except BaseException as error:
            self.ended = error
            raise

    def _prove(self, role: Role, transcript: bytes) -> str:
        return b64u(sign_bytes(proof_payload(role, transcript), self.identity.seed))

    def _position(self) -> tuple[str, int] | None:
        return self._at
