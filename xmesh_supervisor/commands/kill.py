"""xmesh-sup kill"""

import argparse
from dataclasses import asdict

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.kill import kill, known_names
from xmesh_supervisor.output import print_json, write

HELP = """\
Ends peers at once, each with everything that it started, and for good: a tombstone on disk says
who did it and why, and nothing starts the peer again until xmesh-sup start. What the peer had
not yet handed to the bus is discarded. It works with a hung supervisor and with none."""
EXAMPLE = 'xmesh-sup kill reviewer-01 --why "it loops"\n  xmesh-sup kill --all'
EXITS = "0 dead; 1 a process does not end; 2 wrong usage, unknown name"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer")
    parser.add_argument("--all", action="store_true", help="every peer of this runtime directory")
    parser.add_argument("--why", default="", help="the reason, kept and shown")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    if bool(args.names) == args.all:
        raise UsageError("name the peers to kill, or say --all", fix=f"such as {EXAMPLE}")
    root = RuntimeDir.from_env()
    names = known_names(root) if args.all else list(dict.fromkeys(args.names))
    killed = kill(root, names, args.why)
    if args.json:
        print_json([asdict(each) for each in killed])
        return 0
    for each in killed:
        write(f"{each.name}  killed in {each.took_ms:.0f} ms, {each.processes} processes")
    if killed:
        write(f"dead until: xmesh-sup start {' '.join(names)}")
    else:
        write("no peer is known here")
    return 0
