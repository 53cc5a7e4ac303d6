"""xmesh-sup down"""

import argparse
import time

from xmesh_mesh.errors import SupervisorError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import client
from xmesh_supervisor.console import safe
from xmesh_supervisor.output import print_json, write

HELP = """\
Stops all peers (each gets its stop_timeout_s to finish what it is doing), then the bus, then the
supervisor, and returns when everything has ended. Their runs are over: up begins new ones."""
EXAMPLE = "xmesh-sup down"

_GONE_WITHIN_S = 10.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    root = RuntimeDir.from_env()
    begun_s = time.monotonic()
    for line in client.call(root, "down", timeout_s=None):
        if "peer" in line and not args.json:
            write(f"{line['peer']}  {safe(str(line['text']))}")
    _await_end(root)
    if args.json:
        print_json({"down": True, "took_s": round(time.monotonic() - begun_s, 3)})
    return 0


def _await_end(root: RuntimeDir) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    while client.is_running(root):
        if time.monotonic() > deadline:
            raise SupervisorError("everything was stopped, but the supervisor does not end")
        time.sleep(0.01)
