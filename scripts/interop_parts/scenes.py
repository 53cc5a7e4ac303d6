"""The scenes: each shows one thing between our peer and a stock node, and says by what.

They build on each other, in this order, on one stage. What is not shown is an AssertionError.
"""

import json
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.bus import wait_until
from helpers.edge import eventually
from helpers.mesh import ROLES, TASK, Mesh, running, triad
from helpers.stock import StockNode

from interop_parts.stage import KINDS, Kind, Stage
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.record import FIELDS, Record
from xmesh_mesh.signing import verify

_TRIES = 20

Play = Callable[[Stage], str]


@dataclass(frozen=True)
class Scene:
    what: str
    play: Play
    kinds: tuple[Kind, ...] = KINDS


def discovery(stage: Stage) -> str:
    joined = stage.stock.event("peer-joined", id=stage.writer.node_id)[0]
    stage.until_met()
    return f"stock sees {joined['name']!r} join; we list {stage.stock.name!r}"


def handshake(stage: Stage) -> str:
    peer = stage.stock.peers()[stage.writer.node_id]
    (row,) = [r for r in stage.ours.peers() if r["node_id"] == stage.stock.node_id]
    assert peer["name"] == stage.writer.name
    assert (row["name"], row["group"]) == (stage.stock.name, "lab")
    assert row["implementation"] == "mmp"
    assert {each["kind"] for each in row["transports"]} == stage.ways
    ways = " and ".join(sorted(stage.ways))
    return f"each knows the other's name and key; trust {row['trust']}, {ways}"


def ours_to_stock(stage: Stage) -> str:
    (said,) = stage.writer.say("a limit of five a second at the door")
    entry = stage.stock.accepted(said.key)
    assert (entry["remixed"], entry["_cmbVerified"]) == (True, True)
    assert said.key in {each["key"] for each in stage.stock.stored()}
    assert stage.stock.complaints(stage.writer.name) == []
    return f"signed by us, admitted and stored by stock as {said.key[:12]}"


def stock_to_ours(stage: Stage) -> str:
    said = stage.stock.remember("the harbour crane needs a new gearbox")
    stage.writer.hears("the harbour crane needs a new gearbox")
    record = stage.writer.heard[-1][2]
    assert record.key == said["key"]
    verify(record, stage.stock_key())
    assert (record.created_by, record.group) == (stage.stock.name, "lab")
    return f"signed by stock, verified with its own key, on our bus as {record.key[:12]}"


def directed_to_stock(stage: Stage) -> str:
    """What is foreign to its memory a stock node surfaces only where it is the addressee."""
    entry = _surfaced(stage, "for the stock node alone")
    assert entry["cmb"]["metadata"]["to"] == stage.stock.node_id
    return "rejected by its memory, surfaced all the same, because it is addressed to it"


def directed_to_ours(stage: Stage) -> str:
    said = stage.stock.remember("for the writer alone", to=stage.writer.node_id)
    assert said["delivery"]["undelivered"] is False
    stage.writer.hears("for the writer alone")
    assert stage.writer.heard[-1][2].to == stage.writer.node_id
    return "metadata.to is our peer's id, delivered to it"


def lineage_to_stock(stage: Stage) -> str:
    """Block parents, and those of a reply to stock's own record, which it would drop as an echo."""
    (first,) = [r for r in stage.writer.said if "five a second" in r.text("focus")]
    (second,) = stage.writer.say("ten a second at the gate", parents=[first.key])
    entry = stage.stock.accepted(second.key)
    assert first.key in json.dumps(entry["cmb"]["metadata"]["lineage"]), entry
    asked = next(r for _, _, r in stage.writer.heard if "gearbox" in r.text("focus"))
    answered = _surfaced(stage, "a gearbox", category_parents={"focus": [asked.key]})
    assert asked.key in answered["cmb"]["categories"]["focus"]["meta"]["parents"]
    return "block parents kept; a reply to stock's own record, cited per category, arrives"


