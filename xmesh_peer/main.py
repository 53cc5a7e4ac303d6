"""``xmesh-peer``: one agent as a process. The supervisor starts it; it says why it ends.

From the environment: ``XMESH_RUNTIME_DIR``, ``XMESH_PLAN`` (a PeerPlan as JSON), ``XMESH_RUN`` (the
run's id), ``XMESH_LIFT`` (the tombstone that an operator's start lifts, if any), the one vendor
key that the plan names, and what ``xmesh_mesh.child`` reads. Exit codes: ``errors.ExitCode``.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from xmesh_mesh import child, tombstones
from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.bus.frames import Welcome
from xmesh_mesh.control import Command, ControlServer
from xmesh_mesh.errors import CollisionError, ConfigError, KilledError, XmeshError
from xmesh_mesh.identity import Identity, load_or_create
from xmesh_mesh.introduction import introduce
from xmesh_mesh.memory import Memory
from xmesh_mesh.node import IMPLEMENTATION, Node
from xmesh_mesh.paths import (
    OPERATOR,
    FileLock,
    RuntimeDir,
    check_group,
    check_name,
    sync_directory,
)
from xmesh_mesh.pins import Pins
from xmesh_peer.agent import Agent
from xmesh_peer.calls import Caller
from xmesh_peer.gatekeeper import Gatekeeper
from xmesh_peer.listener import Listener
from xmesh_peer.log import Log
from xmesh_peer.models.factory import open_model
from xmesh_peer.models.prepared import Prepared
from xmesh_peer.plan import PeerPlan
from xmesh_peer.presence import Presence, now_ms
from xmesh_peer.safety.budgets import caps_of
from xmesh_peer.safety.ledger import Account, Purse, SpendLedger
from xmesh_peer.sender import Sender
from xmesh_peer.thinker import Thinker

JOIN_TIMEOUT_S = 20.0
UNTIL_JOINED = "until-joined"


@dataclass(frozen=True)
class Order:
    """What the supervisor wants this process to be."""

    root: RuntimeDir
    plan: PeerPlan
    run: str
    lift: str
    key: str

    @property
    def name(self) -> str:
        return self.plan.settings.identity.name

    @classmethod
    def from_env(cls) -> "Order":
        """Read the order and take the key out of the environment of everything started later."""
        root = RuntimeDir.from_env().ensure()
        try:
            plan = msgspec.json.decode(os.environ["XMESH_PLAN"], type=PeerPlan)
        except (KeyError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"there is no usable plan: {error}",
                where="XMESH_PLAN",
                fix="start peers with: xmesh-sup up FILE, or xmesh-agent run --config FILE",
            ) from error
        check_name(plan.settings.identity.name)
        check_group(plan.settings.mesh.group)
        key = os.environ.pop(plan.key_env, "") if plan.key_env else ""
        lift = os.environ.get("XMESH_LIFT", "")
        return cls(root, plan, os.environ.get("XMESH_RUN", "by-hand"), lift, key)


def main() -> int:
    """Run one peer to its end; the exit code is the message to the supervisor."""
    child.die_with_parent()
    try:
        order = Order.from_env()
        log = Log(order.name, order.plan.settings.logging)
    except XmeshError as error:
        sys.stderr.write(f"xmesh-peer: {error}\n")
        return int(error.exit_code)
    try:
        asyncio.run(_live(order, log))
    except XmeshError as error:
        log.error("ends", str(error), exit_code=int(error.exit_code))
        return int(error.exit_code)
    log.info("stopped", "stopped")
    return 0


async def _live(order: Order, log: Log) -> None:
    lock = FileLock(order.root.node_lock(order.name))
    if not lock.acquire(name=order.name):
        raise CollisionError(
            f"another process is {order.name} already: pid {lock.holder().get('pid', 'unknown')}",
            where=str(lock.path),
            fix="stop that one first, or give this peer another name",
        )
    lifted = _pass_tombstone(order)
    memory = Memory.open(order.root.memory(order.name))
    if lifted:
        _forget_after_kill(order, memory, log)
    try:
        async with _assembled(order, memory, log) as agent:
            await agent.run(order.plan.settings.supervise.stop_timeout_s)
    finally:
        memory.close()
        lock.release()


def _pass_tombstone(order: Order) -> bool:
    """Return whether a tombstone lies here that this very start lifts; any other one forbids."""
    stone = tombstones.read(order.root.tombstone(order.name))
    if stone is None:
        return False
    if stone.id == order.lift:
        return True
    raise KilledError(
        f"killed by {stone.who}: {stone.why}",
        where=order.name,
        fix=f"bring it back with: xmesh-sup start {order.name}",
    )


def _forget_after_kill(order: Order, memory: Memory, log: Log) -> None:
    """A kill ends what was under way: nothing unsent leaves, nothing queued is acted on."""
    with memory.transaction():
        unsent = memory.discard_outbox()
        undone = memory.drop_queued("killed before it was acted on", now_ms())
        memory.set_meta("old-news", UNTIL_JOINED)
    path = order.root.tombstone(order.name)
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
    log.info("lifted", f"back after a kill; {unsent} unsent records and {undone} wakes are dropped")


@asynccontextmanager
async def _assembled(order: Order, memory: Memory, log: Log) -> AsyncIterator[Agent]:
    """Put the parts together, join the bus, open the control socket, and say ready."""
    plan, settings = order.plan, order.plan.settings
    identity = await asyncio.to_thread(load_or_create, order.root.identity(order.name), order.name)
    gate = Gatekeeper(order.root, plan, log)
    node = _node(order, identity, memory, gate)
    presence = Presence(log)
    ledger = await asyncio.to_thread(SpendLedger, order.root.spend_db)
    purse = Purse(ledger, Account(order.name, order.run, caps_of(settings.budget)))
    introduction = introduce(identity, node.group, implementation=IMPLEMENTATION, now_ms=now_ms())
    client = BusClient(
        order.root.bus_socket,
        introduction,
        position=memory.position,
        on_introduced=lambda found: listener.meet(found),  # noqa: PLW0108 - made below
        prove=lambda role, transcript: listener.prove(role, transcript),  # noqa: PLW0108 - as above
    )
    model = Prepared(lambda: open_model(plan, order.key))
    sender = Sender(memory, client, presence)
    thinker = Thinker(
        node=node,
        caller=Caller(
            model,
            purse,
            plan.price,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
        ),
        purse=purse,
        settings=settings,
        presence=presence,
        others=lambda: _others(client, identity.node_id),
        emitted=sender.notice,
        bury=lambda why: _bury(order, why),
        triage=gate.triage(order.key, purse, memory, model),
    )
    listener = Listener(node, client, presence, thinker.woken.set)
    agent = Agent(node, client, listener, thinker, sender, presence)
    control = ControlServer(
        order.root.peer_socket(order.name), _commands(order, agent, ledger, presence)
    )
    try:
        await gate.open()
        welcome = await client.connect(JOIN_TIMEOUT_S)
        for introduced in welcome.members:
            listener.meet(introduced)
        listener.floor = _floor(memory, welcome)
        await control.start()
        _stop_on_signals(presence)
        child.announce_ready()
        log.info("ready", f"ready as {identity.node_id[:13]}, {plan.adapter} {plan.model_name}")
        yield agent
    finally:
        await control.close()
        await client.close()
        await model.close()
        await gate.close()
        ledger.close()


def _node(order: Order, identity: Identity, memory: Memory, gate: Gatekeeper) -> Node:
    settings = order.plan.settings
    return Node(
        identity=identity,
        group=settings.mesh.group,
        memory=memory,
        pins=Pins(order.root.pins(settings.mesh.group) / "pins.json"),
        charter=settings.identity.charter,
        weights=settings.role_weights,
        trust=settings.mesh.trust,
        judge=gate.judge,
        asks=gate.asks,
    )


def _floor(memory: Memory, welcome: Welcome) -> int:
    """Return the sequence up to which records are old news: all that came while it was killed."""
    mark = memory.meta("old-news")
    if mark == UNTIL_JOINED:
        memory.set_meta("old-news", f"{welcome.epoch} {welcome.head}")
        return welcome.head
    epoch, _, seq = (mark or "").partition(" ")
    return int(seq) if epoch == welcome.epoch and seq else -1


def _others(client: BusClient, own: str) -> int:
    """Return how many other agents the group has; a person's words are no agent."""
    return sum(
        node_id != own and found.name != OPERATOR for node_id, found in client.members.items()
    )


