"""xmesh-sup why"""

import argparse
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.output import short, table, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xmesh_mesh.memory import Memory, Remembered
    from xmesh_supervisor.census import Entry
    from xmesh_supervisor.operator import Found

HELP = """\
For a record (its key or assertion id, or 8 or more digits of either): who woke for it, who slept on
and who was not reached; by which drift, field by field; and what came of each wake. For a peer: why
it is in the state that it is in, and the command that changes it."""
EXAMPLE = "xmesh-sup why cmb-1a2b3c4d\n  xmesh-sup why reviewer-01"
EXITS = "0 done; 1 a memory cannot be read; 2 no such record and no such peer"


@dataclass(frozen=True, slots=True)
class Account:
    """What one peer made of one record; ``came`` is what the wake led to, "" without one."""

    peer: str
    word: str
    reason: str
    came: str = ""
    drift: float | None = None
    verdict: str = ""
    fields: "Mapping[str, Any]" = field(default_factory=dict)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="ID|PEER", help="a record, or a peer's name")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    from xmesh_supervisor.operator import find, memories, own_operator, peer_names

    root = RuntimeDir.from_env()
    if args.what in peer_names(root):
        _explain_peer(root, args.what, as_json=args.json)
        return 0
    with memories(root) as opened:
        try:
            found = find(opened, args.what)
        except UsageError as error:
            names = ", ".join(peer_names(root)) or "none"
            raise UsageError(f"{error.what}; nor is it a peer ({names})", fix=error.fix) from None
        accounts = [_account(root, name, opened, found) for name in peer_names(root)]
        if args.json:
            _record_as_json(found, accounts)
        else:
            _record_as_text(found, accounts, own_operator(root))
    return 0


# A record


def _account(
    root: RuntimeDir, name: str, opened: "Mapping[str, Memory]", found: "Found"
) -> Account:
    memory = opened.get(name)
    entry = memory.by_assertion(found.entry.assertion) if memory else None
    if memory is None:
        return Account(name, "was not reached", "it has never run here")
    if entry is None:
        return Account(name, "was not reached", _why_not_here(root, name, memory, found.entry))
    return Account(
        name,
        word_for(entry),
        "; ".join(entry.reasons),
        _came_of(memory, entry),
        entry.drift,
        entry.verdict,
        json.loads(entry.fields),
    )


def word_for(entry: "Remembered") -> str:
    """Return what the peer did, in a word or two."""
    if entry.own:
        return "said it"
    if entry.outcome == "slept":
        return "slept"
    if entry.wake is not None:
        return "woke"
    return "remembers it" if entry.admitted else "slept"


_OPEN = {"queued": "it waits in the queue", "running": "it is being acted on"}


def _came_of(memory: "Memory", entry: "Remembered") -> str:
    if entry.wake is None:
        return "old news when it came: nothing is done about it" if _is_old(entry) else ""
    if entry.wake in _OPEN:
        return _OPEN[entry.wake]
    emitted = memory.by_assertion(entry.emitted) if entry.emitted else None
    key = f" {short(emitted.key)}" if emitted else ""
    return f"{entry.outcome}{key}: {entry.detail}"


def _is_old(entry: "Remembered") -> bool:
    return entry.admitted and not entry.own


def _why_not_here(root: RuntimeDir, name: str, memory: "Memory", entry: "Remembered") -> str:
    """Say why a record is not in a peer's memory, as far as this can be told."""
    from xmesh_supervisor.operator import plans

    plan, group = plans(root).get(name), entry.record.group if entry.record else None
    if plan is not None and group not in {None, plan.settings.mesh.group}:
        return f"it is in group {plan.settings.mesh.group}, the record was said in {group}"
    addressee = _addressee(root, entry)
    if addressee not in {"", name}:
        return f"the record is for {addressee} only"
    position = memory.position()
    if entry.seq == 0:
        return "the bus has not acknowledged the record yet"
    if position is None or position[1] < entry.seq:
        at = position[1] if position else 0
        return f"it has not come so far yet: it is at #{at}, the record is #{entry.seq}"
    return f"it had not joined yet, or refused it (xmesh-sup logs {name})"


def _addressee(root: RuntimeDir, entry: "Remembered") -> str:
    from xmesh_mesh.pins import Pins

    if entry.record is None or entry.record.to is None or entry.record.group is None:
        return ""
    pins = Pins(root.pins(entry.record.group) / "pins.json")
    return pins.name(entry.record.to) or entry.record.to


