"""One local peer on the wire: its remotes, its links, and what becomes of what they bring.

It holds no signing key: what a handshake must prove, the peer proves. Nothing a remote says is
passed to another remote, and no two local peers are ever joined through here.
"""

from collections.abc import AsyncIterable, Callable
from typing import Any, Final

from xmesh_mesh.errors import RecordError, XmeshError
from xmesh_mesh.gateway.clock import now_ms, wall_ms
from xmesh_mesh.gateway.intake import Bus, Intake
from xmesh_mesh.gateway.link import Link
from xmesh_mesh.gateway.refusals import Refusals
from xmesh_mesh.gateway.remote import Remote
from xmesh_mesh.gateway.store import Pair, Store
from xmesh_mesh.gateway.talk import Brought, Counterpart, shown_in
from xmesh_mesh.gateway.trust import Gatekeeper
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import decode
from xmesh_mesh.wire import frames, records
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame, Unknown
from xmesh_mesh.wire.recent import Recent
from xmesh_mesh.wire.secure_terms import ProofRequest
from xmesh_mesh.wire.trust import Self

__all__ = ["Endpoint", "Say"]

MAX_REMOTES: Final = 1_024
MAX_STRANGERS: Final = 256
MAX_TOLD: Final = 200  # characters of a message that are logged
TOLD_EVERY_MS: Final = 60_000  # one message of a remote is logged in this time

Say = Callable[[str, str, str], None]  # level, event, a sentence