def _bury(order: Order, why: str) -> None:
    tombstones.bury(order.root.tombstone(order.name), why)


def _commands(
    order: Order, agent: Agent, ledger: SpendLedger, presence: Presence
) -> dict[str, Command]:
    started = time.monotonic()

    def status() -> dict[str, Any]:
        process = {"pid": os.getpid(), "uptime_s": round(time.monotonic() - started, 3)}
        return {**agent.status(order.plan, order.run), **process, "cost": cost()}

    def cost() -> dict[str, Any]:
        spent = ledger.spent(order.name, order.run)
        limits = caps_of(order.plan.settings.budget)
        return {
            "run_nano": spent.run_nano,
            "hour_nano": spent.hour_nano,
            "day_nano": spent.day_nano,
            "caps_nano": {"run": limits.run_nano, "hour": limits.hour_nano, "day": limits.day_nano},
        }

    def stop() -> dict[str, Any]:
        presence.stop()
        return {"stopping": True}

    return {"status": lambda _: status(), "cost": lambda _: cost(), "stop": lambda _: stop()}


def _stop_on_signals(presence: Presence) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, presence.stop)


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):  # a full disk must not change what the code says
        sys.stderr.flush()
    # Everything durable is closed; taking the interpreter apart would only make a stop slower.
    os._exit(code)
