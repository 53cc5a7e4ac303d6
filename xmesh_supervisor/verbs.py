"""What the verbs that act on named peers have in common."""

import argparse

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import client
from xmesh_supervisor.console import safe
from xmesh_supervisor.output import print_json, write

__all__ = ["PER_LINE_S", "act_on_names", "take_names"]

PER_LINE_S = 3700.0  # a stop may take as long as stop_timeout_s allows


def take_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a peer")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def act_on_names(args: argparse.Namespace, command: str) -> int:
    """Send ``command`` for ``args.names``; print a line as each arrives; 1 where one failed."""
    root = RuntimeDir.from_env()
    peers = []
    good = False
    for line in client.call(root, command, names=args.names, timeout_s=PER_LINE_S):
        good = bool(line.get("all"))
        if "peer" not in line:
            continue
        peers.append({key: line[key] for key in ("peer", "state", "text")})
        if not args.json:
            write(f"{line['peer']}  {safe(str(line['text']))}")
    if args.json:
        print_json({"ok": good, "peers": peers})
    return 0 if good else 1
