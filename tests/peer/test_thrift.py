"""When a small question is worth asking."""

from dataclasses import replace

from xmesh_peer.thrift import AGAIN_EVERY, TRIALS, Thrift, worth_asking

USED = Thrift(asked=TRIALS, passed=0, saved=1, cost=1_000, call=1_000)


def test_the_first_questions_are_asked_to_find_out() -> None:
    assert worth_asking(replace(USED, asked=TRIALS - 1, saved=0))


def test_afterwards_it_asks_while_the_calls_saved_are_worth_what_was_paid() -> None:
    assert worth_asking(USED)
    assert not worth_asking(replace(USED, cost=1_001))
    assert not worth_asking(replace(USED, saved=0))
    assert worth_asking(replace(USED, saved=2, cost=2_000))


def test_now_and_then_it_looks_whether_that_has_changed() -> None:
    dear = replace(USED, cost=10_000)
    assert not worth_asking(replace(dear, passed=AGAIN_EVERY - 1))
    assert worth_asking(replace(dear, passed=AGAIN_EVERY))
