"""A recorded stream of messages, and a vendor's server from which its peers have their words.

What a peer says is its next message of the stream, as soon as what that message answers has been
said; until then, and once it has none left, it is silent, as a model is that has nothing to add.
The second look is answered by the scripted judge of the measured sets.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from admission_parts import second, sets
from helpers.vendors import Reply, Vendor, fail, say, tool_call

from xmesh_mesh.judging.decision import Label
from xmesh_mesh.record import compose
from xmesh_peer.question import Question, request

__all__ = ["GROUP", "STREAMS", "RecordedVendor", "Row", "Stream", "recorded"]

STREAMS = sorted((sets.SETS / "stream").glob("*.jsonl"))
GROUP = "e2e"

_NAME = re.compile(r"You are (\S+), an autonomous")
_SHOWN = re.compile(r"^- (cmb-[0-9a-f]{8}) from ", re.MULTILINE)
_SHORT = len("cmb-") + 8
_ASKED = re.compile(r"^<(?:DUTY|MAIL)>.*$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One recorded message. ``key`` is the address that its words have in any mesh."""

    id: str
    author: str
    parents: tuple[str, ...]
    texts: Mapping[str, str]
    label: Mapping[str, Label]
    key: str


@dataclass(frozen=True)
class Stream:
    """A task: its peers, by name, and everything that was said, in order."""

    task: str
    peers: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]

    @classmethod
    def load(cls, path: Path) -> "Stream":
        head, *rows = (json.loads(line) for line in path.read_text().splitlines())
        peers = {peer["name"]: peer for peer in head["peers"]}
        return cls(head["task"], peers, tuple(map(_row, rows)))

    def said_by(self, *names: str) -> list[Row]:
        return [row for row in self.rows if row.author in names]

    def occasion(self, row: Row) -> frozenset[str]:
        """Return the ids of what a peer's message answers; where that is nothing, of what
        concerned the peer last before it."""
        before = self.rows[: self.rows.index(row)]
        last = [r.id for r in before if r.label.get(row.author) == "relevant"]
        return frozenset(row.parents or last[-1:])


def _row(row: Mapping[str, Any]) -> Row:
    unsigned = compose(row["message"], created_by="nobody", created_ms=0, group=GROUP)
    parents = tuple(row["parents"])
    return Row(row["id"], row["from"], parents, row["message"], row["label"], unsigned.key)


class RecordedVendor(Vendor):
    """``said`` holds the ids of what has been said so far, as far as this server knows;
    ``questions`` counts second looks, ``unrecorded`` holds those about no message of the stream."""

    def __init__(self, stream: Stream) -> None:
        super().__init__("openai")
        self.said: set[str] = set()
        self.questions = 0
        self.unrecorded: list[str] = []
        self._ids = {row.key[:_SHORT]: row.id for row in stream.rows}
        self._answers = _answers(stream.task)
        self._ahead = {name: stream.said_by(name) for name in stream.peers}
        self._occasions = {row.id: stream.occasion(row) for row in stream.said_by(*stream.peers)}

    def hear(self, keys: Iterable[str]) -> None:
        """Learn that these records have been said."""
        with self.arrived:
            self.said |= {self._ids[key[:_SHORT]] for key in keys if key[:_SHORT] in self._ids}

    def take(self, seen_path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        with self.arrived:
            self.replies = [self._thought(body) if "tools" in body else self._opinion(body)]
            return super().take(seen_path, headers, body)

    def _thought(self, body: Mapping[str, Any]) -> Reply:
        system, user = (message["content"] for message in body["messages"])
        self.hear(_SHOWN.findall(user))
        name = _NAME.search(system)
        ahead = self._ahead[name[1]] if name else []
        if not ahead or not self._occasions[ahead[0].id] <= self.said:
            return say("Nothing to add.")
        return tool_call(dict(ahead.pop(0).texts))

    def _opinion(self, body: Mapping[str, Any]) -> Reply:
        self.questions += 1
        text = body["messages"][-1]["content"]
        label = self._answers.get(_asked(text))
        if label is None:
            self.unrecorded.append(text)
            return fail(400, text="no such message was recorded")
        return say(label, output_tokens=2)


@contextmanager
def recorded(stream: Stream) -> Iterator[RecordedVendor]:
    vendor = RecordedVendor(stream)
    try:
        yield vendor
    finally:
        vendor.close()


def _answers(task: str) -> dict[tuple[str, ...], Label]:
    """Return what the scripted judge says to each question that may be asked of this task."""
    cases = [case for split in get_args(sets.Split) for case in sets.stream(split)]
    return {
        _asked(_text(Question(case.charter, (), case.message.texts))): second.scripted(case)
        for case in cases
        if case.group == task
    }


def _text(question: Question) -> str:
    return request(question, 1.0).messages[-1].content


def _asked(text: str) -> tuple[str, ...]:
    """Return whose question it is and about what, whatever is known."""
    return tuple(_ASKED.findall(text))
