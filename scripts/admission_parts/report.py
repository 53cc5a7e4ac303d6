"""From answers to figures: confusion, wakes for each label, accuracy by kind, cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from admission_parts.sets import Case

from xmesh_mesh.judging.decision import Label

LABELS: tuple[Label, ...] = ("relevant", "redundant", "foreign")


@dataclass(frozen=True)
class Result:
    """What one judge said of one set. ``asked`` second looks took ``tokens``; a decision took
    ``ms`` (the median, encoding included where nothing of it is cached)."""

    judge: str
    set_name: str
    split: str
    cases: Sequence[Case] = field(repr=False)
    said: Sequence[Label] = field(repr=False)
    ms: float
    asked: int = 0
    tokens: int = 0

    @property
    def accuracy(self) -> float:
        return self._right(range(len(self.cases)))

    def wakes(self, label: Label) -> float:
        """Return which share of the cases of this label wakes."""
        said = [s for case, s in zip(self.cases, self.said, strict=True) if case.label == label]
        return said.count("relevant") / max(1, len(said))

    @property
    def calls(self) -> int:
        return list(self.said).count("relevant")

    def confusion(self) -> dict[str, dict[str, int]]:
        pairs = [(case.label, said) for case, said in zip(self.cases, self.said, strict=True)]
        return {of: {said: pairs.count((of, said)) for said in LABELS} for of in LABELS}

    def by_kind(self) -> dict[str, float]:
        kinds = sorted({case.kind for case in self.cases})
        places = {k: [i for i, case in enumerate(self.cases) if case.kind == k] for k in kinds}
        return {kind: round(self._right(where), 3) for kind, where in places.items()}

    def _right(self, where: Sequence[int]) -> float:
        right = sum(self.cases[i].label == self.said[i] for i in where)
        return right / max(1, len(where))

    def as_json(self) -> dict[str, object]:
        return {
            "set": self.set_name,
            "split": self.split,
            "judge": self.judge,
            "cases": len(self.cases),
            "accuracy": round(self.accuracy, 3),
            "wakes": {label: round(self.wakes(label), 3) for label in LABELS},
            "confusion": self.confusion(),
            "by_kind": self.by_kind(),
            "ms": round(self.ms, 3),
            "calls": self.calls,
            "asked": self.asked,
            "question_tokens": self.tokens,
        }


def table(results: Sequence[Result]) -> str:
    lines = []
    for place in dict.fromkeys((one.set_name, one.split) for one in results):
        here = [one for one in results if (one.set_name, one.split) == place]
        title = f"{place[0]}, {place[1]}: {len(here[0].cases)} cases; shares that wake by label"
        lines += ["", title, ""]
        lines += [
            "| judge | right | relevant | redundant | foreign | calls | asked | tokens | ms |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(one) for one in here]
    return "\n".join(lines)


def _row(one: Result) -> str:
    shares = " | ".join(f"{one.wakes(label):.3f}" for label in LABELS)
    return (
        f"| {one.judge} | {one.accuracy:.3f} | {shares} | {one.calls} | {one.asked or '–'}"
        f" | {one.tokens or '–'} | {one.ms:.2f} |"
    )


def details(results: Sequence[Result]) -> str:
    """Return confusion matrices (rows: what it is; columns: what was said) and kinds."""
    lines = []
    for one in results:
        lines += ["", f"{one.judge}, {one.set_name} {one.split}"]
        lines += [
            f"  {of:<10}" + "".join(f"{said} {count:>4}  " for said, count in row.items())
            for of, row in one.confusion().items()
        ]
        lines.append("  " + ", ".join(f"{k} {share:.2f}" for k, share in one.by_kind().items()))
    return "\n".join(lines)
