"""xmesh-sup explain"""

import argparse
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.output import short, table, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xmesh_mesh.admission import Insight, Verdict
    from xmesh_mesh.encoding.kernels import Encoder
    from xmesh_mesh.judging.decision import Calibration
    from xmesh_mesh.memory import Memory
    from xmesh_mesh.record import Record
    from xmesh_peer.plan import PeerPlan

HELP = """\
How a peer judges a message: for each field the drift by the deployed arithmetic, the likeness to
its charter and to the nearest thing it knows, and its weight; the two scores and their bars; what
weighed most, and what would have to be otherwise for another verdict. For a record (its key or
assertion id, or 8 or more digits of either), or for a text typed in (--text is the focus; the other
fields have options of their own). It judges anew, with what the peer knows now; what the peer
decided then is shown beside it. Nothing is sent and nothing is stored."""
EXAMPLE = (
    "xmesh-sup explain reviewer-01 cmb-1a2b3c4d\n"
    '  xmesh-sup explain reviewer-01 --text "draft of the login limits" --intent "please review"'
)
EXITS = "0 done; 1 the memory cannot be read; 2 unknown name or record"

_FIELDS = ("issue", "intent", "motivation", "commitment", "perspective", "mood")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Case:
    """What is explained, and what the peer decided then, "" for a text typed in."""

    record: "Record"
    author: str
    then: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peer", metavar="PEER", help="a peer's name")
    parser.add_argument("record", metavar="ID", nargs="?", help="a record in its memory")
    parser.add_argument("--text", metavar="TEXT", help="a message typed in: its focus")
    for name in _FIELDS:
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"the {name} of a message typed in")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    from xmesh_supervisor.operator import memory_of, plans

    root = RuntimeDir.from_env()
    typed = {name: getattr(args, name) for name in _FIELDS if getattr(args, name)}
    if args.text:
        typed = {"focus": args.text, **typed}
    if bool(args.record) == bool(typed):
        raise UsageError("name a record, or type a message", fix=EXAMPLE.splitlines()[0].strip())
    with closing(memory_of(root, args.peer)) as memory:
        plan = plans(root).get(args.peer)
        if plan is None:
            raise UsageError(
                f"nobody knows {args.peer}'s charter and weights: it was never started here",
                fix="xmesh-sup up FILE starts it",
            )
        case = _typed(typed) if typed else _stored(memory, args.peer, args.record)
        verdict, calibration = _judged(root, plan, memory, case)
        (_as_json if args.json else _as_text)(args.peer, case, verdict, calibration, memory)
    return 0


def _typed(texts: "Mapping[str, str]") -> Case:
    from xmesh_mesh.paths import OPERATOR
    from xmesh_mesh.record import compose

    record = compose(texts, created_by=OPERATOR, created_ms=_now_ms(), group=None)
    return Case(record, "", "")


def _stored(memory: "Memory", peer: str, ref: str) -> Case:
    entry = memory.record(ref.strip().removesuffix("…"))
    if entry is None or entry.record is None:
        raise UsageError(
            f"{peer} remembers no such record, or not its words: {ref!r}",
            fix="xmesh-sup recall finds records; give 8 or more hex digits of key or assertion id",
        )
    then = f"{entry.verdict}: {'; '.join(entry.reasons)}" if entry.reasons else entry.verdict
    return Case(entry.record, entry.author, then)


def _judged(
    root: RuntimeDir, plan: "PeerPlan", memory: "Memory", case: Case
) -> "tuple[Verdict, Calibration | None]":
    from xmesh_mesh.admission import Candidate, Judge
    from xmesh_mesh.anchors import Anchors
    from xmesh_mesh.judging.calibrations import own_calibration, shipped

    settings = plan.settings

    def calibration(kernel: str) -> "Calibration":
        own = own_calibration(root.calibration(settings.identity.name), kernel)
        return own or shipped(kernel)

    held = Anchors(memory, without=case.record.key).around(
        case.record,
        case.author,
        settings.identity.name,
        settings.identity.charter,
        settings.role_weights,
    )
    verdict = Judge(_encoder(root, plan), calibration)(Candidate(case.record, 0.0, False), held)
    return verdict, calibration(verdict.insight.kernel) if verdict.insight else None


