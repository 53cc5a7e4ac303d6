"""Walking the graph of who answered whom.

Pure: the graph is a callable from a key to the keys one step on (its parents, say), so it may be
a store, a dict or a record in hand. Anybody may sign any parents, and two records can share an
address, so every walk here ends on cycles too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

Steps: TypeAlias = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line of a printed tree; ``again`` where the key's own lines stand further up."""

    depth: int
    key: str
    again: bool = False


def ancestors(key: str, parents_of: Steps, depth: int) -> list[tuple[int, str]]:
    """Return ``(distance, key)`` of all ancestors up to ``depth`` steps away, nearest first.

    Breadth-first; each ancestor once, at its shortest distance; ``key`` itself never.
    """
    found: list[tuple[int, str]] = []
    seen = {key}
    level = [key]
    for distance in range(1, depth + 1):
        ahead = dict.fromkeys(parent for one in level for parent in parents_of(one))
        level = [parent for parent in ahead if parent not in seen]
        if not level:
            break
        seen.update(level)
        found += [(distance, parent) for parent in level]
    return found


def lineage_tree(keys: Iterable[str], parents_of: Steps) -> list[TreeLine]:
    """Return the lines of a tree in which each of ``keys`` stands under its parents among them.

    In the order of ``keys``, roots first. A key with several parents stands under each, with its
    descendants under the first one printed only.
    """
    order = list(dict.fromkeys(keys))
    children: dict[str, list[str]] = {key: [] for key in order}
    roots = []
    for key in order:
        inside = [parent for parent in dict.fromkeys(parents_of(key)) if parent in children]
        for parent in inside:
            children[parent].append(key)
        if not inside:
            roots.append(key)
    lines: list[TreeLine] = []
    printed: set[str] = set()
    # Keys that only a cycle leads to have no root above them; they become roots in their turn.
    for root in [*roots, *order]:
        if root not in printed:
            lines += _subtree(root, children, printed)
    return lines


def _subtree(root: str, children: dict[str, list[str]], printed: set[str]) -> list[TreeLine]:
    """Return the lines under ``root``, depth-first; ``printed`` grows by the keys in them."""
    lines = []
    stack = [TreeLine(0, root)]
    while stack:
        line = stack.pop()
        again = line.key in printed
        lines.append(TreeLine(line.depth, line.key, again))
        if not again:
            printed.add(line.key)
            stack += [TreeLine(line.depth + 1, key) for key in reversed(children[line.key])]
    return lines