def _record_as_text(found: "Found", accounts: "list[Account]", home: str) -> None:
    from xmesh_supervisor.operator import author_shown, brief, visible

    entry = found.entry
    texts = entry.record.spoken() if entry.record else {}
    said = "; ".join(f"{name}: {brief(text, 80)}" for name, text in texts.items())
    who = author_shown(entry.created_by, entry.author, home)
    write(f"{short(entry.key)} from {who}: {said or '(its words are gone)'}")
    for account in accounts:
        reason = f": {visible(account.reason)}" if account.reason else ""
        write(f"\n{account.peer} {account.word}{reason}")
        rows = list(_rows(account, texts))
        if len(rows) > 1:
            write("\n".join(f"    {line}" for line in table(rows).splitlines()))
        if account.came:
            write(f"    → {visible(account.came)}")


def _rows(account: Account, texts: "Mapping[str, str]") -> "Iterator[list[str]]":
    """Yield the fields that the record speaks in; affinity is what the peer cares for, 0 to 1."""
    yield ["FIELD", "VERDICT", "DRIFT", "AFFINITY", "WEIGHT"]
    for name, row in account.fields.items():
        if name in texts:
            drift = "-" if row["drift"] is None else f"{row['drift']:.2f}"
            affinity, weight = f"{row['affinity']:.2f}", f"{row['weight']:g}"
            yield [name, row["verdict"], drift, affinity, weight]


def _record_as_json(found: "Found", accounts: "list[Account]") -> None:
    from xmesh_supervisor.operator import record_json, write_json

    entry = found.entry
    write_json(
        {
            "assertion": entry.assertion,
            "key": entry.key,
            "by": entry.created_by,
            "record": record_json(entry.record) if entry.record else None,
            "peers": [
                {
                    "name": account.peer,
                    "did": account.word,
                    "reason": account.reason,
                    "came_of_it": account.came or None,
                    "drift": account.drift,
                    "verdict": account.verdict or None,
                    "fields": dict(account.fields),
                }
                for account in accounts
            ],
        }
    )


# A peer


def _explain_peer(root: RuntimeDir, name: str, *, as_json: bool) -> None:
    from xmesh_supervisor import census
    from xmesh_supervisor.operator import visible, write_json

    taken = census.take(root)
    entry = next((e for e in taken.entries if e.name == name), None)
    state = entry.shown_state if entry else "not supervised"
    reason, command = _why_so(name, entry)
    if entry and not taken.supervised:
        command = command if state == "killed" else "xmesh-sup up"
    if as_json:
        write_json({"name": name, "state": state, "reason": reason, "next": command,
                    "supervised": taken.supervised})  # fmt: skip
        return
    write(f"{name} is {state}: {visible(reason)}")
    if not taken.supervised:
        write("no supervisor answers; this is what was recorded last")
    write(f"next: {command}")


_NEXT = {
    "asleep": 'xmesh-sup observe "…" gives it something to think about',
    "thinking": "xmesh-sup wait returns when all is done; xmesh-sup logs {name} -f shows it",
    "deferred": "xmesh-sup cost {name} shows its caps; they stand in [budget] of its agent.toml",
    "stopped": "xmesh-sup start {name}",
    "killed": "xmesh-sup start {name}",
    "parked": "xmesh-sup logs {name} shows why; then xmesh-sup start {name}",
    "final": "xmesh-sup logs {name} shows why; then xmesh-sup restart {name}",
}
_USUAL = {
    "asleep": "nothing that matters to it waits",
    "stopped": "somebody stopped it, or it ended by itself",
    "running": "it has just come up",
    "starting": "it is about to come up",
    "stopping": "it finishes what it does",
}


def _why_so(name: str, entry: "Entry | None") -> tuple[str, str]:
    """Return why a peer is in its state, and the command to type next."""
    if entry is None:
        return "no supervisor was told to run it", "xmesh-sup up FILE starts it"
    state = entry.shown_state
    status = entry.status
    said = str(status.get("note") or "") if entry.state == "running" else entry.reason
    reasons = [said or _USUAL.get(state, "it does not say why")]
    if status.get("held"):
        reasons.append(f"{status['held']} of its records wait for a person's yes or no")
    if status.get("last_event"):
        reasons.append(f"last: {status['last_event']}")
    if entry.last_exit and entry.last_exit not in reasons[0]:
        reasons.append(f"last exit: {entry.last_exit}")
    command = _NEXT.get(state, "xmesh-sup logs {name} -f")
    return "; ".join(reasons), command.format(name=name)
