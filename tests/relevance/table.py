"""Say thirty first messages to a running triad and print, as a table, who woke for which.

    PYTHONPATH=tests python tests/relevance/table.py

Relevant and foreign messages alternate, each after the mesh has come to rest from the one before,
so that memory grows as it would in a day's work. The triad is that of ``configs/``, in rehearsal.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

from helpers.mesh import PROJECT, ROLES, Mesh, running

from xmesh_mesh.paths import RuntimeDir

MESSAGES = json.loads(Path(__file__).with_name("messages.json").read_text())
MARKS = {True: "woke", False: "–"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="xm-", dir="/tmp") as folder:
        root = RuntimeDir(Path(folder)).ensure()
        with running(root, *rehearsing(root)) as mesh:
            rows = [row for pair in zip(*said(mesh), strict=True) for row in pair]
    print("| message | is | " + " | ".join(ROLES) + " |")
    print("|---|---|" + "---|" * len(ROLES))
    for kind, text, woken in rows:
        print(f"| {text} | {kind} | " + " | ".join(MARKS[name in woken] for name in ROLES) + " |")
    for kind in ("relevant", "foreign"):
        woke = [woken for of, _, woken in rows if of == kind]
        print(f"\n{kind}: {sum(map(bool, woke))} of {len(woke)} woke somebody", end="")
    print()
    return 0


def rehearsing(root: RuntimeDir) -> list[Path]:
    """Return copies of the triad's files that ask no model and have wakes enough for a day."""
    copies = []
    for file in sorted((PROJECT / "configs").glob("*.toml")):
        text = file.read_text().replace('adapter = "auto"', 'adapter = "rehearsal"')
        text = text.replace("[mesh]", "[mesh]\nlan = false")
        text = re.sub(r"max_wakes_per_(\w+) = \d+", r"max_wakes_per_\1 = 10000", text)
        copy = root.root / file.name
        copy.write_text(text)
        copies.append(copy)
    return copies


def said(mesh: Mesh) -> tuple[list[tuple[str, str, set[str]]], list[tuple[str, str, set[str]]]]:
    """Say the messages in turn; return (kind, text, who woke) of the relevant and the foreign."""
    found: dict[str, list[tuple[str, str, set[str]]]] = {"relevant": [], "foreign": []}
    for pair in zip(MESSAGES["relevant"], MESSAGES["foreign"], strict=True):
        for kind, message in zip(found, pair, strict=True):
            flags = [part for field, text in message.items() for part in (f"--{field}", text)]
            key = mesh.observe(*flags)
            mesh.rest()
            woken = {
                name for name in ROLES if any(e.key == key and e.wake for e in mesh.memory(name))
            }
            text = "; ".join(message.values())
            found[kind].append((kind, text, woken))
            print(f"{len(found[kind])} {kind}: {sorted(woken)}", file=sys.stderr)
    return found["relevant"], found["foreign"]


if __name__ == "__main__":
    sys.exit(main())
