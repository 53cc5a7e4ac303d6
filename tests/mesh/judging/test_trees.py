"""Boosted trees in a file: what they answer, and that what does not fit together is refused."""

import msgspec
import numpy as np
import pytest

from xmesh_mesh.judging.trees import LEAF, Trees

# near <= 0.5 ? -1 : (news <= 0 ? 1 : 3), and a second tree: near <= 0.2 ? 0 : 0.5
TREES = Trees(
    names=["near", "news"],
    roots=[0, 5],
    asks=[0, LEAF, 1, LEAF, LEAF, 0, LEAF, LEAF],
    bound=[0.5, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0],
    low=[1, 0, 3, 0, 0, 6, 0, 0],
    high=[2, 0, 4, 0, 0, 7, 0, 0],
    worth=[0.4, -1.0, 2.0, 1.0, 3.0, 0.2, 0.0, 0.5],
)


@pytest.mark.parametrize(
    ("values", "exponent"),
    [
        ({}, -1.0),
        ({"near": 0.5, "news": 9.0}, -0.5),
        ({"near": 0.51}, 1.5),
        ({"near": 0.51, "news": 0.1, "other": 7.0}, 3.5),
    ],
)
def test_the_exponent_is_the_sum_of_the_leaves(values: dict[str, float], exponent: float) -> None:
    assert TREES.exponent(values) == pytest.approx(exponent)
    # Each value's pull is what it moved on the way from the averages to the leaves.
    assert sum(TREES.pulls(values).values()) == pytest.approx(exponent - 0.6)


def test_many_rows_are_answered_as_each_by_itself() -> None:
    rows = [[near, news] for near in (0.1, 0.2, 0.3, 0.5, 0.7) for news in (-1.0, 0.0, 0.5)]
    each = [TREES.exponent({"near": near, "news": news}) for near, news in rows]
    assert list(TREES.exponents(np.array(rows))) == pytest.approx(each)
    assert each[0] == -1.0
    assert each[-1] == 3.5


def test_a_value_that_was_not_asked_for_pulls_nothing() -> None:
    assert TREES.pulls({"near": 0.1}) == pytest.approx({"near": -1.6, "news": 0.0})
    assert TREES.pulls({"near": 0.9, "news": 1.0}) == pytest.approx({"near": 1.9, "news": 1.0})


@pytest.mark.parametrize(
    "change",
    [
        {"bound": [0.5]},
        {"roots": [8]},
        {"roots": [-1]},
        {"asks": [2, LEAF, 1, LEAF, LEAF, 0, LEAF, LEAF]},
        {"low": [0, 0, 3, 0, 0, 6, 0, 0]},  # a circle
        {"high": [2, 0, 8, 0, 0, 7, 0, 0]},
        {"high": [2, 0, -1, 0, 0, 7, 0, 0]},
    ],
)
def test_a_file_whose_trees_do_not_fit_together_is_refused(change: dict[str, list[float]]) -> None:
    data = msgspec.json.encode({**msgspec.to_builtins(TREES), **change})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Trees)
