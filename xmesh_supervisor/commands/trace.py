"""xmesh-sup trace"""

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import StoreError
from xmesh_mesh.paths import OPERATOR, RuntimeDir
from xmesh_supervisor.output import money, short, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xmesh_mesh.memory import Memory, Remembered
    from xmesh_supervisor.operator import Found

HELP = """\
Shows the whole conversation that a record belongs to, as a tree of who answered whom, and what it
cost. ID is its key or assertion id, or 8 or more digits of either; without one, the newest
conversation is shown. Memories are only read, so it works with and without a supervisor."""
EXAMPLE = "xmesh-sup trace cmb-1a2b3c4d --peer reviewer-01"
EXITS = "0 done; 1 nothing was said yet, or a memory cannot be read; 2 nobody knows the record"


@dataclass(frozen=True, slots=True)
class ThreadCost:
    """What a conversation cost this host; ``adapters`` of those whose plans are recorded."""

    calls: int
    nano: int
    unsettled: int
    adapters: tuple[str, ...]

    def text(self) -> str:
        """Say it in words; a rehearsal and Ollama have no vendor to pay."""
        calls = "1 call" if self.calls == 1 else f"{self.calls} calls"
        kinds = {"rehearsal": "rehearsal, no LLM", "ollama": "ollama, no vendor"}
        named = [kinds.get(adapter, adapter) for adapter in self.adapters]
        cost = money(self.nano) if self.nano else "$0.00"
        worst = f" ({self.unsettled} at their worst case)" if self.unsettled else ""
        return ", ".join([calls, *named, f"{cost}{worst}"])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="the newest conversation if absent")
    parser.add_argument("--peer", metavar="NAME", help="from this peer's memory")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    from xmesh_supervisor.operator import find, memories, own_operator

    root = RuntimeDir.from_env()
    with memories(root, args.peer) as opened:
        found = find(opened, args.id or newest(opened))
        thread = found.memory.in_thread(found.entry.thread)
        cost = cost_of(root, [entry.assertion for entry in thread])
        if args.json:
            _as_json(found, thread, cost)
        else:
            _as_text(found, thread, cost, own_operator(root), marked=args.id is not None)
    return 0


def newest(opened: "Mapping[str, Memory]") -> str:
    """Return the assertion id of the newest record that mattered to anybody."""
    latest = [memory.newest(1) or memory.latest(1) for memory in opened.values()]
    entries = [entry for found in latest for entry in found]
    if not entries:
        raise StoreError("nothing was said here yet", fix='xmesh-sup observe "…" says something')
    return max(entries, key=lambda entry: entry.received_ms).assertion


def cost_of(root: RuntimeDir, assertions: "Sequence[str]") -> ThreadCost | None:
    """Return what all peers of this host paid for wakes on these records; None: no ledger."""
    from xmesh_peer.safety.spend_db import SpendDb
    from xmesh_supervisor.operator import plans

    if not root.spend_db.exists():
        return None
    db = SpendDb.open(root.spend_db, readonly=True)
    try:
        with db.reading() as connection:
            rows = connection.execute(
                "SELECT peer, count(*), sum(counted_nano), sum(settled_nano IS NULL) FROM calls"
                " WHERE wake IN (SELECT value FROM json_each(?)) GROUP BY peer",
                (json.dumps(list(assertions)),),
            ).fetchall()
    finally:
        db.close()
    known = plans(root)
    adapters = dict.fromkeys(known[row[0]].adapter for row in rows if row[0] in known)
    calls, nano, unsettled = (sum(row[column] for row in rows) for column in (1, 2, 3))
    return ThreadCost(calls, nano, unsettled, tuple(adapters))


def _as_text(
    found: "Found",
    thread: "Sequence[Remembered]",
    cost: ThreadCost | None,
    home: str,
    *,
    marked: bool,
) -> None:
    """``home``: the node id of this root's operator."""
    from xmesh_mesh.lineage import lineage_tree
    from xmesh_supervisor.operator import author_shown

    write(f"conversation of {short(found.entry.key)}, from {found.owner}'s memory\n")
    said: dict[str, list[Remembered]] = {}
    for entry in thread:
        said.setdefault(entry.key, []).append(entry)
    for line in lineage_tree(said, found.memory.parents_of):
        for entry in said[line.key]:
            asked = marked and entry.key == found.entry.key
            who = author_shown(entry.created_by, entry.author, home)
            write(_line(entry, who, line.depth, again=line.again, asked=asked))
    write(f"\n{_summary(thread)}" + (f", {cost.text()}" if cost else ""))


def _line(entry: "Remembered", who: str, depth: int, *, again: bool, asked: bool) -> str:
    from xmesh_supervisor.operator import brief

    mark = "└ " if depth else ""
    head = f"{'  ' * depth}{mark}{who}  {short(entry.key)}"
    if again:
        return f"{head}  (see above)"
    fields = entry.record.spoken() if entry.record else {}
    words = [f"{name}: {brief(text, 100)}" for name, text in fields.items()]
    body = "".join(f"\n{'  ' * depth}    {word}" for word in words or ["(its words are gone)"])
    unsent = "  (has not left)" if entry.own and not entry.seq else ""
    return f"{head}{'  ◄' if asked else ''}{unsent}{body}"


def _summary(thread: "Sequence[Remembered]") -> str:
    count = "1 record" if len(thread) == 1 else f"{len(thread)} records"
    peers = {entry.author for entry in thread if entry.created_by != OPERATOR}
    who = ["1 peer" if len(peers) == 1 else f"{len(peers)} peers"] if peers else []
    operators = {entry.author for entry in thread if entry.created_by == OPERATOR}
    if operators:
        who.append("the operator" if len(operators) == 1 else f"{len(operators)} operators")
    return f"{count} by {' and '.join(who)}"


def _as_json(found: "Found", thread: "Sequence[Remembered]", cost: ThreadCost | None) -> None:
    from xmesh_supervisor.operator import record_json, write_json

    write_json(
        {
            "asked": found.entry.key,
            "memory": found.owner,
            "thread": found.entry.thread,
            "records": [_entry_json(entry, record_json) for entry in thread],
            "cost": {
                "calls": cost.calls,
                "nano": cost.nano,
                "unsettled": cost.unsettled,
                "adapters": cost.adapters,
            }
            if cost
            else None,
        }
    )


def _entry_json(entry: "Remembered", words: Any) -> dict[str, Any]:
    base = {"assertion": entry.assertion, "key": entry.key, "by": entry.created_by}
    said = words(entry.record) if entry.record else {"fields": None}
    return {**base, "node_id": entry.author, **said}
