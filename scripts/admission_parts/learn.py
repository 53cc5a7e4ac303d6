"""Learning the scores of a kernel: gradient-boosted trees, with the signs that must hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np

from xmesh_mesh.judging.features import OF_CONCERN, OF_NOVELTY
from xmesh_mesh.judging.fit import Example, Kind, sign
from xmesh_mesh.judging.trees import LEAF, Trees

# Concern is read once for a message, novelty before every anchor.
_CONCERN = {"num_leaves": 32, "max_depth": 10, "min_data_in_leaf": 10, "lambda_l2": 20.0}
_CONCERN_ROUNDS = 300
_ROUNDS = 200
# A few hundred messages to a peer that knows nothing bear less, and only its charter says anything.
_ALONE = {"num_leaves": 4, "learning_rate": 0.06, "extra_trees": False}
_ALONE_ROUNDS = 120
_ALONE_KNOWS = (
    "charter_sim", "charter_whole", "charter_field", "charter_words", "charter_rare",
    "excluded_sim", "excludes", "everyday", "long", "other_language",
)  # fmt: skip
_SETTINGS = {
    "objective": "binary",
    "num_leaves": 16,
    # All rows go down all trees together, as far as the deepest goes.
    "max_depth": 7,
    "learning_rate": 0.1,
    # Bounds drawn by lot, the best of those taken: they hold better for styles that train lacks.
    "extra_trees": True,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
    "monotone_constraints_method": "intermediate",
    # The same examples give the same trees.
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 1,
    "verbose": -1,
}
_DIGITS = 5


def alone(examples: Sequence[Example]) -> Trees:
    """Learn from those examples before which the peer knew nothing."""
    wanted = [one.label != "foreign" for one in examples]
    rare = wanted.count(False) / max(1, wanted.count(True))
    counts = [rare if mine else 1.0 for mine in wanted]
    return _learn(_ALONE_KNOWS, examples, wanted, counts, "concern", _ALONE_ROUNDS, _ALONE)


def concern(examples: Sequence[Example]) -> Trees:
    wanted = [one.label != "foreign" for one in examples]
    counts = [one.weight for one in examples]
    return _learn(OF_CONCERN, examples, wanted, counts, "concern", _CONCERN_ROUNDS, _CONCERN)


def novelty(examples: Sequence[Example]) -> Trees:
    mine = [one for one in examples if one.label != "foreign"]
    wanted = [one.label == "relevant" for one in mine]
    return _learn(OF_NOVELTY, mine, wanted, [one.weight for one in mine], "novelty")


def _learn(
    names: Sequence[str],
    examples: Sequence[Example],
    wanted: Sequence[bool],
    counts: Sequence[float],
    kind: Kind,
    rounds: int = _ROUNDS,
    settings: Mapping[str, Any] | None = None,
) -> Trees:
    table = np.array([[one.values[name] for name in names] for one in examples])
    weight = np.array(counts)
    data = lightgbm.Dataset(table, np.array(wanted, dtype=int), weight=weight / weight.mean())
    signs = [sign(name, kind) for name in names]
    chosen = {**_SETTINGS, **(settings or {}), "monotone_constraints": signs}
    return _flat(list(names), lightgbm.train(chosen, data, rounds).dump_model())


def _flat(names: list[str], dumped: dict[str, Any]) -> Trees:
    trees = Trees(names, [], [], [], [], [], [])
    for info in dumped["tree_info"]:
        trees.roots.append(len(trees.asks))
        _grow(trees, info["tree_structure"])
    return trees


def _grow(trees: Trees, node: dict[str, Any]) -> None:
    """Append a node and all under it; LightGBM's "<=" leads to the left child."""
    place = len(trees.asks)
    leaf = "leaf_value" in node
    trees.asks.append(LEAF if leaf else node["split_feature"])
    trees.bound.append(0.0 if leaf else round(node["threshold"], _DIGITS))
    trees.worth.append(round(node["leaf_value" if leaf else "internal_value"], _DIGITS))
    trees.low.append(0)
    trees.high.append(0)
    if not leaf:
        trees.low[place] = len(trees.asks)
        _grow(trees, node["left_child"])
        trees.high[place] = len(trees.asks)
        _grow(trees, node["right_child"])
