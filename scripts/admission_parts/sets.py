"""The labelled sets as the judge meets them: cases, each with what one peer knew at that moment."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from xmesh_mesh.anchors import THREAD_VIEW
from xmesh_mesh.judging.decision import Label
from xmesh_mesh.judging.situation import Anchor, Message, Standing, Thread
from xmesh_mesh.memory_admission import ANSWERED, AUTHORS_NEWEST, NEWEST, OWN
from xmesh_mesh.record import FIELDS
from xmesh_peer.config import load

SETS = Path(__file__).resolve().parents[2] / "tests" / "admission"

Split = Literal["train", "held-out"]
SetName = Literal["stream", "crowded", "terse", "lived", "hard", "plain", "alone"]

_OF_STREAMS: tuple[SetName, ...] = ("stream", "crowded", "terse")
_OPENINGS = 10


@dataclass(frozen=True)
class Case:
    """One message before one peer. ``group`` is its domain or task: never split in learning."""

    set_name: SetName
    id: str
    group: str
    kind: str
    label: Label
    peer: str
    charter: str
    weights: Mapping[str, float]
    message: Message
    anchors: tuple[Anchor, ...] = ()
    thread: Thread = field(default_factory=Thread)


Judge: TypeAlias = Callable[[Case], Label]


def labelled(case: Case) -> Label:
    """Judge as the labels have it."""
    return case.label


def spoken(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what says anything, in the order that a record has."""
    said = {field: texts[field] for field in FIELDS if texts.get(field, "").strip()}
    return {field: text for field, text in said.items() if text.strip().casefold() != "neutral"}


def hard(split: Split) -> list[Case]:
    lines = (SETS / f"hard-{split}.jsonl").read_text().splitlines()
    return [_hard_case(json.loads(line)) for line in lines]


def _hard_case(row: Mapping[str, Any]) -> Case:
    memory = row["memory"]
    return Case(
        set_name="hard",
        id=row["id"],
        group=row["domain"],
        kind=row["kind"],
        label=row["label"],
        peer=row["peer"]["role"],
        charter=row["peer"]["charter"],
        weights=row["peer"].get("weights", {}),
        message=Message(spoken(row["message"])),
        anchors=tuple(Anchor(f"memory {n}", spoken(texts)) for n, texts in enumerate(memory)),
    )


def stream(split: Split, judge: Judge = labelled) -> list[Case]:
    """Return what each peer of a stream hears, in order, each with what it knows by then.

    That is what ``judge`` found relevant among all it heard before: its mistakes stay with it.
    """
    return _streams("stream", split, judge)


def crowded(judge: Judge = labelled) -> list[Case]:
    """The streams in which neighbours talk in the task's words, and who matters in words of his
    own; train only."""
    return _streams("crowded", "train", judge)


def terse(judge: Judge = labelled) -> list[Case]:
    """The streams in which everybody is brief and strangers borrow the task's words; train only."""
    return _streams("terse", "train", judge)


def alone() -> list[Case]:
    """What a peer hears before it knows anything: its task, and others' openings; train only."""
    cases: list[Case] = []
    for name in _OF_STREAMS:
        for head, messages in _read(name, "train"):
            for peer in head["peers"]:
                cases += _openings(peer, messages, head["task"])
    return cases


def _read(name: SetName, split: Split) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for path in sorted((SETS / name).glob("*.jsonl")):
        head, *messages = (json.loads(line) for line in path.read_text().splitlines())
        if head["split"] == split:
            yield head, messages


def _streams(name: SetName, split: Split, judge: Judge) -> list[Case]:
    cases: list[Case] = []
    for head, messages in _read(name, split):
        for peer in head["peers"]:
            cases += _heard(name, peer, messages, head["task"], judge)
    return cases


def _openings(peer: Mapping[str, Any], messages: list[dict[str, Any]], task: str) -> Iterator[Case]:
    openings = [row for row in messages if not row["parents"]]
    label = {row["id"]: row["label"].get(peer["name"]) for row in openings}
    foreign = [row for row in openings if label[row["id"]] == "foreign"][:_OPENINGS]
    for row in (openings[0], *foreign):
        yield _case("alone", "alone", row, peer, task)


