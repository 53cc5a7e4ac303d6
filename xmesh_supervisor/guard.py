"""The guard: ends everything of one runtime directory when the supervisor is gone, however it went.

It is started with a pipe on its standard input whose other end only the supervisor holds. End of
file there means that the supervisor is dead (or done). Then every process that carries a tag of
this root is killed until two scans in a row find none.
"""

import os
import signal
import sys
from pathlib import Path

from xmesh_mesh.child import announce_ready
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import tree

__all__ = ["NAME", "main"]

NAME = "guard"


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    root = RuntimeDir.from_env().root
    announce_ready()
    while os.read(sys.stdin.fileno(), 64):
        pass
    return 0 if sweep(root) else 1


def sweep(root: Path) -> bool:
    """Kill every process of this root but guards; return whether none is left."""
    prefix = tree.root_tag(root) + ":"
    guards = prefix + NAME
    return tree.end_all(lambda tag: tag.startswith(prefix) and tag != guards)


if __name__ == "__main__":
    raise SystemExit(main())
