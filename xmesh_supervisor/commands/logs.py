"""xmesh-sup logs"""

import argparse
import json
import time
from collections.abc import Iterable

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.console import LogLine, Tail, render
from xmesh_supervisor.output import write

HELP = """\
Shows what the peers, the bus and the supervisor have said, merged by time (UTC). -f goes on with
what they say from now on, until Ctrl-C. With --json each line is the object that was logged."""
EXAMPLE = "xmesh-sup logs reviewer-01 -f"
EXITS = "0 done; 1 it failed; 2 wrong usage; 130 Ctrl-C"

_EVERY_S = 0.1


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer, bus or supervisor")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("-n", "--lines", type=int, default=50, help="how many old ones (50)")
    parser.add_argument("--json", action="store_true", help="JSON lines")


def run(args: argparse.Namespace) -> int:
    if args.lines < 0:
        raise UsageError("-n takes a number that is not negative")
    root = RuntimeDir.from_env()
    _check_names(root, args.names)
    tail = Tail(root, args.names)
    _print(tail.recent(args.lines), as_json=args.json)
    while args.follow:
        time.sleep(_EVERY_S)
        _print(tail.more(), as_json=args.json)
    return 0


def _check_names(root: RuntimeDir, names: Iterable[str]) -> None:
    there = sorted(path.stem for path in (root.root / "logs").glob("*.log"))
    for name in names:
        if name not in {*there, "supervisor"}:
            known = ", ".join(there) or "nobody"
            raise UsageError(f"{name!r} has logged nothing here", fix=f"these have: {known}")


def _print(lines: Iterable[LogLine], *, as_json: bool) -> None:
    for line in lines:
        write(json.dumps(line.fields) if as_json else render(line))
