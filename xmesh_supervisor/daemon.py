"""The supervisor's process: lock, signals, socket and fleet, from the first moment to the last.

``xmesh-sup up`` becomes it in the foreground; ``python -m xmesh_supervisor.daemon`` is the same
without a terminal, resuming what the record says.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xmesh_mesh.child import announce_ready
from xmesh_mesh.errors import CollisionError, XmeshError
from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_supervisor.child import Child
from xmesh_supervisor.control import Control
from xmesh_supervisor.events import FleetEvent, Journal
from xmesh_supervisor.fleet import Fleet
from xmesh_supervisor.infrastructure import COMMANDS
from xmesh_supervisor.ledger import Ledger
from xmesh_supervisor.lifecycle import State
from xmesh_supervisor.processes import PopenSpawner, collect_orphans
from xmesh_supervisor.spec import Spec
from xmesh_supervisor.systemd import notify, watchdog_s

__all__ = ["Supervisor", "main"]

Hear = Callable[[FleetEvent], None]


class Supervisor:
    """One per root, in the main thread. ``run`` is its whole life.

    ``specs`` None resumes what is recorded. ``hear`` is told of everything that happens.
    """

    def __init__(
        self,
        root: RuntimeDir,
        *,
        specs: Sequence[Spec] | None = None,
        keys: Mapping[str, Mapping[str, str]] | None = None,
        hear: Hear | None = None,
        commands: Mapping[str, Sequence[str]] = COMMANDS,
        ready_s: float = 30.0,
    ) -> None:
        self._root = root
        self._specs = specs
        self._keys = keys or {}
        self._hear = hear
        self._commands = commands
        self._ready_s = ready_s
        self._since_s = time.monotonic()
        self._stop = asyncio.Event()
        self._end_run = False
        self.fleet: Fleet
        self.closed = asyncio.Event()

    def run(self) -> None:
        """Supervise until somebody ends it. Raises CollisionError where another one does."""
        lock = FileLock(self._root.supervisor_lock)
        if not _acquired(lock):
            raise CollisionError(
                f"a supervisor runs here already, pid {lock.holder().get('pid', 'unknown')}",
                where=str(self._root.root),
                fix="xmesh-sup ps shows it; xmesh-sup down ends it",
            )
        try:
            collect_orphans()
            asyncio.run(self._main())
        finally:
            lock.release()

    def shut(self, *, end_run: bool) -> None:
        """Begin to end everything; asked again, stop waiting for those who take their time."""
        if self._stop.is_set():
            self.fleet.hurry()
        self._end_run = self._end_run or end_run
        self._stop.set()

    async def _main(self) -> None:
        ledger = Ledger(self._root.supervisor_db)
        self.fleet = Fleet(self._root, PopenSpawner(), ledger, self._commands, self._ready_s)
        self.fleet.listeners.add(Journal(self._root.events).write)
        if self._hear:
            self.fleet.listeners.add(self._hear)
        self._watch_signals()
        control = Control(self, self._root.supervisor_socket)
        work = (self.fleet.keep_logs_small(), self.fleet.gateway_plan.run(), self._watchdog())
        chores = [asyncio.create_task(each) for each in work]
        try:
            await self._live(control)
        finally:
            notify("STOPPING=1")
            await self.fleet.close(end_run=self._end_run)
            self.fleet.tell("supervisor", "down", "everything has stopped")
            self.closed.set()
            await control.close()
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            ledger.close()

    async def _live(self, control: Control) -> None:
        opening = asyncio.ensure_future(self._open(control))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
                await stopping
        finally:
            for task in (opening, stopping):
                task.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    async def _open(self, control: Control) -> None:
        await self.fleet.infra.open()
        resumed = self.fleet.resume()
        await control.open()
        if self._specs is None:
            for name in resumed:
                child = self.fleet.peer(name).child
                if child.state is State.STOPPED:
                    child.start()
        else:
            await self.fleet.apply(self._specs, self._keys, replace=True)
        await self.fleet.infra.bus_ready()
        announce_ready()
        notify("READY=1", f"STATUS={len(self.fleet.peers)} peers")

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.fleet.reap)
        # Ctrl-C is a person who is done; SIGTERM comes from an init system that may come back.
        loop.add_signal_handler(signal.SIGINT, lambda: self.shut(end_run=True))
        loop.add_signal_handler(signal.SIGTERM, lambda: self.shut(end_run=False))
        loop.add_signal_handler(signal.SIGHUP, lambda: self.shut(end_run=False))

    async def _watchdog(self) -> None:
        every_s = watchdog_s(os.environ, os.getpid())
        while every_s is not None:
            notify("WATCHDOG=1")
            await asyncio.sleep(every_s)

    def about(self) -> dict[str, Any]:
        """Return all that is known here, as the ``status`` command answers it."""
        return {
            "supervisor": {
                "pid": os.getpid(),
                "uptime_s": round(time.monotonic() - self._since_s, 3),
                "root": str(self._root.root),
            },
            "infrastructure": [_describe(child) for child in self.fleet.infra.shown()],
            "peers": [
                {
                    **_describe(peer.child),
                    "run": peer.run,
                    "adapter": peer.spec.adapter,
                    "model": peer.spec.model_text,
                }
                for peer in self.fleet.peers.values()
            ],
        }


def _acquired(lock: FileLock) -> bool:
    """Try for a moment: a command line that only looks whether we run holds it as it looks."""
    for _ in range(10):
        if lock.acquire(role="supervisor"):
            return True
        time.sleep(0.01)
    return False


def _describe(child: Child) -> dict[str, Any]:
    process = child.process
    uptime_s = round(time.monotonic() - child.spawned_s, 3) if process else None
    return {
        "name": child.name,
        "state": str(child.state),
        "desired": str(child.desired),
        "pid": process.pid if process else None,
        "uptime_s": uptime_s,
        "ready_in_s": round(child.ready_in_s, 3) if child.ready_in_s else None,
        "restarts": child.restarts,
        "reason": child.reason,
        "last_exit": child.last_exit,
    }


def main() -> int:
    """Run without a terminal; what goes wrong is on stderr, which is supervisor.log."""
    try:
        Supervisor(RuntimeDir.from_env().ensure()).run()
    except XmeshError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
