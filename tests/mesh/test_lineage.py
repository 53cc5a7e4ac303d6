"""Walks over lineage: complete, in order, and never endless."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.lineage import TreeLine, ancestors, lineage_tree

FAMILY = {
    "e": ["d", "c"],
    "d": ["b"],
    "c": ["b", "a"],
    "b": ["a"],
}

graphs = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4)
)


def parents(key: str) -> list[str]:
    return FAMILY.get(key, [])


def test_ancestors_come_nearest_first_each_once() -> None:
    assert ancestors("e", parents, 9) == [(1, "d"), (1, "c"), (2, "b"), (2, "a")]


@pytest.mark.parametrize(("depth", "count"), [(0, 0), (1, 2), (2, 4), (3, 4)])
def test_ancestors_stop_at_the_depth(depth: int, count: int) -> None:
    assert len(ancestors("e", parents, depth)) == count


def test_a_walk_ends_where_the_ancestors_end_however_deep_it_may_go() -> None:
    assert len(ancestors("e", parents, 10**12)) == 4


def test_a_first_record_has_no_ancestors() -> None:
    assert ancestors("a", parents, 5) == []
    assert ancestors("unknown", parents, 5) == []


def test_a_walk_asks_about_each_key_once() -> None:
    asked: list[str] = []

    def counting(key: str) -> list[str]:
        asked.append(key)
        return parents(key)

    ancestors("e", counting, 9)
    assert sorted(asked) == list("abcde")


def test_a_cycle_ends_and_leaves_out_the_start() -> None:
    ring = {"a": ["b"], "b": ["c"], "c": ["a", "c"]}
    assert ancestors("a", lambda key: ring[key], 99) == [(1, "b"), (2, "c")]


@given(graphs, st.integers(0, 9))
def test_ancestors_of_any_graph_are_those_within_reach(
    graph: dict[str, list[str]], depth: int
) -> None:
    distance = {"a": 0}
    queue = deque("a")
    while queue:
        key = queue.popleft()
        for parent in graph.get(key, []):
            if parent not in distance:
                distance[parent] = distance[key] + 1
                queue.append(parent)
    expected = {(far, key) for key, far in distance.items() if 0 < far <= depth}
    found = ancestors("a", lambda key: graph.get(key, []), depth)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [far for far, _ in found] == sorted(far for far, _ in found)


def test_a_tree_puts_replies_under_what_they_answer() -> None:
    thread = {"reply": ["question"], "answer": ["reply"], "aside": ["question"]}
    lines = lineage_tree(
        ["question", "reply", "aside", "answer", "other"], lambda key: thread.get(key, [])
    )
    assert lines == [
        TreeLine(0, "question"),
        TreeLine(1, "reply"),
        TreeLine(2, "answer"),
        TreeLine(1, "aside"),
        TreeLine(0, "other"),
    ]


def test_a_key_with_two_parents_stands_under_both_with_its_own_once() -> None:
    assert lineage_tree("abcde", parents) == [
        TreeLine(0, "a"),
        TreeLine(1, "b"),
        TreeLine(2, "c"),
        TreeLine(3, "e"),
        TreeLine(2, "d"),
        TreeLine(3, "e", again=True),
        TreeLine(1, "c", again=True),
    ]


def test_parents_outside_the_keys_do_not_count() -> None:
    assert lineage_tree(["b"], parents) == [TreeLine(0, "b")]


def test_repeated_keys_and_parents_are_printed_once() -> None:
    assert lineage_tree(["a", "b", "a"], lambda key: ["a", "a"] if key == "b" else []) == [
        TreeLine(0, "a"),
        TreeLine(1, "b"),
    ]


def test_a_cycle_is_printed_from_its_first_key() -> None:
    ring = {"a": ["b"], "b": ["a"]}
    assert lineage_tree(["x", "a", "b"], lambda key: ring.get(key, [])) == [
        TreeLine(0, "x"),
        TreeLine(0, "a"),
        TreeLine(1, "b"),
        TreeLine(2, "a", again=True),
    ]


def test_a_long_thread_is_no_deep_recursion() -> None:
    keys = [str(number) for number in range(5_000)]
    lines = lineage_tree(keys, lambda key: [str(int(key) - 1)])
    assert lines[-1] == TreeLine(4_999, "4999")


@given(graphs)
def test_a_tree_of_any_graph_has_every_key_once_in_full(graph: dict[str, list[str]]) -> None:
    lines = lineage_tree("abcdefgh", lambda key: graph.get(key, []))
    assert sorted(line.key for line in lines if not line.again) == list("abcdefgh")
    assert len(lines) <= len("abcdefgh") + sum(len(set(found)) for found in graph.values())
