"""xmesh-sup observe"""

import argparse
import time
from typing import TYPE_CHECKING

from xmesh_mesh.errors import BusUnavailable, PublishRefused, RecordError, UsageError
from xmesh_mesh.paths import OPERATOR, RuntimeDir
from xmesh_supervisor.output import short, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmesh_mesh.bus.frames import MemberStatus
    from xmesh_mesh.introduction import Introduction
    from xmesh_mesh.record import Record

HELP = """\
Says something to a group, signed with the operator's own identity. TEXT is the focus; each of the
other six fields has a flag. Returns when the bus has the record on disk: it then reaches every
member, those that are stopped now included, and over secure links the peers of other xmesh hosts.
Without --group: the only group there is."""
EXAMPLE = 'xmesh-sup observe "rate-limit /api/login" --intent "draft a spec, review it, add tests"'
EXITS = "0 it is on the bus; 1 no bus, or it refuses; 2 wrong usage; 78 a key or path is wrong"

FIELDS = ("focus", "issue", "intent", "motivation", "commitment", "perspective", "mood")
_TIMEOUT_S = 10.0
_FIX_NO_BUS = (
    "start peers with xmesh-sup up FILES…; or, to try it without any, run xmesh-sup listen in"
    " another terminal: it brings a bus of its own"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what it is about")
    for field in FIELDS:
        parser.add_argument(f"--{field}", metavar="TEXT", help=f"the field {field}")
    parser.add_argument("--to", metavar="PEER", help="for this peer only, of whatever host")
    parser.add_argument("--group", metavar="G", help="the group to speak to")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from xmesh_supervisor.operator import bus_status, one_group, write_json

    texts = texts_of(args)
    root = RuntimeDir.from_env().ensure()
    bus = bus_status(root)
    if bus is None:
        raise BusUnavailable("no bus answers here", where=str(root.bus_socket), fix=_FIX_NO_BUS)
    group = one_group(root, args.group, bus)
    members = [m for m in bus.members if m.group == group and m.name != OPERATOR]
    to = None
    if args.to is not None:
        to, members = asyncio.run(_addressed(root, args.to, members, group))
    record, seq, took_ms = asyncio.run(_say(root, texts, group, to))
    if args.json:
        write_json(_as_json(record, seq, took_ms, members))
    else:
        who = hearers(members) if members or to is None else f"it is for {args.to} on another host"
        write(f"{short(record.key)} is on the bus ({took_ms} ms); {who}")
    return 0


async def _addressed(
    root: RuntimeDir, name: str, members: "Sequence[MemberStatus]", group: str
) -> "tuple[str, list[MemberStatus]]":
    """Return the node id that ``name`` means, and the member of this host, if it is one."""
    from xmesh_mesh.bus.client import BusClient

    if any(m.name == name for m in members):
        member = addressee(name, members)
        return member.node_id, [member]
    client = BusClient(root.bus_socket, None, role="tail", group=group)
    welcome = await client.connect(_TIMEOUT_S)
    await client.close()
    met = [each for each in welcome.members if each.origin == "remote"]
    return addressee_afar(name, met, [m.name for m in members], group), []


def texts_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the fields that are said; UsageError where that is nothing, or said twice."""
    texts = {field: getattr(args, field) for field in FIELDS if getattr(args, field) is not None}
    if args.text is not None:
        if "focus" in texts:
            raise UsageError("TEXT is the focus, and --focus says another", fix="leave out one")
        texts["focus"] = args.text
    texts = {field: text for field, text in texts.items() if text.strip()}
    if not texts:
        raise UsageError("nothing is said", fix=f"give a text, for example: {EXAMPLE}")
    return texts


def addressee(name: str, members: "Sequence[MemberStatus]") -> "MemberStatus":
    """Return the member called ``name``, who is there; a connected one before one of the past."""
    return max((m for m in members if m.name == name), key=lambda m: m.connected)


def addressee_afar(
    name: str, met: "Sequence[Introduction]", local: "Sequence[str]", group: str
) -> str:
    """Return the node id of the remote node of this name, or with this node id; UsageError.

    Only over Core Secure, so only to nodes of ours, does the operator speak to other hosts.
    """
    from xmesh_supervisor.kill import nearest
    from xmesh_supervisor.operator import IMPLEMENTATION

    found = [each for each in met if name in {each.name, each.node_id} and each.name != OPERATOR]
    ours = [each for each in found if each.implementation == IMPLEMENTATION]
    if len(ours) == 1:
        return ours[0].node_id
    if ours:
        raise UsageError(
            f"{len(ours)} nodes of other hosts are called {name!r}",
            fix=f"give the node id instead: {', '.join(each.node_id for each in ours)}",
        )
    if found:
        raise UsageError(
            f"{name!r} is no xmesh peer, and the operator's words go to those only",
            fix="say it to a peer of this host, which stock nodes hear",
        )
    names = [*local, *(each.name for each in met if each.name != OPERATOR)]
    raise UsageError(f"nobody in {group} is called {name!r}", fix=nearest(name, names))


def hearers(members: "Sequence[MemberStatus]") -> str:
    """Say who gets it now, and who later."""
    now = sum(m.connected for m in members)
    if len(members) == 1:
        name = members[0].name
        return f"{name} hears it" if now else f"{name} is away and hears it when it is back"
    later = f", {len(members) - now} when they are back" if now < len(members) else ""
    hear = "1 member hears it" if now == 1 else f"{now} members hear it"
    return f"{hear}{later}" if members else "no peer is in the group yet"


async def _say(
    root: RuntimeDir, texts: dict[str, str], group: str, to: str | None
) -> "tuple[Record, int, int]":
    """Sign and publish; return the record, its place in the journal, and milliseconds it took."""
    import asyncio

    from xmesh_mesh.bus.client import BusClient
    from xmesh_mesh.identity import load_or_create
    from xmesh_mesh.introduction import introduce
    from xmesh_mesh.record import compose, encode
    from xmesh_mesh.signing import assertion_id, sign
    from xmesh_supervisor.operator import IMPLEMENTATION

    now_ms = time.time_ns() // 1_000_000
    identity = load_or_create(root.identity(OPERATOR), OPERATOR)
    try:
        draft = compose(texts, created_by=OPERATOR, created_ms=now_ms, group=group, to=to)
        record = sign(draft, identity.seed)
        data = encode(record)
    except RecordError as error:
        raise UsageError(f"that makes no record: {error}", fix="say it shorter, in UTF-8") from None
    introduction = introduce(identity, group, implementation=IMPLEMENTATION, now_ms=now_ms)
    client = BusClient(root.bus_socket, introduction, role="publisher")
    await client.connect(_TIMEOUT_S)
    begun_s = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            seq = await client.publish(assertion_id(record), data, to)
    except TimeoutError:
        raise _no_answer(root, record) from None
    except PublishRefused as refusal:
        refusal.fix = "xmesh-sup ps shows who is there; xmesh-sup logs bus says more"
        raise
    finally:
        await client.close()
    return record, seq, round((time.monotonic() - begun_s) * 1000)


def _no_answer(root: RuntimeDir, record: "Record") -> BusUnavailable:
    return BusUnavailable(
        f"the bus has not confirmed {short(record.key)} within {_TIMEOUT_S:g} s; it may have it",
        where=str(root.bus_socket),
        fix=f"look before you say it again: xmesh-sup recall; xmesh-sup why {record.key[:16]}",
    )


def _as_json(
    record: "Record", seq: int, took_ms: int, members: "Sequence[MemberStatus]"
) -> dict[str, object]:
    from xmesh_mesh.signing import assertion_id
    from xmesh_supervisor.operator import record_json

    return {
        **record_json(record),
        "assertion": assertion_id(record),
        "seq": seq,
        "ms": took_ms,
        "hear": [m.name for m in members if m.connected],
        "hear_later": [m.name for m in members if not m.connected],
    }