@dataclass
class _Memory:
    """What one peer has heard as the stream goes on, and what each record was to it.

    Its own words and what was relevant are what it knows; a thread goes on through all of them.
    """

    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    was: dict[str, Label] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    author: dict[str, str] = field(default_factory=dict)
    thread: dict[str, str] = field(default_factory=dict)

    def standing(self, author: str) -> Standing:
        heard = [key for key, said_by in self.author.items() if said_by == author]
        newest = heard[-AUTHORS_NEWEST:]
        was = [self.was[key] for key in newest]
        counts = [was.count(label) for label in ("relevant", "redundant", "foreign")]
        return Standing(*counts, answered=sum(key in self.answered for key in newest))

    def keep(self, row: Mapping[str, Any], label: Label, *, own: bool) -> None:
        key, parents = row["id"], row["parents"]
        self.texts[key], self.was[key] = spoken(row["message"]), label
        self.author[key] = row["from"]
        self.thread[key] = next((self.thread[p] for p in parents if p in self.thread), key)
        if own:
            self.own.append(key)
            self.answered += [p for p in parents if p in self.was and p not in self.own]

    def inside(self, parents: Sequence[str]) -> list[str]:
        """Return what it knows of the thread that a reply to ``parents`` belongs to."""
        thread = next((self.thread[key] for key in parents if key in self.thread), None)
        return [key for key in self._known() if self.thread[key] == thread][-THREAD_VIEW:]

    def place(self, parents: Sequence[str]) -> Thread:
        heard = [key for key in parents if key in self.was]
        return Thread(
            known=bool(self.inside(parents)),
            answers_own=any(key in self.own for key in heard),
            answers_foreign=bool(heard) and all(self.was[key] == "foreign" for key in heard),
        )

    def anchors(self, parents: Sequence[str]) -> Iterator[Anchor]:
        inside = self.inside(parents)
        chosen = [*self._known()[-NEWEST:], *self.own[-OWN:], *self.answered[-ANSWERED:]]
        for key in dict.fromkeys([*inside, *chosen]):
            yield Anchor(
                name=key,
                texts=self.texts[key],
                thread=key in inside,
                parent=key in parents,
                author=self.author[key],
                answered=key in self.answered,
            )

    def _known(self) -> list[str]:
        return [key for key, label in self.was.items() if label == "relevant"]


def _heard(
    name: SetName,
    peer: Mapping[str, Any],
    messages: list[dict[str, Any]],
    task: str,
    judge: Judge,
) -> Iterator[Case]:
    memory = _Memory()
    for row in messages:
        author, parents = row["from"], row["parents"]
        if author == peer["name"]:
            memory.keep(row, "relevant", own=True)
            continue
        place = memory.place(parents)
        plain = _case(name, "reply" if place.known else "first", row, peer, task)
        case = replace(
            plain,
            message=replace(plain.message, standing=memory.standing(author)),
            anchors=tuple(memory.anchors(parents)),
            thread=place,
        )
        yield case
        memory.keep(row, judge(case), own=False)


def _case(
    name: SetName, kind: str, row: Mapping[str, Any], peer: Mapping[str, Any], task: str
) -> Case:
    """Return the message before a peer that knows nothing."""
    return Case(
        set_name=name,
        id=f"{row['id']} {peer['name']}",
        group=task,
        kind=kind,
        label=row["label"][peer["name"]],
        peer=peer["name"],
        charter=peer["charter"],
        weights=peer.get("weights", {}),
        message=Message(spoken(row["message"])),
    )


def plain() -> list[Case]:
    """The thirty first messages of ``tests/relevance`` before each peer of the triad.

    They are what a mesh hears on a quiet day, with no trap in them.
    """
    rows = json.loads((SETS.parent / "relevance" / "messages.json").read_text())
    labelled: list[tuple[Label, int, dict[str, str]]] = [
        *(("relevant", n, texts) for n, texts in enumerate(rows["relevant"])),
        *(("foreign", n, texts) for n, texts in enumerate(rows["foreign"])),
    ]
    return [
        Case(
            set_name="plain",
            id=f"{label}-{number} {settings.identity.name}",
            group=f"plain-{number % 5}",
            kind="plain",
            label=label,
            peer=settings.identity.name,
            charter=settings.identity.charter,
            weights=settings.role_weights,
            message=Message(spoken(texts)),
        )
        for settings in map(load, sorted(SETS.parents[1].glob("configs/*.toml")))
        for label, number, texts in labelled
    ]