def lineage_to_ours(stage: Stage) -> str:
    first = stage.stock.remember("cranes in the harbour, a list")
    second = stage.stock.remember("the third crane of the list", parents=[first["key"]])
    stage.writer.hears("the third crane of the list")
    record = stage.writer.heard[-1][2]
    assert (record.key, record.parents) == (second["key"], (first["key"],))
    return f"parents {first['key'][:12]} under {second['key'][:12]}, as signed"


def groups_apart(stage: Stage) -> str:
    stage.stranger.remember("said in another group")
    _to_stock(stage, "said in our group")
    stage.stock.remember("said in our group by stock")
    stage.writer.hears("said in our group by stock")
    assert "said in another group" not in stage.writer.texts()
    assert len(stage.stranger.stored()) == 1
    assert stage.stranger.events("cmb-accepted") == []
    return "a stock node of another group, in the same place, neither hears us nor is heard"


def encryption(stage: Stage) -> str:
    """Read what the relay has forwarded: no word of either side stands in it."""
    assert stage.tap is not None
    said = [r.text("focus") for r in stage.writer.said]
    heard = stage.writer.texts()
    for to, texts in (("relay", said), ("node", heard)):
        messages = stage.tap.messages(to)
        sealed = [m for m in messages if '"_e2e"' in m]
        plain = [t for t in texts if any(t in m for m in messages)]
        assert not plain, plain
        assert len(sealed) >= len(texts)
    return f"{len(said)} records out, {len(heard)} in: each sealed, none of their words readable"


def stock_restarts(stage: Stage) -> str:
    stage.stock.stop()
    wait_until(lambda: not _linked(stage), "we notice that it is gone")
    (meanwhile,) = stage.writer.say("said while stock was away")
    stage.stock.start()
    stage.until_met()
    stage.stock.accepted(meanwhile.key, timeout_s=30)
    _both_ways(stage, "after stock's restart")
    return "it ended with 0; what we said meanwhile arrived when it was back"


def we_restart(stage: Stage) -> str:
    # Killed, it would not go back to a relay before an earlier session is surely dead there.
    how = signal.SIGKILL if stage.kind == "lan" else signal.SIGTERM
    stage.ours.end_gateway(how)
    eventually(lambda: not stage.stock_knows_us(), "stock notices that we are gone", 30)
    (meanwhile,) = stage.writer.say("said while our gateway was dead")
    stage.ours.start_gateway()
    stage.until_met()
    stage.stock.accepted(meanwhile.key, timeout_s=30)
    _both_ways(stage, "after our restart")
    return f"{how.name}; what we said meanwhile arrived when it was back"


def triad_answers(stage: Stage) -> str:
    """Three peers of ours under a supervisor, and a stock author who asks them, twice."""
    group = {"group": "triad", "mesh": stage.plan, "model": {"adapter": "rehearsal"}}
    root = RuntimeDir(stage.root / "triad").ensure()
    files = triad(root, **group)
    own = {"host": stage.our_host, "HOME": str(root.root)}
    with stage.another("asker-01", "triad") as asker, running(root, *files, **own) as mesh:
        _asked(mesh, asker, TASK[0], TASK[2])
        mesh.end()
        asker.stop()
        asker.start()
        mesh.up(*files)
        _asked(mesh, asker, "rate-limit /api/logout too", TASK[2])
        asker.stop()
    return (
        "all three remember it, one cites it in an answer that stock admits; stock has the"
        " attestations of all three; the same after both were restarted"
    )


