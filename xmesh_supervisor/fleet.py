"""All children of one runtime directory: guard, bus, encoder, gateway and peers, in order.

The fleet belongs to one supervisor process and its main thread. It decides nothing about a single
child (``lifecycle`` and ``restarts`` do) and speaks with nobody (``control`` does).
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from xmesh_mesh import tombstones
from xmesh_mesh.errors import StoreError, SupervisorError
from xmesh_mesh.paths import GATEWAY, RuntimeDir, check_name
from xmesh_mesh.tombstones import Tombstone
from xmesh_supervisor import guard, tree, wording
from xmesh_supervisor.child import Child, Limits
from xmesh_supervisor.events import FleetEvent, Listeners
from xmesh_supervisor.gateway import PlanKeeper, gateway_variables, plan_of
from xmesh_supervisor.infrastructure import COMMANDS, ENCODER, Infrastructure
from xmesh_supervisor.ledger import Ledger, Row
from xmesh_supervisor.lifecycle import ALIVE, Desired, State
from xmesh_supervisor.logfiles import last_words, rotate
from xmesh_supervisor.peer import Peer
from xmesh_supervisor.processes import Launch, Spawner, child_environment, plain
from xmesh_supervisor.spec import Spec

__all__ = ["Fleet", "Peer"]

_ROTATE_EVERY_S = 2.0
_LOG_LIMITS = (5 * 1024 * 1024, 5)


@dataclass(slots=True)
class Fleet:
    """``keys`` (peer → variable → value) are the models' keys: in memory, nowhere else."""

    root: RuntimeDir
    spawner: Spawner
    ledger: Ledger
    commands: Mapping[str, Sequence[str]] = field(default_factory=lambda: COMMANDS)
    ready_s: float = 30.0
    peers: dict[str, Peer] = field(default_factory=dict)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    listeners: Listeners = field(default_factory=Listeners)
    _lifts: dict[str, str] = field(default_factory=dict)
    _told: dict[str, State] = field(default_factory=dict)
    _kept: dict[str, Desired] = field(default_factory=dict)
    _applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    _closing: bool = False
    infra: Infrastructure = field(init=False)
    gateway_plan: PlanKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.infra = Infrastructure(self.root, self, self.ready_s)
        self.gateway_plan = PlanKeeper(
            self.root.gateway_socket, lambda text: self.tell(GATEWAY, "plan", text, "warning")
        )

    # What the operator asks for.

    def resume(self) -> list[str]:
        """Take over what the record says; return the names of those that should run."""
        for row in self.ledger.rows():
            spec = msgspec.json.decode(row.spec, type=Spec)
            peer = self._add(spec, row.run)
            peer.child.desired = row.desired
            peer.child.restarts, peer.child.last_exit = row.restarts, row.last_exit
            peer.child.reason = row.reason
            peer.child.state = row.resting
            self._told[spec.name] = peer.child.state
        return [name for name, peer in self.peers.items() if peer.child.desired is Desired.RUN]

    async def apply(
        self,
        specs: Sequence[Spec],
        keys: Mapping[str, Mapping[str, str]],
        *,
        replace: bool,
    ) -> dict[str, str]:
        """Make the fleet be these peers; return what was done to each: started, restarted,
        unchanged, killed (its tombstone holds it), stopped. Nothing is awaited but stops.

        Raises ConfigError for a name that may not become part of a path; then nothing is done.
        """
        for spec in specs:
            check_name(spec.name)
        async with self._applying:
            done = await self._reconcile(specs, keys, replace)
            self._see_to_gateway(retry=True)
        self._see_to_encoder()
        return done

    async def _reconcile(
        self,
        specs: Sequence[Spec],
        keys: Mapping[str, Mapping[str, str]],
        replace: bool,
    ) -> dict[str, str]:
        self._see_to_encoder(specs)  # before the peers, which look for it as they start
        named = {spec.name for spec in specs}
        gone = [name for name in self.peers if replace and name not in named]
        await self._dismiss(gone)
        for name, values in keys.items():
            self.keys[name] = dict(values)
        done = {spec.name: self._adopt(spec) for spec in specs}
        return {**done, **dict.fromkeys(gone, "stopped")}

    def start(self, name: str) -> Child:
        """Begin, or go on with, a run of ``name``; a tombstone on it is lifted."""
        peer = self.peer(name)
        self._see_to_encoder([peer.spec])
        stone = tombstones.read(self.root.tombstone(name))
        if stone and stone.id == tombstones.UNREADABLE:
            self.root.tombstone(name).unlink(missing_ok=True)
        elif stone:
            self._lifts[name] = stone.id
        if peer.child.desired is Desired.STOP:
            peer.run = _new_run()
        peer.child.start()
        return peer.child

    def stop(self, name: str) -> Child:
        child = self.peer(name).child
        child.stop()
        return child

    def restart(self, name: str) -> Child:
        """End the run of ``name`` and begin another; a tombstone is not lifted by this."""
        peer = self.peer(name)
        if self.tombstone(name) is None:
            peer.run = _new_run()
            peer.child.restart()
        return peer.child

    def bury(self, name: str) -> Child:
        """Take note that a tombstone was written for ``name``; one that a later start has lifted
        counts no more, however late the note comes."""
        peer = self.peer(name)
        if self.tombstone(name) is not None:
            peer.child.bury()
        return peer.child

    def peer(self, name: str) -> Peer:
        """Return the peer; SupervisorError names those that there are."""
        if name not in self.peers:
            known = ", ".join(self.peers) or "none"
            raise SupervisorError(
                f"there is no peer {name!r} (known: {known})",
                fix="xmesh-sup up FILES… starts the peers of agent.toml files",
            )
        return self.peers[name]

    async def close(self, *, end_run: bool) -> None:
        """Stop everything in reverse order: peers, gateway, encoder, bus, guard. ``end_run``: an
        operator wants it, so that what runs now is not resumed later, and its run is over."""
        self._closing = True
        for peer in reversed(self.peers.values()):
            if not end_run:
                self._kept[peer.spec.name] = peer.child.desired
            peer.child.stop()
        for peer in reversed(self.peers.values()):
            await peer.child.until(lambda child: child.state not in ALIVE)
        await self.infra.close()

    def hurry(self) -> None:
        """Somebody has asked a second time: kill what is still stopping, at once."""
        for child in self.children():
            child.hurry()

    def children(self) -> list[Child]:
        return [*self.infra.children.values(), *(peer.child for peer in self.peers.values())]

    def reap(self) -> None:
        """Hand each ended process to its child; called on SIGCHLD."""
        by_pid = {child.process.pid: child for child in self.children() if child.process}
        for pid, code in self.spawner.reap():
            if pid in by_pid:
                by_pid[pid].exited(code)

    async def keep_logs_small(self) -> None:
        """Rotate logs, for ever."""
        while True:
            await asyncio.sleep(_ROTATE_EVERY_S)
            for child in self.children():
                await self._keep_small(child.name)

    async def _keep_small(self, name: str) -> None:
        peer = self.peers.get(name)
        size, keep = (peer.spec.log_bytes, peer.spec.log_keep) if peer else _LOG_LIMITS
        try:
            await asyncio.to_thread(rotate, self.root.log(name), size, keep)
        except OSError as error:
            self.tell(name, "log", f"its log cannot be rotated: {error}", "warning")

    def tell(self, peer: str, kind: str, text: str, level: str = "info") -> None:
        self.listeners.tell(FleetEvent(time.time_ns() // 1_000_000, peer, kind, text, level))

    # What the children ask (child.Environment).

    def launch(self, name: str) -> Launch:
        kind = name if name in self.infra.children else "peer"
        stdin = self.infra.guard_pipe[0] if name == guard.NAME else None
        return Launch(self.commands[kind], self._environment(name), self.root.log(name), stdin)

    def _environment(self, name: str) -> dict[str, str]:
        peer = self.peers.get(name)
        keys = {env for values in self.keys.values() for env in values}
        keys.update(each.spec.key_env for each in self.peers.values() if each.spec.key_env)
        own = peer.variables(self._lifts.get(name), self.keys.get(name, {})) if peer else {}
        return child_environment(
            os.environ if peer else plain(os.environ),
            root=self.root.root,
            name=name,
            keys=frozenset(keys),
            own=own or (gateway_variables() if name == GATEWAY else {}),
        )

    def tag(self, name: str) -> str:
        return tree.tag(self.root.root, name)

    def tombstone(self, name: str) -> Tombstone | None:
        if name in self.infra.children:
            return None
        stone = tombstones.read(self.root.tombstone(name))
        return None if stone is None or stone.id == self._lifts.get(name) else stone

    def last_words(self, name: str) -> str:
        return last_words(self.root.log(name))

    def changed(self, child: Child) -> None:
        peer = self.peers.get(child.name)
        if peer is not None and child.state is State.RUNNING:
            self._lifts.pop(child.name, None)  # the peer has removed the tombstone itself
        if peer is not None and child.state is State.KILLED:
            self._note_kill(child)
        if peer is not None:
            self._save(peer)
        if self._told.get(child.name) is not child.state:
            self._told[child.name] = child.state
            level = "warning" if child.state in wording.ALARMING else "info"
            self.tell(child.name, str(child.state), self.sentence(child), level)
        self._see_to_gateway()
        if not self._applying.locked():  # who leaves now may make room for one that needs it
            self._see_to_encoder()

    # How it is done.

    def _see_to_gateway(self, *, retry: bool = False) -> None:
        """Run a gateway as long as a peer that is up asks for one, and keep it to its plan."""
        if self._closing:
            return
        plan = plan_of(self.peers.values(), self.keys)
        self.infra.optional(GATEWAY, wanted=bool(plan), retry=retry)
        child = self.infra.children.get(GATEWAY)
        ready = child is not None and child.state is State.RUNNING
        process = child.process if child and ready else None
        self.gateway_plan.see(plan, process.pid if process else None)

    def _see_to_encoder(self, starting: Iterable[Spec] = ()) -> None:
        """Run an encoder while a peer that is up, or is ``starting``, judges by its vectors."""
        if self._closing:
            return
        specs = [*starting, *(peer.spec for peer in self.peers.values() if peer.is_up)]
        self.infra.optional(ENCODER, wanted=any(spec.encoder for spec in specs))

    def _adopt(self, spec: Spec) -> str:
        old = self.peers.get(spec.name)
        if old is not None and old.spec == spec and old.child.state in ALIVE | {State.BACKOFF}:
            old.child.desired = Desired.RUN
            return "unchanged"
        if self.tombstone(spec.name) is not None:
            self._add(spec, _new_run() if old is None else old.run).child.bury()
            return "killed"
        if old is not None and old.child.state in ALIVE:
            self._change(old, spec)
            old.child.restart()
            return "restarted"
        self._begin(spec)
        return "started"

    def _begin(self, spec: Spec) -> None:
        old = self.peers.get(spec.name)
        goes_on = old is not None and old.child.desired is Desired.RUN
        if old is None:
            self._add(spec, _new_run())
        else:
            self._change(old, spec)
            old.run = old.run if goes_on else _new_run()
        self.peers[spec.name].child.start()

    def _change(self, peer: Peer, spec: Spec) -> None:
        peer.spec = spec
        peer.child.policy = spec.policy
        peer.child.limits = Limits(self.ready_s, spec.stop_timeout_s)

    def _add(self, spec: Spec, run: str) -> Peer:
        if spec.name in self.peers:
            self._change(self.peers[spec.name], spec)
            return self.peers[spec.name]
        limits = Limits(self.ready_s, spec.stop_timeout_s)
        peer = Peer(spec, Child(spec.name, spec.policy, limits, self), run)
        self.peers[spec.name] = peer
        return peer

    async def _dismiss(self, names: Iterable[str]) -> None:
        leaving = [self.peers[name] for name in names]
        for peer in leaving:
            peer.child.stop()
        for peer in leaving:
            await peer.child.until(lambda child: child.state not in ALIVE)
            name = peer.spec.name
            del self.peers[name]
            self._told.pop(name, None)
            self.keys.pop(name, None)
            self._guarded(partial(self.ledger.forget, name))

    def _note_kill(self, child: Child) -> None:
        stone = tombstones.read(self.root.tombstone(child.name))
        if stone is not None:
            child.reason = f"by {stone.who}: {stone.why}" if stone.why else f"by {stone.who}"
            self._guarded(lambda: self.ledger.killed(child.name, stone))

    def _save(self, peer: Peer) -> None:
        child = peer.child
        process = child.process
        row = Row(
            name=peer.spec.name,
            spec=msgspec.json.encode(peer.spec).decode(),
            desired=self._kept.get(child.name, child.desired),
            run=peer.run,
            state=child.state,
            pid=process.pid if process else 0,
            started=process.started if process else 0.0,
            since_ms=time.time_ns() // 1_000_000,
            restarts=child.restarts,
            reason=child.reason,
            last_exit=child.last_exit,
        )
        self._guarded(lambda: self.ledger.save(row))

    def _guarded(self, write: Callable[[], None]) -> None:
        """A record that cannot be written is said, and ends nobody's supervision."""
        try:
            write()
        except StoreError as error:
            self.tell("supervisor", "record", str(error), "error")

    def sentence(self, child: Child) -> str:
        peer = self.peers.get(child.name)
        return wording.sentence(child, peer.spec.model_text if peer else "")


def _new_run() -> str:
    return secrets.token_hex(8)
