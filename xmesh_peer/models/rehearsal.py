"""The rehearsal: a model that is none, so that a mesh can be watched with no key and no network.

It sees exactly what a vendor's model would get, the system prompt and the message, and nothing
else: no script, no turn counter, no state between calls. It reads the records in the prompt, says
in the manner of the role what follows from *their* words, and stays silent when nothing does. What
it signs says that it is a rehearsal.
"""

import asyncio
import re
from dataclasses import dataclass, field

from xmesh_mesh.relevance import terms
from xmesh_peer.context import LINEAGE, OWN, WOKE
from xmesh_peer.models.base import ModelAnswer, ModelRequest, Usage

_CLAUSES = re.compile(r"[;.:] |, ?(?:and )?| (?:and|for|from|so that|with) |\n")
_LEADING = re.compile(r"^(?i:please|then|also|so that|we need to|i want to|make sure that)\s+")
_ROLE = re.compile(r"Your role: (.+?)\.$", re.MULTILINE)
_NAME = re.compile(r"You are (\S+), an autonomous")
_MANNER = re.compile(r"^(?:draft|revised draft|review|tests|accepted|comment|answers): ")
# What a careful reader asks of a promise that leaves nothing out, by the words it is made of.
_EDGES = (
    (r"\b(?:no|not|nobody|never|without)\b", "how do we know that “{}” still holds later"),
    (r"\b(?:find out|why|whether|cause)\b", "what would show that the answer to “{}” is wrong"),
    (r"\d|day\b|\b(?:May|June|July|deadline)\b", "who notices when “{}” is late or wrong"),
    (r"\b(?:move|migrate|replace|translate|import)\b", "what if “{}” stops halfway"),
    (r"\b(?:all|any|each|every|limit|only)\b|-limit", "which case is the exception to “{}”"),
    (r"", "who checks “{}” before it is used"),
)
_NOTHING = frozenset({"", "neutral", "none"})
_BYTES_PER_TOKEN = 4


@dataclass
class _Entry:
    author: str
    lines: dict[str, list[str]] = field(default_factory=dict)

    def says(self, name: str) -> str:
        text = "\n".join(self.lines.get(name, []))
        return "" if text.casefold() in _NOTHING else text


@dataclass(frozen=True)
class _Scene:
    """The prompt, read back: who am I, what woke me, what it answers, what I said before."""

    role: str
    me: str
    woke: _Entry
    lineage: list[_Entry]
    own: list[_Entry]

    @property
    def task(self) -> _Entry:
        """The oldest record in sight: what all of this is about."""
        return self.lineage[-1] if self.lineage else self.woke

    @property
    def mine(self) -> list[_Entry]:
        """What this peer said in this conversation, as far as lineage shows it."""
        return [entry for entry in self.lineage if entry.author == self.me]

    @property
    def said(self) -> list[_Entry]:
        """What this peer said lately about this very task, in this conversation or not."""
        return [entry for entry in self.own if _topic(entry) == _topic(self.task)]