def _asked(mesh: Mesh, asker: StockNode, focus: str, intent: str) -> None:
    """Let a stock author ask our peers something; return once it has the answer."""
    wait_until(lambda: set(ROLES) <= _names(asker), "stock has all three peers", 30)
    question = asker.remember(focus, intent=intent)["key"]
    answers = eventually(lambda: _answers(mesh, question), "an answer", 30)
    asker.accepted(answers[0].key, timeout_s=30)
    assert not any(question in each.parents for each in answers), "stock drops it as an echo"
    for name in ROLES:
        remembered = {entry.key: entry.created_by for entry in mesh.memory(name)}
        assert remembered.get(question) == asker.name, f"{name} does not remember the question"
    ours = {node_id for node_id, peer in asker.peers().items() if peer["name"] in ROLES}
    wait_until(lambda: ours <= asker.attested(question).keys(), "attestations of all three")
    assert all(asker.chain(node_id)["ok"] for node_id in ours)
    assert asker.complaints(*ROLES) == []


def _answers(mesh: Mesh, question: str) -> list[Record]:
    """Return what our peers have said that cites the question itself."""
    entries = [entry for name in ROLES for entry in mesh.memory(name) if entry.created_by == name]
    said = [entry.record for entry in entries if entry.record is not None]
    return [record for record in said if question in record.all_parents()]


def _names(node: StockNode) -> set[str]:
    return {peer["name"] for peer in node.peers().values()}


def nothing_twice(stage: Stage) -> str:
    texts = stage.writer.texts()
    assert len(texts) == len(set(texts)), texts
    accepted = [e[0]["cmb"]["metadata"]["key"] for e in stage.stock.events("cmb-accepted")]
    assert len(accepted) == len(set(accepted)), accepted
    return f"{len(texts)} records here, {len(accepted)} there since its restart, none twice"


def unharmed(stage: Stage) -> str:
    """Nobody crashed, nobody is mute: a record passes both ways, then stock ends with 0."""
    _both_ways(stage, "at the end")
    complaints = stage.stock.complaints(stage.writer.name)
    assert complaints == [], complaints
    assert stage.stranger.io.alive
    assert stage.relay is None or stage.relay.alive
    stage.stock.stop()
    stage.stranger.stop()
    return "all stock processes lived to the end and ended with 0; no complaint counted"


def _both_ways(stage: Stage, when: str) -> None:
    _to_stock(stage, f"ours {when}")
    stage.stock.remember(f"theirs {when}")
    stage.writer.hears(f"theirs {when}", timeout_s=30)


def _to_stock(stage: Stage, focus: str) -> None:
    (said,) = stage.writer.say(focus)
    stage.stock.accepted(said.key, timeout_s=30)


def _linked(stage: Stage) -> bool:
    return bool(stage.ours.transports(stage.writer.name, stage.stock.node_id))


def _surfaced(stage: Stage, about: str, **more: Any) -> dict[str, Any]:
    """Tell the stock node something that its memory rejects; return what it surfaces, as it came.

    Its encoder knows letters only, and finds now and then that noise resembles noise.
    """
    for _ in range(_TRIES):
        noise = {field: secrets.token_urlsafe(24) for field in FIELDS}
        texts = {**noise, "focus": f"{about}: {noise['focus']}"}
        (said,) = stage.writer.say_all(texts, to=stage.stock.node_id, **more)
        entry = stage.stock.accepted(said.key)
        if entry["remixed"] is False:
            return entry
    raise AssertionError(f"stock admitted {_TRIES} records of noise")


SCENES = (
    Scene("discovery, both ways", discovery),
    Scene("handshake, both ways", handshake),
    Scene("a signed record, ours to stock: accepted and stored", ours_to_stock),
    Scene("a signed record, stock to ours: in our journal", stock_to_ours),
    Scene("a directed record, ours to stock", directed_to_stock),
    Scene("a directed record, stock to ours", directed_to_ours),
    Scene("lineage kept, ours to stock", lineage_to_stock),
    Scene("lineage kept, stock to ours", lineage_to_ours),
    Scene("groups apart", groups_apart),
    Scene("encryption over the relay", encryption, ("relay",)),
    Scene("stock restarted in the middle", stock_restarts),
    Scene("our gateway restarted in the middle", we_restart),
    Scene("a stock author's question, answered by our triad", triad_answers),
    Scene("nothing taken twice", nothing_twice),
    Scene("no stock process crashed or muted", unharmed),
)
