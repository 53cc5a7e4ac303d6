"""``xmesh-relay``: the process around a RelayServer."""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from xmesh_mesh import child
from xmesh_mesh.errors import ConfigError, ExitCode, XmeshError
from xmesh_mesh.relay.limits import Limits
from xmesh_mesh.relay.log import Log
from xmesh_mesh.relay.options import Options, read_options
from xmesh_mesh.relay.service import RelayServer

__all__ = ["main"]

# Open files beside the connections: the log, the listener, what Python holds.
SPARE_FILES = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Run a relay until SIGTERM or Ctrl-C; return an ExitCode."""
    child.die_with_parent()
    try:
        options = read_options(argv)
    except ConfigError as error:
        Log(plain=False, threshold="error")("error", "failed", str(error))
        return error.exit_code
    log = Log(plain=options.plain, threshold=options.log_level)
    child.allow_files(Limits().connections + SPARE_FILES)
    logging.basicConfig(handlers=[log], level=logging.WARNING)
    try:
        asyncio.run(_serve(options, log))
    except XmeshError as error:
        log("error", "failed", str(error))
        return error.exit_code
    return ExitCode.OK


async def _serve(options: Options, log: Log) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with RelayServer(options.access, log, proxies=options.proxies) as relay:
        try:
            port = await relay.start(options.host, options.port)
        except OSError as error:
            raise _cannot_listen(options, error) from error
        child.announce_ready()
        who = "everybody may join" if options.access.open else "a token is needed"
        log("info", "ready", f"The relay listens on {options.host} port {port}; {who}.", port=port)
        if options.access.open and not options.is_local:
            text = "Everybody who reaches this address may join. Set SYM_RELAY_TOKEN to prevent it."
            log("warning", "open", text)
        await stop.wait()
        log("info", "stopping", "The relay stops.")
    log("info", "stopped", "The relay has stopped.")


def _cannot_listen(options: Options, error: OSError) -> XmeshError:
    return XmeshError(
        f"the relay cannot listen there: {error.strerror}",
        where=f"{options.host} port {options.port}",
        fix="choose another with --host and --port",
    )


if __name__ == "__main__":
    sys.exit(main())
