"""xmesh-sup admission"""

import argparse
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.output import money, table, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmesh_mesh.memory import Memory
    from xmesh_mesh.memory_admission import CallCosts, Count

HELP = """\
How a peer judged what it heard: by which judge, what, how surely; how much of it woke the peer, how
often a model was asked a small question, and what sleeping saved, at the mean cost of its calls so
far. With --should-wake or --should-sleep you say what it ought to have done with a record; that is
kept as labelled data beside its memory. --recalibrate moves the peer's own numbers towards all that
was said so, from the next message on. --forget goes back to the shipped numbers."""
EXAMPLE = (
    "xmesh-sup admission reviewer-01 --hours 24\n"
    "  xmesh-sup admission reviewer-01 --should-wake cmb-1a2b3c4d\n"
    "  xmesh-sup admission reviewer-01 --should-sleep cmb-1a2b3c4d --known\n"
    "  xmesh-sup admission reviewer-01 --recalibrate"
)
EXITS = "0 done; 1 the memory cannot be read; 2 unknown name or record, or nothing to learn from"

_HEADER = ("JUDGE", "SAID", "SURE", "RECORDS", "WOKE", "ASKED", "TOKENS", "COST")


@dataclass(frozen=True, slots=True)
class Savings:
    """What the records that it slept through would have taken, less what questions took."""

    slept: int
    nano: int
    tokens: int


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peer", metavar="PEER", help="a peer's name")
    parser.add_argument("--hours", type=float, metavar="N", help="only the last N hours")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--should-wake", metavar="ID", help="this record ought to have woken it")
    group.add_argument("--should-sleep", metavar="ID", help="this record ought not to have")
    group.add_argument("--recalibrate", action="store_true", help="learn from what was said so")
    group.add_argument("--forget", action="store_true", help="use the shipped numbers again")
    parser.add_argument(
        "--known", action="store_true", help="with --should-sleep: it knew that already"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    from contextlib import closing

    from xmesh_supervisor.operator import memory_of

    root = RuntimeDir.from_env()
    with closing(memory_of(root, args.peer)) as memory:
        if args.should_wake or args.should_sleep:
            _teach(root, args, memory)
        elif args.recalibrate:
            _recalibrate(root, args)
        elif args.forget:
            root.calibration(args.peer).unlink(missing_ok=True)
            _tell(args, {"peer": args.peer, "calibration": "shipped"}, "it judges as shipped again")
        else:
            _show(args, memory)
    return 0


# Counts


def _show(args: argparse.Namespace, memory: "Memory") -> None:
    since = int((time.time() - args.hours * 3600) * 1000) if args.hours else 0
    counts, costs = memory.admission_counts(since), memory.call_costs()
    saved = savings(counts, costs)
    if args.json:
        _print_json(args.peer, counts, saved)
        return
    if not counts:
        write(f"{args.peer} has judged nothing yet")
        return
    write(table([_HEADER, *(_row(count) for count in counts)]))
    write(
        f"slept through {saved.slept} records: about {money(max(0, saved.nano))} and"
        f" {max(0, saved.tokens):,} tokens not spent, questions deducted"
    )


def savings(counts: "Sequence[Count]", costs: "CallCosts") -> Savings:
    """Reckon with the mean of the peer's own calls; without any, nothing can be said."""
    slept = sum(count.records - count.woke for count in counts)
    calls = max(1, costs.calls)
    return Savings(
        slept,
        slept * costs.nano // calls - sum(count.nano for count in counts),
        slept * costs.tokens // calls - sum(count.tokens for count in counts),
    )


def _row(count: "Count") -> list[str]:
    return [
        count.judge,
        count.label,
        "yes" if count.sure else "no",
        str(count.records),
        str(count.woke),
        str(count.asked),
        str(count.tokens),
        money(count.nano),
    ]


def _print_json(peer: str, counts: "Sequence[Count]", saved: Savings) -> None:
    import msgspec

    from xmesh_supervisor.operator import write_json

    write_json(
        {
            "peer": peer,
            "counts": [msgspec.to_builtins(count) for count in counts],
            "saved": msgspec.to_builtins(saved),
        }
    )


# Lessons


def _teach(root: RuntimeDir, args: argparse.Namespace, memory: "Memory") -> None:
    from xmesh_supervisor.lessons import Lesson, teach
    from xmesh_supervisor.output import short

    ref = args.should_wake or args.should_sleep
    entry = memory.record(ref)
    judgement = memory.judgement(entry.assertion) if entry else None
    if entry is None or judgement is None:
        raise UsageError(
            f"{args.peer} has no judgement of {ref!r}",
            fix=f"xmesh-sup recall and xmesh-sup explain {args.peer} ID show what it judged",
        )
    label = "relevant" if args.should_wake else "redundant" if args.known else "foreign"
    lesson = Lesson(
        entry.assertion,
        label,  # type: ignore[arg-type]
        judgement.judge,
        json.loads(judgement.seen),
        time.time_ns() // 1_000_000,
    )
    teach(root.lessons(args.peer), lesson)
    told = {"peer": args.peer, "record": entry.key, "was": judgement.label, "should": label}
    was = f"not {judgement.label}" if label != judgement.label else "as it was judged"
    _tell(args, told, f"noted: {short(entry.key)} is {label}, {was}")


def _recalibrate(root: RuntimeDir, args: argparse.Namespace) -> None:
    import msgspec

    from xmesh_mesh.judging.calibrations import shipped
    from xmesh_mesh.judging.features import NAMES
    from xmesh_mesh.judging.fit import Example, adapt
    from xmesh_mesh.paths import write_atomic
    from xmesh_supervisor.lessons import read

    lessons = read(root.lessons(args.peer))
    if not lessons:
        raise UsageError(
            f"nobody has said yet what {args.peer} should have done",
            fix=f"xmesh-sup admission {args.peer} --should-wake ID, or --should-sleep ID",
        )
    kernel = lessons[-1].kernel
    base = shipped(kernel)
    # Lessons from before an update may be about what the judge looks at no more.
    fitting = [one for one in lessons if one.kernel == kernel and set(one.values) <= NAMES]
    if not fitting:
        raise UsageError(
            f"none of {args.peer}'s {len(lessons)} lessons is about this version of the judge",
            fix=f"xmesh-sup admission {args.peer} --should-wake ID, or --should-sleep ID, again",
        )
    examples = [Example({**one.values}, one.label) for one in fitting]
    learnt = adapt(base, examples, f"{base.learnt_from}; {len(fitting)} lessons of its own")
    learnt = msgspec.structs.replace(learnt, kernel=kernel)
    write_atomic(root.calibration(args.peer), msgspec.json.encode(learnt))
    told = {"peer": args.peer, "kernel": kernel, "lessons": len(fitting)}
    _tell(
        args,
        told,
        f"learnt from {len(fitting)} lessons for {kernel}; it counts from the next message on",
    )


def _tell(args: argparse.Namespace, as_json: dict[str, object], text: str) -> None:
    from xmesh_supervisor.operator import write_json

    if args.json:
        write_json(as_json)
    else:
        write(text)
