"""Learn each kernel's calibration from the train split, and write it where the judge reads it.

Bars and bands are set on what the scores say of domains they were not fitted on (five folds, whole
domains), so they are no more hopeful than they should be. The held-out split is never opened.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from admission_parts import learn, sets
from admission_parts.bars import Scores, choose
from admission_parts.encoders import open_all
from admission_parts.views import Space, view

from xmesh_mesh.encoding.kernels import Encoder, Vectors
from xmesh_mesh.judging.decision import Bars, Calibration, Scale, concern_of, novelty_of
from xmesh_mesh.judging.features import View
from xmesh_mesh.judging.fit import Example
from xmesh_mesh.judging.rarity import FILE, Common
from xmesh_mesh.relevance import terms_of

TARGET = Path(__file__).resolve().parents[1] / "xmesh_mesh" / "judging" / "calibration"
LEARNT_FROM = "tests/admission (train split) and tests/relevance"
FOLDS = 5
# Stems of so few domains are not counted: theirs may be the domain at hand.
RARE = 2
# Streams are what a mesh sees; the others keep the judge from being fooled by traps and by brief
# speakers. Openings before a peer that knows nothing have a score of their own.
SHARES = {"stream": 1.0, "hard": 0.6, "terse": 0.1, "plain": 0.3, "alone": 0.5}


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
        *sets.stream("train"), *sets.terse(), *sets.hard("train"), *sets.plain(), *sets.alone(),
    ]  # fmt: skip


def common(cases: Sequence[sets.Case]) -> Common:
    """Count in how many domains each stem occurs."""
    domains: dict[str, set[str]] = {}
    for case in cases:
        for stem in terms_of([*case.message.texts.values(), case.charter]):
            domains.setdefault(stem, set()).add(case.group)
    counts = {stem: len(found) for stem, found in sorted(domains.items()) if len(found) > RARE}
    return Common(len({case.group for case in cases}), counts)


def calibrate(cases: Sequence[sets.Case], encoder: Encoder) -> Calibration:
    space = Space(encoder)
    names = np.array([case.set_name for case in cases])
    share = {name: SHARES[name] / (names == name).sum() for name in set(names)}
    views = [view(case, space) for case in cases]
    examples = [
        Example(seen.before(seen.nearest), case.label, share[case.set_name])
        for case, seen in zip(cases, views, strict=True)
    ]
    concern, novelty = _unseen(cases, views, examples)
    labels = np.array([case.label for case in cases])
    reply = np.array([case.thread.known for case in cases])
    scores = Scores(concern, novelty, labels, names, reply)
    return choose(_fit(examples, encoder.kernel), scores)


def _fit(examples: Sequence[Example], kernel: str) -> Calibration:
    """Learn the scores, with bars in the middle and no band."""
    middle = Bars(0.5, 0.5, 0.5)
    unknowing = [one for one in examples if one.values["alone"]]
    knowing = [one for one in examples if not one.values["alone"]]
    learnt = (learn.alone(unknowing), learn.concern(knowing), learn.novelty(knowing))
    alone, concern, novelty = (Scale(trees, middle, middle) for trees in learnt)
    return Calibration(kernel, LEARNT_FROM, alone, concern, novelty)


def _unseen(
    cases: Sequence[sets.Case], views: Sequence[View], examples: Sequence[Example]
) -> tuple[Vectors, Vectors]:
    """Return both scores of every case, each from a fit without its domain."""
    groups = list(dict.fromkeys(case.group for case in cases))
    concern, novelty = np.zeros(len(cases)), np.zeros(len(cases))
    for fold in range(FOLDS):
        out = set(groups[fold::FOLDS])
        kept = [e for case, e in zip(cases, examples, strict=True) if case.group not in out]
        learnt = _fit(kept, "fold")
        for index, case in enumerate(cases):
            if case.group in out:
                concern[index] = concern_of(examples[index].values, learnt)
                novelty[index], _ = novelty_of(views[index], learnt)
    return concern, novelty


if __name__ == "__main__":
    sys.exit(main())
