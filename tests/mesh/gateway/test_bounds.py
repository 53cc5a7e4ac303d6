"""Small cores with bounds: what is counted of a remote, and how fast it may speak."""

from xmesh_mesh.gateway import pace
from xmesh_mesh.gateway.pace import Pace
from xmesh_mesh.gateway.refusals import MAX_CODES, Refusals


def test_each_code_is_news_once_and_counted_always() -> None:
    refusals = Refusals()
    assert [refusals.note(code) for code in ("a", "a", "b", "a")] == [True, False, True, False]
    assert refusals.counts() == {"a": 3, "b": 1}


def test_strange_codes_without_end_are_counted_together() -> None:
    refusals = Refusals()
    news = sum(refusals.note(f"code {number}") for number in range(MAX_CODES + 50))
    assert news == MAX_CODES + 1
    assert refusals.counts()["other"] == 50


def test_a_burst_is_free_and_then_frames_come_at_their_rate() -> None:
    made = Pace(0)
    assert not any(made.spend(100, 0) for _ in range(pace.FRAMES_BURST))
    assert made.spend(100, 0) == 1_000 // pace.FRAMES_PER_S
    assert made.spend(100, 10_000) == 0


def test_few_frames_of_many_bytes_are_held_back_too() -> None:
    made = Pace(0)
    assert made.spend(pace.BYTES_BURST, 0) == 0
    assert made.spend(pace.BYTES_PER_S, 0) == 1_000