def _encoder(root: RuntimeDir, plan: "PeerPlan") -> "Encoder":
    """Return the peer's encoder: the host's process where one runs, else one of our own."""
    from xmesh_mesh.encoding.client import HostEncoder
    from xmesh_mesh.encoding.kernels import NGRAM, Choice, EncoderAway
    from xmesh_mesh.encoding.server import open_encoder

    admission = plan.settings.admission
    choice = Choice(admission.encoder, admission.encoder_url, admission.encoder_model)
    if root.encoder_socket.exists():
        return HostEncoder(root.encoder_socket, choice)
    try:
        return open_encoder(choice)
    except EncoderAway:
        return NGRAM


# What is shown


def _as_text(
    peer: str, case: Case, verdict: "Verdict", calibration: "Calibration | None", memory: "Memory"
) -> None:
    from xmesh_supervisor.operator import visible

    would = "would wake" if verdict.admitted else "would sleep"
    write(f"{peer} {would}: {visible('; '.join(verdict.reasons))}")
    if case.then:
        write(f"it decided then: {visible(case.then)}")
    insight = verdict.insight
    if insight is None or calibration is None:
        return
    write("")
    write(table([("FIELD", "DRIFT", "CHARTER", "NEAREST", "WEIGHT", "KNOWN"), *_rows(verdict)]))
    write("")
    for what, key in (("nearest in all", insight.nearest), ("least new before", insight.known_by)):
        found = memory.by_keys([key]) if key else []
        if found and found[0].record:
            said = "; ".join(found[0].record.spoken().values())
            write(f"{what}: {short(key)} {visible(said)[:160]}")
    for name, text in _weighed(insight, calibration).items():
        write(f"{name}: {text}")
    write(f"for another verdict: {_otherwise(verdict, insight)}")
    write(f"judged by {insight.kernel}, which learnt from {calibration.learnt_from}")


def _rows(verdict: "Verdict") -> "list[tuple[str, ...]]":
    insight = verdict.insight
    drifts = {entry.field: entry.drift for entry in verdict.reference.fields}
    rows: list[tuple[str, ...]] = []
    for entry in insight.fields if insight else ():
        drift = drifts.get(entry.name)
        known = short(insight.anchors[entry.index]) if insight and entry.index >= 0 else "-"
        rows.append((
            entry.name, "-" if drift is None else f"{drift:.2f}", f"{entry.charter:.2f}",
            f"{entry.nearest:.2f}", f"{entry.weight:g}", known,
        ))  # fmt: skip
    return rows


def _weighed(insight: "Insight", calibration: "Calibration") -> dict[str, str]:
    """Return what pulled hardest at each score, as a sentence."""
    from xmesh_mesh.judging.decision import contributions

    told = {}
    scales = {"concern": calibration.of_concern(insight.values), "novelty": calibration.novelty}
    for name, scale in scales.items():
        pulls = contributions(insight.values, scale)
        hardest = sorted(pulls.items(), key=lambda item: -abs(item[1]))[:_SHOWN]
        told[f"weighed most for {name}"] = ", ".join(
            f"{what.replace('_', ' ')} {pull:+.2f}" for what, pull in hardest if pull
        )
    return told


def _otherwise(verdict: "Verdict", insight: "Insight") -> str:
    concern, bar = verdict.affinity, 1.0 - verdict.bar
    gap, new_gap = abs(concern - bar), abs(insight.novelty - insight.novelty_bar)
    match insight.label:
        case "foreign":
            return f"concern would have to be {gap:.2f} higher: more of its charter or memory"
        case "redundant":
            return f"novelty would have to be {new_gap:.2f} higher: a new number always is"
        case "relevant":
            return (
                f"concern {gap:.2f} lower would make it foreign,"
                f" novelty {new_gap:.2f} lower redundant"
            )


def _as_json(
    peer: str, case: Case, verdict: "Verdict", calibration: "Calibration | None", memory: "Memory"
) -> None:
    import msgspec

    from xmesh_supervisor.operator import record_json, write_json

    insight = verdict.insight
    weighed = _weighed(insight, calibration) if insight and calibration else {}
    write_json(
        {
            "peer": peer,
            "record": record_json(case.record),
            "then": case.then or None,
            "decision": verdict.decision,
            "wakes": verdict.admitted,
            "reasons": list(verdict.reasons),
            "concern": round(verdict.affinity, 4),
            "concern_bar": round(1.0 - verdict.bar, 4),
            "insight": msgspec.to_builtins(insight) if insight else None,
            "reference": msgspec.to_builtins(verdict.reference),
            "weighed": weighed,
            "otherwise": _otherwise(verdict, insight) if insight else None,
            "memory": memory.counts(),
        }
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
