"""What a person's verbs share: the operator's group and bus, and whose memory knows a record.

The operator is a node of its own, one for each root, named ``operator``. Peers' memories are only
ever opened for reading, so everything here works beside running peers and without a supervisor.
"""

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import BusUnavailable, ConfigError, StoreError, UsageError
from xmesh_mesh.paths import OPERATOR, RuntimeDir, check_group, check_name
from xmesh_supervisor.kill import nearest
from xmesh_supervisor.ledger import recorded

if TYPE_CHECKING:
    from xmesh_mesh.bus.frames import StatusReply
    from xmesh_mesh.memory import Memory, Remembered
    from xmesh_mesh.record import Record
    from xmesh_peer.plan import PeerPlan

__all__ = [
    "IMPLEMENTATION",
    "Found",
    "author_shown",
    "brief",
    "bus_status",
    "clock",
    "find",
    "groups_here",
    "memories",
    "memory_of",
    "one_group",
    "own_operator",
    "peer_names",
    "plans",
    "record_json",
    "visible",
    "write_json",
]

IMPLEMENTATION = "xmesh"
DEFAULT_GROUP = "default"
BUS_WITHIN_S = 1.0
_BRIEF = 160


@dataclass(frozen=True, slots=True)
class Found:
    """A record in somebody's memory; ``memory`` is open for reading, its finder closes it."""

    owner: str
    memory: "Memory"
    entry: "Remembered"


# Groups and the bus


def bus_status(root: RuntimeDir, timeout_s: float = BUS_WITHIN_S) -> "StatusReply | None":
    """Return what the bus says of itself, None where none answers."""
    from xmesh_mesh.bus.query import status

    if not root.bus_socket.exists():
        return None
    try:
        return status(root.bus_socket, timeout_s)
    except BusUnavailable:
        return None


def groups_here(root: RuntimeDir, bus: "StatusReply | None") -> list[str]:
    """Return the groups that a person may mean: with somebody connected, else with members,
    else of the recorded peers, else the default one. The operator itself does not count."""
    members = [m for m in bus.members if m.name != OPERATOR] if bus else []
    connected = {m.group for m in members if m.connected}
    planned = {plan.settings.mesh.group for plan in plans(root).values()}
    for groups in (connected, {m.group for m in members}, planned):
        if groups:
            return sorted(groups)
    return [DEFAULT_GROUP]


def one_group(root: RuntimeDir, given: str | None, bus: "StatusReply | None") -> str:
    """Return the group that is meant; UsageError names them where there are several."""
    if given is not None:
        return check_group(given, where="--group")
    groups = groups_here(root, bus)
    if len(groups) > 1:
        raise UsageError(
            f"there are several groups here: {', '.join(groups)}",
            fix=f"say which one you mean: --group {groups[0]}",
        )
    return groups[0]


# Peers and what they remember


def plans(root: RuntimeDir) -> "dict[str, PeerPlan]":
    """Return the recorded plan of every peer, in their order; those that no longer read are left
    out."""
    import msgspec

    from xmesh_peer.plan import PeerPlan
    from xmesh_supervisor.spec import Spec

    found = {}
    for row in recorded(root.supervisor_db):
        with contextlib.suppress(msgspec.DecodeError):
            spec = msgspec.json.decode(row.spec, type=Spec)
            found[row.name] = msgspec.json.decode(spec.plan, type=PeerPlan)
    return found


def peer_names(root: RuntimeDir) -> list[str]:
    """Return every peer that this root knows: the recorded ones first, then who left a node."""
    named = [row.name for row in recorded(root.supervisor_db)]
    homes = sorted(path.name for path in root.node("x").parent.glob("*") if path.is_dir())
    return list(dict.fromkeys([*named, *(name for name in homes if _names_a_peer(name))]))


def _names_a_peer(name: str) -> bool:
    try:
        check_name(name)
    except ConfigError:
        return False
    return True


