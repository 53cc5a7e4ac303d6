"""Boosted decision trees: what a judge's scores are made of, as numbers that travel in a file.

A tree asks for one value at a time and ends in a leaf; the exponent of a score is the sum of the
leaves that a view ends in. Where ``scripts/calibrate-admission`` asked for monotone trees, a rising
value is answered with a rising sum, so the judge's promises hold for every view, seen or not.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAF", "Trees"]

LEAF = -1


class Trees(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """All nodes of all trees, side by side; ``roots`` says where each tree begins.

    Node n is a leaf where ``asks[n]`` is LEAF. Else it asks for the value named
    ``names[asks[n]]``: at most ``bound[n]`` leads to node ``low[n]``, more to ``high[n]``. Both lie
    behind n. ``worth[n]`` is what a leaf adds, or what the leaves under a node add on average.
    Raises ValueError where the numbers do not fit together.
    """

    names: list[str]
    roots: list[int]
    asks: list[int]
    bound: list[float]
    low: list[int]
    high: list[int]
    worth: list[float]

    def __post_init__(self) -> None:
        count = len(self.asks)
        if {len(self.bound), len(self.low), len(self.high), len(self.worth)} != {count}:
            raise ValueError("the trees' lists differ in length")
        if not all(0 <= root < count for root in self.roots):
            raise ValueError("a tree begins outside")
        for n, asked in enumerate(self.asks):
            if asked == LEAF:
                continue
            if not 0 <= asked < len(self.names):
                raise ValueError(f"node {n} asks for a value that has no name")
            # Whoever follows them comes to an end.
            if not (n < self.low[n] < count and n < self.high[n] < count):
                raise ValueError(f"node {n} leads nowhere")

    def exponent(self, values: Mapping[str, float]) -> float:
        """Return the sum of the leaves; a value that is missing counts as 0."""
        given = [values.get(name, 0.0) for name in self.names]
        return float(self.exponents(np.array([given]))[0])

    def exponents(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of the leaves for each row; a column for each of ``names``."""
        asks, bound, after, worth, roots, depth = self._arrays
        nodes = np.repeat(roots[None, :], len(rows), axis=0)
        flat = rows.ravel()
        begins = (np.arange(len(rows)) * rows.shape[1])[:, None]
        for _ in range(depth):
            is_more = flat.take(begins + asks.take(nodes)) > bound.take(nodes)
            nodes = after.take(2 * nodes + is_more)
        found: NDArray[np.float64] = worth.take(nodes).sum(axis=1)
        return found

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        """All nodes as arrays, and how deep the deepest lies. Node n leads to ``after[2 * n]``, or
        where the value is more than its bound to the one behind that; a leaf leads to itself."""
        own = np.arange(len(self.asks))
        leaf = np.array(self.asks) == LEAF
        low, high = (np.where(leaf, own, side) for side in (self.low, self.high))
        depths = np.zeros(len(self.asks), dtype=int)
        for node in reversed(own):
            if not leaf[node]:
                depths[node] = 1 + max(depths[low[node]], depths[high[node]])
        asks = np.where(leaf, 0, self.asks)
        bound, worth, roots = (np.array(part) for part in (self.bound, self.worth, self.roots))
        after = np.column_stack([low, high]).ravel()
        return asks, bound, after, worth, roots, int(depths.max(initial=0))

    def pulls(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return how far each value moved the sum off its average; together all of that way."""
        found = dict.fromkeys(self.names, 0.0)
        for root in self.roots:
            for node, after, name in self._path(root, values):
                found[name] += self.worth[after] - self.worth[node]
        return found

    def _path(self, node: int, values: Mapping[str, float]) -> Iterator[tuple[int, int, str]]:
        while self.asks[node] != LEAF:
            name = self.names[self.asks[node]]
            at_most = values.get(name, 0.0) <= self.bound[node]
            after = self.low[node] if at_most else self.high[node]
            yield node, after, name
            node = after
