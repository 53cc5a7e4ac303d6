"""Learn each kernel's calibration from the train split, and write it where the judge reads it.

Bars and bands are set on what the scores say of domains they were not fitted on (five folds, whole
domains), so they are no more hopeful than they should be. The held-out split is never opened.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from admission_parts import learn, sets
from admission_parts.bars import Scores, choose
from admission_parts.encoders import open_all
from admission_parts.views import Space, view

from xmesh_mesh.encoding.kernels import Encoder
from xmesh_mesh.judging.decision import (
    Bars,
    Calibration,
    Scale,
    concern_of,
    novelty_of,
    opine,
)
from xmesh_mesh.judging.features import View
from xmesh_mesh.judging.fit import Example
from xmesh_mesh.judging.rarity import FILE, Common
from xmesh_mesh.relevance import terms_of

TARGET = Path(__file__).resolve().parents[1] / "xmesh_mesh" / "judging" / "calibration"
LEARNT_FROM = "tests/admission (train split) and tests/relevance"
FOLDS = 5
# Stems of so few domains are not counted: theirs may be the domain at hand.
RARE = 2
# Streams are what a mesh sees, half of it with the past that the labels have, half as lived
# through; the others keep the judge from being fooled by neighbours, traps and brief speakers.
# Openings before a peer that knows nothing have a score of their own.
SHARES = {
    "stream": 0.5, "crowded": 0.3, "terse": 0.05, "lived": 0.85,
    "hard": 0.6, "plain": 0.3, "alone": 0.5,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/calibrate-admission",
        description=__doc__.splitlines()[0],
        epilog="example: scripts/calibrate-admission --encoder static",
    )
    parser.add_argument("--encoder", choices=["ngram", "static", "minilm"], help="this one only")
    wanted = parser.parse_args().encoder
    cases = train()
    # Before any view is taken: views weigh words by it.
    (TARGET / FILE).write_bytes(msgspec.json.encode(common(cases)) + b"\n")
    for name, encoder in open_all([wanted] if wanted else None).items():
        learnt = calibrate(cases, encoder)
        path = TARGET / f"{encoder.kernel}.json"
        path.write_bytes(msgspec.json.encode(learnt) + b"\n")
        print(f"{name}: {path.name} from {len(cases)} cases")
    return 0


def train() -> list[sets.Case]:
    return [
        *_streams(sets.labelled), *sets.hard("train"), *sets.plain(), *sets.alone(),
    ]  # fmt: skip


def _streams(judge: sets.Judge) -> list[sets.Case]:
    return [*sets.stream("train", judge), *sets.crowded(judge), *sets.terse(judge)]


def common(cases: Sequence[sets.Case]) -> Common:
    """Count in how many domains each stem occurs."""
    domains: dict[str, set[str]] = {}
    for case in cases:
        for stem in terms_of([*case.message.texts.values(), case.charter]):
            domains.setdefault(stem, set()).add(case.group)
    counts = {stem: len(found) for stem, found in sorted(domains.items()) if len(found) > RARE}
    return Common(len({case.group for case in cases}), counts)


def calibrate(cases: Sequence[sets.Case], encoder: Encoder) -> Calibration:
    """Learn twice: from streams as the labels have their past, and then as a judge lives them.

    A peer's memory is what it admitted itself, so one mistake makes others; who learnt only from a
    past without mistakes would not know what to do with one.
    """
    space = Space(encoder)
    views = [view(case, space) for case in cases]
    examples = _examples(cases, views)
    folds = _folds(cases, examples)
    scores = _scores(cases, views, folds)
    judges = {group: choose(learnt, scores) for group, learnt in folds.items()}
    lived = _lived(lambda case: opine(view(case, space), judges[case.group]).label)
    examples += _examples(lived, [view(case, space) for case in lived])
    scores = _scores(cases, views, _folds([*cases, *lived], examples))
    return choose(_fit(examples, encoder.kernel), scores)


def _lived(judge: sets.Judge) -> list[sets.Case]:
    """Return the streams once more, for peers that know what ``judge`` let in. (Before anything is
    known, ``alone`` has enough.)"""
    return [replace(case, set_name="lived") for case in _streams(judge) if case.anchors]


def _examples(cases: Sequence[sets.Case], views: Sequence[View]) -> list[Example]:
    count = Counter(case.set_name for case in cases)
    return [
        Example(seen.before(seen.nearest), case.label, SHARES[case.set_name] / count[case.set_name])
        for case, seen in zip(cases, views, strict=True)
    ]


def _fit(examples: Sequence[Example], kernel: str) -> Calibration:
    """Learn the scores, with bars in the middle and no band."""
    middle = Bars(0.5, 0.5, 0.5)
    unknowing = [one for one in examples if one.values["alone"]]
    knowing = [one for one in examples if not one.values["alone"]]
    learnt = (learn.alone(unknowing), learn.concern(knowing), learn.novelty(knowing))
    alone, concern, novelty = (Scale(trees, middle, middle) for trees in learnt)
    return Calibration(kernel, LEARNT_FROM, alone, concern, novelty)


def _folds(cases: Sequence[sets.Case], examples: Sequence[Example]) -> dict[str, Calibration]:
    """Return for each group (domain or task) what was learnt without it."""
    groups = list(dict.fromkeys(case.group for case in cases))
    found: dict[str, Calibration] = {}
    for fold in range(FOLDS):
        out = groups[fold::FOLDS]
        kept = [e for case, e in zip(cases, examples, strict=True) if case.group not in out]
        found |= dict.fromkeys(out, _fit(kept, "fold"))
    return found


def _scores(
    cases: Sequence[sets.Case], views: Sequence[View], folds: Mapping[str, Calibration]
) -> Scores:
    """Return both scores of every case, each as one judges that has not seen its domain."""
    judged = [
        (
            concern_of(seen.before(seen.nearest), folds[case.group]),
            0.0 if seen.repeats else novelty_of(seen, folds[case.group])[0],
        )
        for case, seen in zip(cases, views, strict=True)
    ]
    concern, novelty = np.array(judged).T
    labels = np.array([case.label for case in cases])
    names = np.array([case.set_name for case in cases])
    reply = np.array([case.thread.known for case in cases])
    return Scores(concern, novelty, labels, names, reply)


if __name__ == "__main__":
    sys.exit(main())