class Endpoint:
    """``on_lan`` is told of each change of whether a remote has a link on the LAN.

    Its three values: the node id, whether there is one, and whether the last one was mute.
    """

    def __init__(
        self,
        own: Self,
        gatekeeper: Gatekeeper,
        store: Store,
        bus: Bus,
        say: Say,
        moved: Callable[[Remote], None],
    ) -> None:
        self.own = own
        self.gatekeeper = gatekeeper
        self.remotes: dict[str, Remote] = {}
        self.links: set[Link] = set()
        self.collision = ""
        self.on_lan: Callable[[str, bool, bool], None] = lambda *_: None
        self._store = store
        self._bus = bus
        self._say = say
        self._moved = moved
        self._strangers: dict[str, Refusals] = {}
        self._intake = Intake(own, gatekeeper, bus)
        self._told = Recent(TOLD_EVERY_MS, MAX_REMOTES)

    # A link's life

    async def run(self, link: Link, payloads: AsyncIterable[bytes]) -> None:
        """Serve a link until it ends. Never raises for anything that comes over it."""
        self.links.add(link)
        try:
            link.start()
            async for payload in payloads:
                await link.take(payload)
                if link.closed:
                    break
        except WireError as error:
            self._ended_by(link, error)
        except OSError:
            pass  # the other side is gone
        except XmeshError as error:
            self._say("warning", "link-lost", f"{self._who(link)}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a stranger finds ends its own link only
            self._say("error", "link-failed", f"{self._who(link)}: {error!r}")
        finally:
            self._end(link)

    def tick(self) -> None:
        """Do what is due: handshakes that take too long, pings, silent and mute links."""
        for link in list(self.links):
            try:
                link.tick()
            except WireError as error:
                self._ended_by(link, error)
                link.close()
        for remote in self.remotes.values():
            self._check_trust(remote)
            for link, mute in remote.tick():
                link.mute = mute
                self._say("info", "link-lost", f"{self._who(link)} is {_silence(mute)}.")
                link.close()

    def stop(self) -> None:
        for remote in self.remotes.values():
            remote.stop()
        for link in list(self.links):
            link.close()

    def said(self) -> None:
        """The local peer has said something that is in the store now."""
        for remote in self.remotes.values():
            remote.pump()

    def attest(self, frame: frames.AttestationFrame) -> None:
        for remote in self.remotes.values():
            remote.attest(frame)

    # What links ask (``link.Host``)

    async def prove(self, request: ProofRequest) -> str:
        return await self._bus.prove(self.own.node_id, request.role, request.transcript)

    async def opened(self, link: Link, counterpart: Counterpart) -> None:
        self.gatekeeper.enter(counterpart, self._bus.local())
        await self._intake.introduce(counterpart)
        remote = self._remote(counterpart)
        for superfluous in remote.attach(link, counterpart):
            superfluous.close()
        if link.closed:
            return
        if counterpart.secure:
            _close_plain(remote)
        kind = "Core Secure" if counterpart.secure else "plain"
        self._say("info", "linked", f"{self._who(link)} over {link.wire.transport}, {kind}.")
        self._tell_lan(remote, mute=False)
        remote.pump()

    async def received(self, link: Link, brought: Brought, *, anchor: bool) -> None:
        remote = self._remote_of(link)
        if remote is None:
            raise RecordError("malformed", "a record came on a link that is not open")
        await self._intake.take(remote, brought, anchor=anchor)

    async def presented(self, link: Link, operator: Introduction) -> None:
        remote = self._remote_of(link)
        if remote is not None:
            await self._intake.present(remote, operator)

    def heard(self, link: Link, frame: Frame | Unknown) -> None:
        remote = self._remote_of(link)
        if remote is not None:
            remote.heard(link, frame)

    def fetch(self, link: Link, request: frames.CmbFetch) -> None:
        """Answer from what the local peer has said itself; a relay is shown no words."""
        remote = self._remote_of(link)
        if remote is None:
            return
        found = None
        if link.wire.transport == "lan":
            found = self._store.by_key(remote.pair, request.key)
        record = decode(found.record) if found else None
        link.send(records.fetch_answer(request, record, wall_ms()))

    def told(self, link: Link, text: str) -> None:
        remote = self._remote_of(link)
        if remote is not None and self._told.claim(remote.pair.remote, now_ms()):
            self._say("info", "message", f"{self._who(link)} says {text[:MAX_TOLD]!r}.")

    def refused(self, link: Link, code: str, text: str) -> None:
        if self._refusals(link).note(code):
            self._say("warning", "refused", f"{self._who(link)}: {code}: {text}")

    def impostor(self, frame: Frame | Unknown) -> None:
        seen = shown_in(frame)
        if seen is not None:
            self.gatekeeper.quarantine(seen, "our-id")

    def pace(self, link: Link, size: int) -> int:
        remote = self._remote_of(link)
        return remote.pace.spend(size, now_ms()) if remote is not None else 0

    # What is shown

    def status(self) -> list[dict[str, Any]]:
        """Return the rows of this endpoint's remotes, and of the operators of their hosts."""
        mine = {"local": self.own.name, "trust": self.gatekeeper.mode}
        return [mine | row for remote in self.remotes.values() for row in remote.status()]

    def collide(self, text: str) -> None:
        """Somebody else lives under this peer's identity: the peer is to end, and so is this."""
        if not self.collision:
            self.collision = text
            self._say("error", "collision", text)
            self._bus.collide(self.own.node_id, text)
            self.stop()

    def _check_trust(self, remote: Remote) -> None:
        """End the links of a node whose pin a person has taken away; it may come again."""
        if remote.links and not self.gatekeeper.stands(remote.counterpart):
            name = remote.counterpart.name
            self._say("info", "link-lost", f"The key of {name!r} is not the pinned one any more.")
            for link in remote.links.values():
                link.close()

    def _remote(self, counterpart: Counterpart) -> Remote:
        remote = self.remotes.get(counterpart.node_id)
        if remote is None:
            self._make_room()
            pair = Pair(self.own.group, self.own.node_id, counterpart.node_id)
            remote = Remote(pair, counterpart, self._store, self._moved)
            self.remotes[counterpart.node_id] = remote
        return remote

    def _make_room(self) -> None:
        """Forget who was away longest, where there are too many; its cursor is in the store."""
        if len(self.remotes) < MAX_REMOTES:
            return
        away = [each for each in self.remotes.values() if not each.links]
        if not away:
            raise WireError("not-trusted", "there are too many remotes already")
        del self.remotes[min(away, key=lambda each: each.last_seen_ms).pair.remote]

    def _remote_of(self, link: Link) -> Remote | None:
        return self.remotes.get(link.node_id) if link.line is not None else None

    def _ended_by(self, link: Link, error: WireError) -> None:
        if error.code == "collision":
            self.collide(
                f"{self.own.name} runs somewhere else too, at {link.wire.address}: {error}"
            )
        else:
            self.refused(link, error.code, str(error))

    def _end(self, link: Link) -> None:
        link.close()
        self.links.discard(link)
        remote = self._remote_of(link)
        if remote is not None:
            remote.detach(link)
            self._tell_lan(remote, mute=link.mute)

    def _tell_lan(self, remote: Remote, *, mute: bool) -> None:
        has_lan = any(line.transport == "lan" for line in remote.links)
        self.on_lan(remote.pair.remote, has_lan, mute)

    def _refusals(self, link: Link) -> Refusals:
        remote = self._remote_of(link)
        if remote is not None:
            return remote.refusals
        who = self._who(link)
        if who not in self._strangers and len(self._strangers) >= MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        return self._strangers.setdefault(who, Refusals())

    def _who(self, link: Link) -> str:
        counterpart = link.counterpart
        if counterpart is not None:
            return f"{counterpart.name!r} ({counterpart.node_id[:13]}) of {self.own.name}"
        host, _, _ = link.wire.address.rpartition(":")
        return f"somebody at {host or link.wire.address} for {self.own.name}"


def _close_plain(remote: Remote) -> None:
    """A node that has shown Core Secure is not heard over less any more."""
    for line, link in remote.links.items():
        if not line.secure:
            link.close()


def _silence(mute: bool) -> str:
    return "mute towards us" if mute else "silent"
