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
from admission_parts import sets
from admission_parts.bars import Scores, choose
from admission_parts.encoders import open_all
from admission_parts.views import Space, view

from xmesh_mesh.encoding.kernels import Encoder, Vectors
from xmesh_mesh.judging.decision import Calibration, concern_of, novelty_of
from xmesh_mesh.judging.fit import Example, fit

TARGET = Path(__file__).resolve().parents[1] / "xmesh_mesh" / "judging" / "calibration"
LEARNT_FROM = "tests/admission (train split) and tests/relevance"
FOLDS = 5
# A stream is what a mesh sees, and counts as 1. Plain messages keep the charter from being ignored,
# as sets full of traps would have it.
HARD_SHARE, PLAIN_SHARE = 0.3, 0.1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/calibrate-admission",
        description=__doc__.splitlines()[0],
        epilog="example: scripts/calibrate-admission --encoder static",
    )
    parser.add_argument("--encoder", choices=["ngram", "static", "minilm"], help="this one only")
    wanted = parser.parse_args().encoder
    cases = [*sets.hard("train"), *sets.stream("train"), *sets.plain()]
    for name, encoder in open_all([wanted] if wanted else None).items():
        learnt = calibrate(cases, encoder)
        path = TARGET / f"{encoder.kernel}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(learnt), indent=1) + b"\n")
        print(f"{name}: {path.name} from {len(cases)} cases")
    return 0


def calibrate(cases: Sequence[sets.Case], encoder: Encoder) -> Calibration:
    space = Space(encoder)
    hard = np.array([case.is_hard for case in cases])
    plain = np.array([case.kind == "plain" for case in cases])
    share = np.where(hard, HARD_SHARE / hard.sum(), 1 / (~hard & ~plain).sum())
    share = np.where(plain, PLAIN_SHARE / plain.sum(), share)
    examples = [
        Example(dict(view(case, space).values), case.label, float(weight))
        for case, weight in zip(cases, share, strict=True)
    ]
    concern, novelty = _unseen(cases, examples)
    labels = np.array([case.label for case in cases])
    reply = np.array([case.thread.known for case in cases])
    scores = Scores(concern, novelty, labels, hard, reply).only(~plain)
    return choose(fit(examples, encoder.kernel, LEARNT_FROM), scores)


def _unseen(cases: Sequence[sets.Case], examples: Sequence[Example]) -> tuple[Vectors, Vectors]:
    """Return both scores of every case, each from a fit without its domain."""
    groups = list(dict.fromkeys(case.group for case in cases))
    concern, novelty = np.zeros(len(cases)), np.zeros(len(cases))
    for fold in range(FOLDS):
        out = set(groups[fold::FOLDS])
        kept = [e for case, e in zip(cases, examples, strict=True) if case.group not in out]
        learnt = fit(kept, "fold", "")
        for index, case in enumerate(cases):
            if case.group in out:
                concern[index] = concern_of(examples[index].values, learnt)
                novelty[index] = novelty_of(examples[index].values, learnt)
    return concern, novelty


if __name__ == "__main__":
    sys.exit(main())
