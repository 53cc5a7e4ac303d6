"""What an exit means, at the edges of every rule."""

import pytest

from xmesh_supervisor.lifecycle import Desired, Event
from xmesh_supervisor.restarts import (
    NEVER_PARKED,
    Decision,
    Exit,
    History,
    Policy,
    back_off,
    decide,
)

POLICY = Policy()


def judged(
    exit_: Exit,
    policy: Policy = POLICY,
    *,
    desired: Desired = Desired.RUN,
    stopping: bool = False,
    history: History | None = None,
    now_s: float = 1000.0,
) -> Decision:
    kept = history or History()
    return decide(policy, exit_, desired, kept, stopping=stopping, now_s=now_s, chance=0.0)


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [
        (0, 0.0, 0.2),
        (0, 0.5, 0.25),
        (1, 0.0, 0.4),
        (5, 0.0, 6.4),
        (7, 0.0, 25.6),
        (8, 0.0, 30.0),
        (7, 0.5, 30.0),
        (10_000, 0.9, 30.0),
    ],
)
def test_back_off_doubles_with_jitter_up_to_half_a_minute(
    failures: int, chance: float, seconds: float
) -> None:
    assert back_off(failures, chance) == pytest.approx(seconds)


def test_back_off_still_grows_at_its_last_doubling() -> None:
    assert back_off(20, 0.0, 1e-6) == pytest.approx(2**20 * 1e-6)
    assert back_off(21, 0.0, 1e-6) == back_off(20, 0.0, 1e-6)


@pytest.mark.parametrize(
    ("restart", "code", "event"),
    [
        ("on-failure", 1, Event.EXIT_REVIVE),
        ("on-failure", -9, Event.EXIT_REVIVE),
        ("on-failure", 0, Event.EXIT_REST),
        ("always", 1, Event.EXIT_REVIVE),
        ("always", 0, Event.EXIT_REVIVE),
        ("never", 1, Event.EXIT_REST),
        ("never", 0, Event.EXIT_REST),
    ],
)
def test_the_policy_says_who_is_wanted_back(restart: str, code: int, event: Event) -> None:
    policy = Policy(restart=restart)  # type: ignore[arg-type]
    decision = judged(Exit(code, 1.0), policy)
    assert decision.event is event
    assert decision.delay_s == (pytest.approx(0.2) if event is Event.EXIT_REVIVE else 0.0)
    assert decision.history.failures == (1 if event is Event.EXIT_REVIVE else 0)


@pytest.mark.parametrize("code", [78, 80, 81])
@pytest.mark.parametrize("restart", ["on-failure", "always", "never"])
def test_final_exits_are_final_under_every_policy(code: int, restart: str) -> None:
    decision = judged(Exit(code, 99.0), Policy(restart=restart))  # type: ignore[arg-type]
    assert decision.event is Event.EXIT_FINAL
    assert f"exit {code}" in decision.reason
    assert decision.delay_s == 0.0


@pytest.mark.parametrize("code", [2, 77, 79, 83])
def test_their_neighbours_are_failures(code: int) -> None:
    assert judged(Exit(code, 1.0)).event is Event.EXIT_REVIVE


@pytest.mark.parametrize("exit_", [Exit(82, 1.0), Exit(-9, 1.0, tombstone=True)])
@pytest.mark.parametrize("stopping", [True, False])
def test_a_tombstone_goes_before_everything(exit_: Exit, stopping: bool) -> None:
    decision = judged(exit_, stopping=stopping)
    assert decision == Decision(Event.EXIT_KILLED, "killed", 0.0, History())


@pytest.mark.parametrize("code", [0, 1, -15, 78])
def test_an_exit_on_request_ends_as_requested(code: int) -> None:
    again = judged(Exit(code, 1.0), stopping=True)
    assert again == Decision(Event.EXIT_AGAIN, "", 0.0, History())
    rest = judged(Exit(code, 1.0), stopping=True, desired=Desired.STOP)
    assert rest.event is Event.EXIT_REST


def test_who_never_became_ready_has_failed_even_with_a_clean_exit() -> None:
    decision = judged(Exit(0, 30.0, overdue=True))
    assert decision.event is Event.EXIT_REVIVE
    assert decision.reason == "did not become ready in time"


def test_failures_in_a_row_wait_longer_and_a_stable_run_forgives_them() -> None:
    history = History(failures=3)
    short = judged(Exit(1, 29.9), history=history)
    assert (short.delay_s, short.history.failures) == (pytest.approx(1.6), 4)
    stable = judged(Exit(1, 30.0), history=history)
    assert (stable.delay_s, stable.history.failures) == (pytest.approx(0.2), 1)


def test_the_restart_after_the_last_allowed_one_parks() -> None:
    allowed = judged(Exit(1, 1.0), history=History(4, (990.0,) * 4))
    assert allowed.event is Event.EXIT_REVIVE
    assert allowed.history.restarts == (990.0,) * 4 + (1000.0,)
    parked = judged(Exit(1, 1.0), history=History(5, (990.0,) * 5))
    assert parked.event is Event.EXIT_PARK
    assert parked.reason == "exited with 1; gave up after 5 restarts in 60 s"
    assert (parked.history, parked.delay_s) == (History(), 0.0)


def test_restarts_leave_the_window_exactly_at_its_end() -> None:
    inside = History(5, (940.1,) * 5)
    assert judged(Exit(1, 1.0), history=inside).event is Event.EXIT_PARK
    outside = History(5, (940.0,) * 5)
    assert judged(Exit(1, 1.0), history=outside).event is Event.EXIT_REVIVE


def test_no_restarts_allowed_parks_at_once() -> None:
    assert judged(Exit(1, 1.0), Policy(max_restarts=0)).event is Event.EXIT_PARK


def test_bus_and_guard_are_revived_for_ever_and_fast() -> None:
    history = History()
    for _ in range(1000):
        decision = judged(Exit(1, 31.0), NEVER_PARKED, history=history)
        assert (decision.event, decision.delay_s) == (Event.EXIT_REVIVE, pytest.approx(0.02))
        history = decision.history
    assert len(history.restarts) == 1


def test_last_words_are_part_of_the_reason() -> None:
    assert judged(Exit(1, 1.0, said="no disk")).reason == "exited with 1: no disk"
    assert Exit(0, 1.0).text() == "exited"
    assert "exit 82" in Exit(82, 1.0).text()
    assert Exit(-11, 1.0).text() == "ended by signal 11"
