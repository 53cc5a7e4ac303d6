"""Which processes are ours, and that no other is ever ended."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fleet import eventually

from xmesh_supervisor import tree
from xmesh_supervisor.tree import Process


def mine(tag: str) -> bool:
    return tag == "r:p"


def process(pid: int, ppid: int = 1, session: int = 1, tag: str = "") -> Process:
    return Process(pid, ppid, session, 1.0, tag)


def chosen(*processes: Process, roots: tuple[int, ...] = (), spared: tuple[int, ...] = ()) -> list:  # type: ignore[type-arg]
    return [p.pid for p in tree.select(processes, mine, roots, spared)]


def test_carriers_of_the_tag_are_ours_and_others_are_not() -> None:
    assert chosen(process(10, tag="r:p"), process(11, tag="r:q"), process(12)) == [10]


def test_a_wiped_environment_is_found_by_descent_at_any_depth_and_order() -> None:
    family = (process(13, ppid=12), process(12, ppid=11), process(11, 10), process(10, tag="r:p"))
    assert chosen(*family, process(14, ppid=99)) == [13, 12, 11, 10]


def test_a_wiped_environment_is_found_by_the_session_that_a_carrier_leads() -> None:
    leader = process(10, session=10, tag="r:p")
    assert chosen(leader, process(11, session=10)) == [10, 11]


def test_a_session_that_a_carrier_is_only_a_guest_in_is_not_ours() -> None:
    shell = process(5, session=5)
    assert chosen(shell, process(10, ppid=5, session=5, tag="r:p")) == [10]


def test_another_fleet_below_a_peer_is_not_ours() -> None:
    family = (process(10, session=10, tag="r:p"), process(11, 10, 10, tag="s:p"))
    assert chosen(*family, process(12, ppid=11)) == [10]


def test_roots_are_ours_whatever_they_carry_and_so_are_sessions_of_dead_ones() -> None:
    assert chosen(process(10), process(11, ppid=10), roots=(10,)) == [10, 11]
    assert chosen(process(11, session=10), roots=(10,)) == [11]


def test_the_spared_and_what_hangs_on_them_alone_stay() -> None:
    family = (process(10, session=10, tag="r:p"), process(11, 10, 11), process(12, 11, 11))
    assert chosen(*family, spared=(11,)) == [10]


def test_tags_of_two_roots_differ_and_name_the_child() -> None:
    one, two = tree.tag(Path("/a"), "p"), tree.tag(Path("/b"), "p")
    assert one != two
    assert one.partition(":") == (tree.root_tag(Path("/a")), ":", "p")
    assert len(tree.root_tag(Path("/a"))) == 16


def started(tag: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env={**os.environ, tree.TAG: tag},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_scan_sees_a_real_process_as_the_system_does() -> None:
    with started("r:p") as child:
        found = eventually(lambda: [p for p in tree.scan() if p.pid == child.pid and p.tag])
        expected = Process(child.pid, os.getpid(), child.pid, tree.started(child.pid) or 0, "r:p")
        assert found == [expected]
        child.kill()
        eventually(lambda: child.pid not in {p.pid for p in tree.scan()})
        assert tree.started(child.pid) is None


def test_a_pid_that_was_used_again_is_not_killed() -> None:
    with started("r:p") as child:
        (found,) = eventually(lambda: [p for p in tree.scan() if p.pid == child.pid and p.tag])
        tree.end([replace(found, started=found.started - 1)])
        assert child.poll() is None
        tree.end([found])
        assert child.wait(5) == -signal.SIGKILL
        tree.end([found])


def test_what_cannot_be_ended_in_time_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "end", lambda _: None)
    with started("r:q") as child:
        eventually(lambda: [p for p in tree.scan() if p.tag == "r:q"])
        assert not tree.end_all(lambda tag: tag == "r:q", within_s=0.0)
        child.kill()


def test_a_long_environment_is_read_whole() -> None:
    env = {"A": "x" * 100_000, tree.TAG: "r:long"}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE
    ) as child:
        eventually(lambda: "r:long" in {p.tag for p in tree.scan()})
        child.kill()


def test_the_scanner_itself_is_never_found(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from xmesh_supervisor import tree; print(tree.find(lambda tag: tag == 'r:self'))"
    env = {**os.environ, tree.TAG: "r:self"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