def known_peer(root: RuntimeDir, name: str) -> str:
    """Return ``name`` if this root knows it, the operator included, else raise UsageError."""
    known = peer_names(root)
    if name not in {*known, OPERATOR}:
        raise UsageError(f"there is no peer {name!r}", fix=nearest(name, known))
    return name


def memory_of(root: RuntimeDir, name: str) -> "Memory":
    """Open a known peer's memory for reading; StoreError where it has none yet."""
    from xmesh_mesh.memory import Memory

    return Memory.open_readonly(root.memory(known_peer(root, name)))


@contextlib.contextmanager
def memories(root: RuntimeDir, only: str | None = None) -> "Iterator[dict[str, Memory]]":
    """Open the memories of all peers and the operator (or of one), and close them at the end.

    Of all of them, one that cannot be read is told about and left out.
    """
    with contextlib.ExitStack() as stack:
        opened: dict[str, Memory] = {}
        for name in [only] if only else [*peer_names(root), OPERATOR]:
            if only is None and not root.memory(name).exists():
                continue
            try:
                opened[name] = stack.enter_context(contextlib.closing(memory_of(root, name)))
            except StoreError as error:
                if only:
                    raise
                sys.stderr.write(f"{name} is left out: {error}\n")
        yield opened


def find(opened: "Mapping[str, Memory]", ref: str) -> Found:
    """Return the record under ``ref`` from the memory that holds most of its conversation."""
    found = [
        Found(name, memory, entry)
        for name, memory in opened.items()
        if (entry := memory.record(ref.strip().removesuffix("…")))
    ]
    if not found:
        whose = ", ".join(opened) or "nobody (no peer has a memory here yet)"
        raise UsageError(
            f"no record, or more than one, begins with {ref!r}; asked: {whose}",
            fix="give 8 or more hex digits of its key or assertion id; xmesh-sup recall finds them",
        )
    return max(found, key=lambda f: len(f.memory.in_thread(f.entry.thread)))


# How others' words are shown


def visible(text: str) -> str:
    """Return ``text`` on one line; whatever could steer or fool a terminal is spelled out."""
    return "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(char: str) -> str:
    return " " if char in "\n\t\u00a0" else char.encode("unicode_escape").decode()


def own_operator(root: RuntimeDir) -> str:
    """Return the node id of this root's operator, "" where there is none yet."""
    from xmesh_mesh.identity import load_or_create

    path = root.identity(OPERATOR)
    if path.exists():
        with contextlib.suppress(ConfigError, OSError):
            return load_or_create(path, OPERATOR).node_id
    return ""


def author_shown(name: str, node_id: str, home: str) -> str:
    """Return an author's name visibly; ``home`` is the node id of the own operator.

    An operator of another host bears the same name, and so has its node id beside it.
    """
    is_foreign = name == OPERATOR and node_id != home
    return f"{visible(name)} ({visible(node_id)[:13]})" if is_foreign else visible(name)


def brief(text: str, size: int = _BRIEF) -> str:
    """Return ``text`` visibly and in at most ``size`` characters."""
    shown = " ".join(visible(text).split())
    return shown if len(shown) <= size else f"{shown[: size - 1]}…"


def clock(at_ms: int) -> str:
    """Return a record's own time as a local time of day; a hostile one may be anything."""
    try:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).astimezone().strftime("%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def record_json(record: "Record") -> dict[str, Any]:
    return {
        "key": record.key,
        "by": record.created_by,
        "group": record.group,
        "to": record.to,
        "created_ms": record.created_ms,
        "parents": list(record.all_parents()),
        "fields": record.spoken(),
    }


def write_json(value: object, *, one_line: bool = False) -> None:
    """Print JSON in ASCII, so that no string of others can steer a terminal."""
    sys.stdout.write(json.dumps(value, indent=None if one_line else 2) + "\n")
    sys.stdout.flush()
