"""How well peers judge on the labelled sets, for every encoder, with and without a second look.

The second look is scripted and right in 95 of 100 cases, so that the figures are about what is
asked and saved, and not about some model. The judge's numbers come from the train split only.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import get_args

from admission_parts import baselines, second, sets
from admission_parts.encoders import LOCAL, open_all
from admission_parts.report import Result, details, table
from admission_parts.sets import Case, Split
from admission_parts.views import Space, view

from xmesh_mesh.encoding.kernels import Encoder
from xmesh_mesh.encoding.static import StaticEncoder
from xmesh_mesh.judging.calibrations import shipped
from xmesh_mesh.judging.decision import Calibration, Label, opine

_SETS: dict[str, Callable[[Split], list[Case]]] = {"stream": sets.stream, "hard": sets.hard}


def main() -> int:
    arguments = _parse()
    splits = [arguments.split] if arguments.split else list(get_args(Split))
    results: list[Result] = []
    for name, load in _SETS.items():
        for split in splits:
            _say(f"{name} {split} ...")
            results += _measured(name, split, load, arguments.encoder)
    if arguments.json:
        print(json.dumps([one.as_json() for one in results], indent=1))
    else:
        print(table(results))
        if arguments.details:
            print(details(results))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench-admission",
        description=__doc__.splitlines()[0],
        epilog="example: scripts/bench-admission --split held-out --encoder static --details",
    )
    parser.add_argument("--encoder", action="append", choices=LOCAL, help="may be repeated")
    parser.add_argument("--split", choices=get_args(Split), help="this one only")
    parser.add_argument("--details", action="store_true", help="confusion and kinds, too")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args()


def _measured(
    name: str, split: Split, load: Callable[[Split], list[Case]], encoders: Sequence[str] | None
) -> list[Result]:
    cases, train = load(split), load("train")
    plain = {
        "deployed arithmetic": baselines.deployed,
        "one cosine (static)": baselines.tuned(baselines.cosine(Space(StaticEncoder())), train),
        "word overlap": baselines.tuned(baselines.overlap, train),
    }
    results = [_baseline(judge, name, split, cases, say) for judge, say in plain.items()]
    chosen = [each for each in LOCAL if encoders is None or each in encoders]
    for each, encoder in open_all(chosen).items():
        results += _judged(each, name, split, cases, encoder)
    return results


def _baseline(
    judge: str, name: str, split: Split, cases: list[Case], say: Callable[[Case], Label]
) -> Result:
    said, took_ms = [], []
    for case in cases:
        began = time.perf_counter()
        said.append(say(case))
        took_ms.append((time.perf_counter() - began) * 1000)
    return Result(judge, name, split, cases, said, median(took_ms))


class _Trial:
    """A judge at work: called with case after case, it keeps what it said and what that took."""

    def __init__(self, space: Space, calibration: Calibration, *, asks: bool) -> None:
        self._space = space
        self._calibration = calibration
        self._asks = asks
        self._said: list[Label] = []
        self._took_ms: list[float] = []
        self._asked = self._tokens = 0

    def __call__(self, case: Case) -> Label:
        began = time.perf_counter()
        found = view(case, self._space)
        opinion = opine(found, self._calibration)
        self._took_ms.append((time.perf_counter() - began) * 1000)
        label = opinion.label
        if self._asks and not opinion.sure:
            self._asked += 1
            near = [entry.index for entry in found.fields if entry.index >= 0]
            self._tokens += second.tokens(case, list(dict.fromkeys(near)))
            label = second.scripted(case)
        self._said.append(label)
        return label

    def result(self, judge: str, name: str, split: str, cases: Sequence[Case]) -> Result:
        """Return what came of ``cases``, which it was called with in this order."""
        cost = median(self._took_ms)
        return Result(judge, name, split, cases, self._said, cost, self._asked, self._tokens)


def _judged(
    judge: str, name: str, split: Split, cases: list[Case], encoder: Encoder
) -> list[Result]:
    """Return the judge's results by itself and with a second look at what it is unsure of.

    Of streams once more as a peer lives them: with a memory of what it let in itself.
    """
    space, calibration = Space(encoder), shipped(encoder.kernel)
    results = []
    for lives in (False, True) if name == "stream" else (False,):
        for asks in (False, True):
            trial = _Trial(space, calibration, asks=asks)
            heard = sets.stream(split, trial) if lives else cases
            if not lives:
                for case in cases:
                    trial(case)
            title = f"{judge}{' + second look' if asks else ''}{', as lived' if lives else ''}"
            results.append(trial.result(title, name, split, heard))
    return results


def _say(text: str) -> None:
    sys.stderr.write(f"bench-admission: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
