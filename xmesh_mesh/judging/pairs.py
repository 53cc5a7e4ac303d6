"""How a message lies to one thing that the peer knows, as a row of numbers.

What these hold of does not change when more becomes known: so the least that any row makes of a
message's novelty can only shrink with memory, whatever is learnt of a single row.
"""

from collections.abc import Sequence
from math import log, log1p
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xmesh_mesh.encoding.kernels import Vectors
from xmesh_mesh.judging.cues import Cues

__all__ = ["PAIR", "Rows", "rows"]

Rows: TypeAlias = NDArray[np.float64]

# Cosines of the wholes, and of the message's fields with the whole; shares of the message's and of
# the anchor's stems that are common; then what the message adds to, shares with and leaves out of
# the anchor.
PAIR: Final = (
    "cosine", "field_cosine", "covered", "covers", "more_stems", "more_numbers", "same_numbers",
    "less_numbers", "more_digits", "more_names", "same_names", "other_polarity", "negates",
    "longer", "other_tongue", "asks", "answers", "delivers", "of_thread", "is_parent", "wants",
)  # fmt: skip
_MANY = 3
# Where the six counts are in what ``_row`` returns.
_COUNTS = slice(3, 9)


def rows(
    text: Cues,
    known: Sequence[Cues],
    cosines: Vectors,
    field_cosines: Vectors,
    places: Sequence[tuple[bool, bool, bool]],
) -> Rows:
    """Return a row for each anchor; ``places``: of the message's thread, a parent, a wish?"""
    table = np.array([_row(text, one) for one in known], dtype=float)
    if not len(table):
        return np.zeros((0, len(PAIR)))
    table[:, _COUNTS] = np.minimum(table[:, _COUNTS], _MANY) / _MANY
    return np.column_stack([cosines, field_cosines, table, np.array(places, dtype=float)])


def _row(text: Cues, known: Cues) -> tuple[float, ...]:
    """Return what stands between the cosines and the places; counts as they are."""
    common = len(text.stems & known.stems)
    size = max(1, len(text.stems))
    return (
        common / size,
        common / max(1, len(known.stems)),
        log1p(size - common) / 3,
        len(text.numbers - known.numbers),
        len(text.numbers & known.numbers),
        len(known.numbers - text.numbers),
        len(text.digits - known.numbers),
        len(text.names - known.names - known.stems),
        len(text.names & known.names),
        float(text.negated != known.negated),
        float(known.negated),
        log((1 + text.words) / (1 + known.words)),
        float(bool(text.language and known.language) and text.language != known.language),
        float(known.question),
        float(known.question and not text.question),
        float(bool(text.delivering and not known.delivering)),
    )
