"""How much a shared word says: one that every trade uses says little.

``common.json`` counts in how many of ``domains`` labelled domains a stem occurs; the calibration
script writes it. Stems of one or two domains are left out: they are as rare as one never seen.
"""

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from math import fsum, log

import msgspec

__all__ = ["FILE", "Common", "rarity", "weight_of"]

FILE = "common.json"


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    domains: int
    stems: dict[str, int]


def rarity(stem: str) -> float:
    """Return 0 for a stem that every domain uses, up to 1 for one that hardly any does."""
    return _rarities().get(stem, 1.0)


def weight_of(stems: Iterable[str]) -> float:
    """Return the sum of the stems' rarities."""
    known = _rarities()
    # Exact, so that the order of a set does not show.
    return fsum(known.get(stem, 1.0) for stem in stems)


@lru_cache(maxsize=1)
def _rarities() -> dict[str, float]:
    data = files("xmesh_mesh.judging").joinpath("calibration", FILE).read_bytes()
    found = msgspec.json.decode(data, type=Common)
    every = log(found.domains + 1)
    return {stem: 1.0 - log(count + 1) / every for stem, count in found.stems.items()}