class RehearsalModel:
    """Answers from the given text in the manner of ``role``; needs nothing, costs nothing.

    ``pace_s``: how long it takes over an answer, so that a person can follow.
    """

    def __init__(self, role: str, pace_s: float = 0.0) -> None:
        self._role = role
        self._pace_s = pace_s

    async def call(self, request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(self._pace_s)
        scene = _read(request, self._role)
        answer = _MANNERS.get(scene.role, _comment)(scene)
        spoken = " ".join(answer.values()) if answer else "rehearsal: nothing to add"
        size = len(request.system) + sum(len(m.content) for m in request.messages)
        usage = Usage(size // _BYTES_PER_TOKEN, len(spoken) // _BYTES_PER_TOKEN)
        if answer is None:
            return ModelAnswer(None, spoken, usage)
        perspective = f"{scene.role}, a rehearsal without a model"
        return ModelAnswer({**answer, "perspective": perspective}, "", usage)

    async def close(self) -> None:
        return None


# Manners: what each role makes of what it reads. None is silence.


def _draft(scene: _Scene) -> dict[str, str] | None:
    """A writer drafts from a task, and revises when somebody finds an issue with its draft."""
    if scene.woke.says("issue") and scene.mine:
        issue = scene.woke.says("issue")
        return {
            "focus": f"revised draft: {_topic(scene.task)}",
            "intent": f"settle what {scene.woke.author} found",
            "commitment": f"answers: {_brief(issue)}",
        }
    if scene.lineage or scene.said:
        return None
    steps = _clauses(scene.task)
    return {
        "focus": f"draft: {_topic(scene.task)}",
        "intent": f"let the others check a first version of {_brief(steps[0])}",
        "motivation": _brief(scene.task.says("motivation") or f"{scene.woke.author} asked for it"),
        "commitment": "; ".join(f"{n}. {_brief(step)}" for n, step in enumerate(steps, 1)),
    }


def _review(scene: _Scene) -> dict[str, str] | None:
    """A reviewer names what a promise leaves out of the task, and accepts once it is covered."""
    promise = scene.woke.says("commitment")
    closed = any(entry.says("focus").startswith("accepted") for entry in scene.said)
    if not promise or not scene.lineage or scene.woke.says("issue") or closed:
        return None
    raised = [entry for entry in scene.mine if entry.says("issue")]
    if raised:
        return {
            "focus": f"accepted: {_topic(scene.task)}",
            "commitment": f"reviewed and closed: {_brief(raised[0].says('issue'))}",
        }
    if scene.said:
        return None
    return {
        "focus": f"review: {_topic(scene.task)}",
        "issue": _gap(scene.task, scene.woke),
        "intent": f"have {scene.woke.author} answer this before the work goes on",
        "commitment": f"I look again once {scene.woke.author} has answered",
    }


def _test(scene: _Scene) -> dict[str, str] | None:
    """A test writer turns each promise into a check, once for a draft and once for its revision."""
    promise = scene.woke.says("commitment")
    if not promise or not scene.lineage or scene.woke.says("issue"):
        return None
    said = terms(" ".join(entry.says("commitment") for entry in scene.own))
    fresh = [c for c in _split(_MANNER.sub("", promise)) if not terms(c) <= said]
    answered = any(entry.says("issue") for entry in scene.lineage)
    closed = scene.woke.says("focus").startswith("accepted")
    if not fresh or closed or (scene.said and not answered):
        return None
    return {
        "focus": f"tests: {_topic(scene.task)}",
        "intent": f"prove what {scene.woke.author} promises",
        "commitment": "; ".join(f"check: {_brief(_bare(clause))}" for clause in fresh[:4]),
    }


def _comment(scene: _Scene) -> dict[str, str] | None:
    """Any other role says once, on a first message, what it will look after."""
    if scene.lineage or scene.said:
        return None
    return {
        "focus": f"comment: {_topic(scene.task)}",
        "commitment": f"{scene.role} looks after: {_brief(_clauses(scene.task)[-1])}",
    }


_MANNERS = {
    "writer": _draft,
    "spec": _draft,
    "generator": _draft,
    "reviewer": _review,
    "auditor": _review,
    "test-writer": _test,
}


# What the words of a record give away


def _topic(entry: _Entry) -> str:
    """Return what a task, or an answer to it, is about; an answer has its manner before it."""
    said = entry.says("focus") or entry.says("issue") or entry.says("intent") or "this"
    return _brief(_MANNER.sub("", said))


def _clauses(entry: _Entry) -> list[str]:
    text = "; ".join(filter(None, (entry.says(name) for name in ("focus", "issue"))))
    return _split(text or entry.says("intent")) or ["this"]


def _split(text: str) -> list[str]:
    spaced = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    parts = (_LEADING.sub("", _bare(part)) for part in _CLAUSES.split(spaced))
    return list(dict.fromkeys(part for part in parts if len(part) > 2))[:5]


def _bare(text: str) -> str:
    return re.sub(r"^\d+\.\s*", "", text).strip(" .;:,")


def _gap(task: _Entry, promise: _Entry) -> str:
    """Return an objection: a clause of the task that the promise barely mentions, else its edge."""
    covered, clauses = terms(promise.says("commitment")), _clauses(task)
    weakest = min(clauses, key=lambda c: len(terms(c) & covered) / (len(terms(c)) or 1))
    if not terms(weakest) <= covered:
        return f"the draft says nothing about {_brief(weakest)}"
    asked = ((edge, clause) for edge in _EDGES for clause in clauses[::-1])
    return next(ask.format(_brief(c, 80)) for (words, ask), c in asked if re.search(words, c))


def _brief(text: str, size: int = 110) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= size else flat[:size].rsplit(" ", 1)[0] + " …"


# Reading the prompt back


def _read(request: ModelRequest, role: str) -> _Scene:
    sections = _sections("\n".join(message.content for message in request.messages))
    name = _NAME.search(request.system)
    told = _ROLE.search(request.system)
    return _Scene(
        role=told.group(1) if told else role,
        me=name.group(1) if name else "",
        woke=next(iter(sections.get(WOKE, [])), _Entry("somebody")),
        lineage=sections.get(LINEAGE, []),
        own=sections.get(OWN, []),
    )


def _sections(text: str) -> dict[str, list[_Entry]]:
    sections: dict[str, list[_Entry]] = {}
    entries: list[_Entry] = []
    last = ""
    for line in text.split("\n"):
        if line.startswith("# "):
            entries = sections.setdefault(line, [])
        elif line.startswith("- "):
            entries.append(_Entry(line.partition(" from ")[2]))
        elif entries and line.startswith("    "):
            entries[-1].lines.setdefault(last, []).append(line.strip())
        elif entries and ": " in line:
            last, _, value = line.strip().partition(": ")
            entries[-1].lines[last] = [value]
    return sections
