"""The labelled sets as the judge meets them: cases, each with what one peer knew at that moment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xmesh_mesh.judging.decision import Label
from xmesh_mesh.judging.features import Anchor, Message, Standing, Thread
from xmesh_peer.config import load

SETS = Path(__file__).resolve().parents[2] / "tests" / "admission"

Split = Literal["train", "held-out"]

# As many as a node gathers (``anchors``).
_NEWEST = 24
_THREAD = 20
_AUTHORS = 20


@dataclass(frozen=True)
class Case:
    """One message before one peer. ``group`` is its domain or task: never split in learning."""

    id: str
    group: str
    kind: str
    label: Label
    charter: str
    weights: Mapping[str, float]
    message: Message
    anchors: tuple[Anchor, ...] = ()
    thread: Thread = field(default_factory=Thread)

    @property
    def is_hard(self) -> bool:
        return self.kind not in {"first", "reply", "plain"}


def spoken(texts: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in texts.items() if v.strip() and v.strip().casefold() != "neutral"}


def hard(split: Split) -> list[Case]:
    lines = (SETS / f"hard-{split}.jsonl").read_text().splitlines()
    return [_hard_case(json.loads(line)) for line in lines]


def _hard_case(row: Mapping[str, Any]) -> Case:
    memory = row["memory"]
    return Case(
        id=row["id"],
        group=row["domain"],
        kind=row["kind"],
        label=row["label"],
        charter=row["peer"]["charter"],
        weights=row["peer"].get("weights", {}),
        message=Message(spoken(row["message"])),
        anchors=tuple(Anchor(f"memory {n}", spoken(texts)) for n, texts in enumerate(memory)),
    )


def stream(split: Split) -> list[Case]:
    cases: list[Case] = []
    for path in sorted((SETS / "stream").glob("*.jsonl")):
        head, *messages = (json.loads(line) for line in path.read_text().splitlines())
        if head["split"] == split:
            for peer in head["peers"]:
                cases += _before(peer, messages, head["task"])
    return cases


@dataclass
class _Memory:
    """What one peer knows as the stream goes on: what was relevant to it, and what it said."""

    known: dict[str, tuple[dict[str, str], bool]] = field(default_factory=dict)
    thread: dict[str, str] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)

    def standing(self, author: str) -> Standing:
        newest = self.said.get(author, [])[-_AUTHORS:]
        return Standing(newest.count("relevant"), newest.count("redundant"))

    def anchors(self, parents: list[str], thread: str | None) -> Iterator[Anchor]:
        inside = [key for key in self.known if self.thread[key] == thread][-_THREAD:]
        for key in dict.fromkeys([*inside, *list(self.known)[-_NEWEST:]]):
            texts, own = self.known[key]
            yield Anchor(key, texts, key in inside, key in parents, own)


def _before(peer: Mapping[str, Any], messages: list[dict[str, Any]], task: str) -> Iterator[Case]:
    memory = _Memory()
    for row in messages:
        texts, author = spoken(row["message"]), row["from"]
        own = author == peer["name"]
        parents = [key for key in row["parents"] if key in memory.known]
        thread = memory.thread[parents[0]] if parents else None
        label: Label = "relevant" if own else row["label"][peer["name"]]
        if not own:
            yield Case(
                id=f"{row['id']} {peer['name']}",
                group=task,
                kind="reply" if parents else "first",
                label=label,
                charter=peer["charter"],
                weights=peer.get("weights", {}),
                message=Message(texts, memory.standing(author)),
                anchors=tuple(memory.anchors(parents, thread)),
                thread=Thread(bool(parents), any(memory.known[key][1] for key in parents)),
            )
            memory.said.setdefault(author, []).append(label)
        if label == "relevant":
            memory.known[row["id"]] = (texts, own)
            memory.thread[row["id"]] = thread or row["id"]


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
            id=f"{label}-{number} {settings.identity.name}",
            group=f"plain-{number % 5}",
            kind="plain",
            label=label,
            charter=settings.identity.charter,
            weights=settings.role_weights,
            message=Message(spoken(texts)),
        )
        for settings in map(load, sorted(SETS.parents[1].glob("configs/*.toml")))
        for label, number, texts in labelled
    ]
