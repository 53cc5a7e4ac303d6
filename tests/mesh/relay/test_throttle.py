"""The bucket: integer arithmetic, exact at its edges."""

import pytest

from xmesh_mesh.relay.throttle import Bucket


def test_a_burst_costs_nothing_and_one_unit_more_is_waited_off() -> None:
    bucket = Bucket(rate=10, burst=5, now_ms=0)
    assert [bucket.spend(1, 0) for _ in range(5)] == [0] * 5
    assert bucket.spend(1, 0) == 100
    assert bucket.spend(1, 0) == 200


def test_it_fills_by_its_rate() -> None:
    bucket = Bucket(rate=10, burst=5, now_ms=0)
    assert bucket.spend(5, 0) == 0
    assert bucket.spend(1, 100) == 0
    assert bucket.spend(1, 199) == 1


def test_it_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(rate=10, burst=5, now_ms=0)
    assert bucket.spend(5, 1_000_000) == 0
    assert bucket.spend(1, 1_000_000) == 100


def test_a_wait_is_rounded_up_so_that_after_it_the_debt_is_gone() -> None:
    bucket = Bucket(rate=3, burst=1, now_ms=0)
    assert bucket.spend(2, 0) == 334
    assert bucket.spend(0, 333) == 1
    assert bucket.spend(0, 334) == 0


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_debt_is_waited_off_in_proportion(size: int) -> None:
    assert Bucket(rate=100, burst=100, now_ms=7).spend(100 + size, 7) == size * 10
