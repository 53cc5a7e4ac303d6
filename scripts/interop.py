"""Interop: our peers beside stock ``sym`` nodes and a stock ``sym-relay``, live and both ways.

Each way of reaching each other (LAN, relay) gets hosts of its own in network namespaces, so nothing
reaches this machine's own network. Scene by scene something is shown; the table says by what.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers import netns, stock
from interop_parts.scenes import SCENES, Scene
from interop_parts.stage import KINDS, Kind, Stage, stage

CANNOT = 2


@dataclass(frozen=True)
class Shown:
    """One row of the table; ``by`` says what was seen, or what went wrong."""

    over: str
    what: str
    ok: bool
    by: str
    took_s: float


def main() -> int:
    arguments = _parse()
    for variable, path in ((stock.SYM, arguments.sym), (stock.RELAY, arguments.relay)):
        if path:
            os.environ[variable] = str(Path(path).resolve())
    reason = stock.unavailable(stock.SYM, stock.RELAY) or netns.unavailable()
    if reason:
        sys.stderr.write(f"scripts/interop cannot run: {reason}\n")
        return CANNOT
    shown = [row for kind in arguments.over or KINDS for row in _show(kind)]
    failed = [row for row in shown if not row.ok]
    if arguments.json:
        print(json.dumps([asdict(row) for row in shown], indent=1))
    else:
        print(_table(shown))
        print(f"\n{len(shown) - len(failed)} of {len(shown)} shown")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/interop",
        description="Show that our peers and stock sym nodes understand each other. About a minute."
        " Needs Linux, root, node, and checkouts of sym and sym-relay after 'npm install'.",
        epilog="example: scripts/interop --sym ~/sym --relay ~/sym-relay --over relay",
    )
    parser.add_argument("--sym", help=f"checkout of sym (else {stock.SYM})")
    parser.add_argument("--relay", help=f"checkout of sym-relay (else {stock.RELAY})")
    parser.add_argument("--over", action="append", choices=KINDS, help="only over this")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args()


def _show(kind: Kind) -> Iterator[Shown]:
    """Play all scenes on one stage; one that fails is a row, and the others go on."""
    root = Path(tempfile.mkdtemp(prefix="xmi-", dir="/tmp"))
    try:
        with stage(kind, root) as made:
            for scene in SCENES:
                if kind in scene.kinds:
                    yield _played(scene, made)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _played(scene: Scene, made: Stage) -> Shown:
    began = time.monotonic()
    try:
        by, ok = scene.play(made), True
    except Exception as error:  # noqa: BLE001 - whatever a scene runs into is its row
        by, ok = f"{type(error).__name__}: {error}"[:400], False
    took_s = round(time.monotonic() - began, 1)
    sys.stderr.write(f"interop: {made.kind}: {scene.what} {'ok' if ok else 'FAILED'}\n")
    return Shown(made.kind, scene.what, ok, by, took_s)


def _table(shown: list[Shown]) -> str:
    width = max(len(row.what) for row in shown)
    return "\n".join(_line(row, width) for row in shown)


def _line(row: Shown, width: int) -> str:
    ok = "ok  " if row.ok else "FAIL"
    return f"{ok} {row.over:5} {row.what:{width}} {row.took_s:5.1f} s  {row.by}"


if __name__ == "__main__":
    sys.exit(main())
