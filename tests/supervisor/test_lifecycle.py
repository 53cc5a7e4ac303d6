"""The lifecycle, entry by entry: what is not written here must not happen."""

import pytest

from xmesh_supervisor.lifecycle import ALIVE, TABLE, Action, Event, State, step

# state, event → state, actions; written out by hand, so that no entry can change unnoticed.
EXPECTED = """
stopped   start       starting  disarm spawn arm-start
stopped   stop        stopped
stopped   tombstone   killed    disarm
starting  start       starting
starting  stop        stopping  terminate arm-stop
starting  ready       running   disarm
starting  timeout     starting  destroy
starting  tombstone   starting  destroy
starting  exit-rest   stopped   disarm
starting  exit-revive backoff   arm-backoff
starting  exit-park   parked    disarm
starting  exit-final  final     disarm
starting  exit-killed killed    disarm
running   start       running
running   stop        stopping  terminate arm-stop
running   tombstone   running   destroy
running   exit-rest   stopped   disarm
running   exit-revive backoff   arm-backoff
running   exit-park   parked    disarm
running   exit-final  final     disarm
running   exit-killed killed    disarm
stopping  start       stopping
stopping  stop        stopping
stopping  ready       stopping
stopping  timeout     stopping  destroy
stopping  tombstone   stopping  destroy
stopping  exit-rest   stopped   disarm
stopping  exit-again  starting  disarm spawn arm-start
stopping  exit-killed killed    disarm
backoff   start       starting  disarm spawn arm-start
backoff   stop        stopped   disarm
backoff   timeout     starting  disarm spawn arm-start
backoff   tombstone   killed    disarm
parked    start       starting  disarm spawn arm-start
parked    stop        stopped
parked    tombstone   killed    disarm
final     start       starting  disarm spawn arm-start
final     stop        stopped
final     tombstone   killed    disarm
killed    start       starting  disarm spawn arm-start
killed    stop        killed
killed    tombstone   killed
"""
ROWS = [line.split() for line in EXPECTED.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}+{row[1]}")
def test_each_event_leads_where_the_table_says(row: list[str]) -> None:
    before, event, after, *actions = row
    assert step(State(before), Event(event)) == (State(after), tuple(map(Action, actions)))


def test_the_table_has_these_entries_and_no_others() -> None:
    listed = {(State(row[0]), Event(row[1])) for row in ROWS}
    assert {(state, event) for state in TABLE for event in TABLE[state]} == listed


def test_an_operator_may_ask_for_anything_in_any_state() -> None:
    for state in State:
        assert {Event.START, Event.STOP, Event.TOMBSTONE} <= set(TABLE[state])


def test_only_a_state_with_a_process_can_see_it_exit() -> None:
    exits = {event for event in Event if event.startswith("exit-")}
    assert {state for state in State if exits & set(TABLE[state])} == ALIVE


def test_an_impossible_event_is_an_error() -> None:
    with pytest.raises(KeyError):
        step(State.STOPPED, Event.READY)
