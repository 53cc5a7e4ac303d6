"""``xmesh-gateway``: the process around a Gateway. It starts empty and is told its plan."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from xmesh_mesh import child
from xmesh_mesh.control import ControlServer
from xmesh_mesh.errors import CollisionError, ExitCode, XmeshError
from xmesh_mesh.gateway.addresses import chosen_addresses
from xmesh_mesh.gateway.service import Gateway
from xmesh_mesh.gateway.sockets import MAX_SOCKETS
from xmesh_mesh.gateway.store import Store
from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_mesh.relay.log import Log
from xmesh_mesh.relay_address import PLAIN_RELAYS

__all__ = ["main"]

MAX_REQUEST = 1_048_576


def main() -> int:
    """Run the gateway of ``$XMESH_RUNTIME_DIR`` until SIGTERM; return an ExitCode."""
    child.die_with_parent()
    log = Log(plain=False, threshold=os.environ.get("LOG_LEVEL", "info"), peer="gateway")
    # A peer of each side dials half of the links, and every peer listens.
    child.allow_files(2 * MAX_SOCKETS)
    logging.basicConfig(handlers=[log], level=logging.WARNING)
    try:
        _locked(RuntimeDir.from_env().ensure(), log)
    except XmeshError as error:
        log("error", "failed", str(error))
        return error.exit_code
    except OSError as error:
        log("error", "failed", f"The gateway cannot run: {error}")
        return ExitCode.FAILURE
    return ExitCode.OK


def _locked(runtime: RuntimeDir, log: Log) -> None:
    lock = FileLock(runtime.gateway_lock)
    if not lock.acquire(what="xmesh-gateway"):
        raise CollisionError(
            f"a gateway runs here already, as process {lock.holder().get('pid', 'unknown')}",
            where=str(runtime.root),
            fix="use that one, or set XMESH_RUNTIME_DIR to another directory",
        )
    try:
        store = Store.open(runtime.gateway_db)
        try:
            asyncio.run(_serve(runtime, store, log))
        finally:
            store.close()
    finally:
        lock.release()


async def _serve(runtime: RuntimeDir, store: Store, log: Log) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(
        runtime,
        store,
        log,
        home=Path.home(),
        addresses=chosen_addresses(os.environ),
        plain_relays=os.environ.get(PLAIN_RELAYS) == "1",
    )
    control = ControlServer(
        runtime.gateway_socket,
        {"plan": gateway.apply, "status": lambda _: gateway.status()},
        max_line=MAX_REQUEST,
    )
    working = asyncio.create_task(gateway.run())
    await control.start()
    child.announce_ready()
    log("info", "ready", f"The gateway waits for its plan on {runtime.gateway_socket}.")
    await _until(stop, working)
    await control.close()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    log("info", "stopped", "The gateway has stopped.")


async def _until(stop: asyncio.Event, working: "asyncio.Task[None]") -> None:
    """Wait for a signal, or for the work to fail; it never ends by itself."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, working}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()


if __name__ == "__main__":
    sys.exit(main())
