"""The supervisor over real child processes of every bad habit."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from helpers.fleet import SupervisorProcess, eventually, left, spec

from xmesh_mesh import tombstones
from xmesh_mesh.errors import ExitCode, SupervisorError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import client, tree


def pids(root: RuntimeDir, name: str) -> set[int]:
    return {p.pid for p in tree.find(lambda tag: tag == tree.tag(root.root, name))}


def test_peers_become_ready_and_are_named_by_pid(supervisor: SupervisorProcess) -> None:
    said = supervisor.apply(spec("writer-01"), spec("reviewer-01"))
    assert said[""] == {
        "ok": True,
        "all": True,
        "done": {"writer-01": "started", "reviewer-01": "started"},
    }
    peer = supervisor.peer("writer-01")
    assert (peer["state"], peer["desired"]) == ("running", "run")
    assert pids(supervisor.root, "writer-01") == {peer["pid"]}
    assert 0 < peer["ready_in_s"] <= peer["uptime_s"] + 1


def test_a_second_up_touches_only_what_changed(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("same"), spec("changed"), spec("gone"))
    before = {name: supervisor.peer(name) for name in ("same", "changed")}
    said = supervisor.apply(spec("same"), spec("changed", {"x": 1}), spec("new"))
    assert said[""]["done"] == {
        "same": "unchanged",
        "changed": "restarted",
        "new": "started",
        "gone": "stopped",
    }
    assert supervisor.peer("same")["pid"] == before["same"]["pid"]
    assert supervisor.peer("changed")["pid"] != before["changed"]["pid"]
    assert not pids(supervisor.root, "gone")
    with pytest.raises(StopIteration):
        supervisor.peer("gone")


def test_without_replace_the_others_stay(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("a"))
    supervisor.apply(spec("b"), replace=False)
    assert supervisor.state("a") == supervisor.state("b") == "running"


def test_a_stop_takes_a_deaf_peer_and_its_daemon_after_the_timeout(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("deaf", {"ignore_term": 1, "daemon": 1}, stop_timeout_s=0.2))
    eventually(lambda: len(pids(supervisor.root, "deaf")) == 2)
    begun = time.monotonic()
    said = supervisor.ask("stop", "deaf")
    assert said["deaf"]["state"] == "stopped"
    assert time.monotonic() - begun >= 0.2
    assert not pids(supervisor.root, "deaf")


def test_what_an_operator_stopped_stays_stopped_and_starts_with_a_new_run(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("p"))
    run = supervisor.peer("p")["run"]
    supervisor.ask("stop", "p")
    assert supervisor.peer("p")["desired"] == "stop"
    assert supervisor.ask("start", "p")["p"]["state"] == "running"
    assert supervisor.peer("p")["run"] != run
    assert supervisor.environment("p")["XMESH_RUN"] == supervisor.peer("p")["run"]


def test_a_restart_is_a_new_process_and_a_new_run(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p"))
    before = supervisor.peer("p")
    assert supervisor.ask("restart", "p")[""]["all"] is True
    after = supervisor.peer("p")
    assert after["pid"] != before["pid"]
    assert after["run"] != before["run"]


def test_a_crash_revives_the_peer_in_the_same_run_and_ends_its_leftovers(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("p", {"daemon": 1}))
    before = supervisor.peer("p")
    everything = eventually(lambda: len(found := pids(supervisor.root, "p")) == 2 and found)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: supervisor.peer("p")["pid"] not in {None, before["pid"]})
    after = supervisor.peer("p")
    assert (after["run"], after["restarts"]) == (before["run"], 1)
    assert after["last_exit"] == "ended by signal 9"
    assert not everything & pids(supervisor.root, "p")


def test_who_crashes_too_often_is_parked_with_its_last_words(
    supervisor: SupervisorProcess,
) -> None:
    words = json.dumps({"text": "the model's address is wrong"})
    said = supervisor.apply(spec("p", {"exit": 3, "ready": False, "say": words}, max_restarts=2))
    assert said["p"]["state"] == "parked"
    assert supervisor.peer("p")["reason"] == (
        "exited with 3: the model's address is wrong; gave up after 2 restarts in 60 s"
    )
    assert supervisor.peer("p")["restarts"] == 2


@pytest.mark.parametrize("code", [78, 80, 81])
def test_a_final_exit_is_never_revived(supervisor: SupervisorProcess, code: int) -> None:
    said = supervisor.apply(spec("p", {"exit": code, "ready": False}, restart="always"))
    assert said["p"]["state"] == "final"
    assert said[""]["all"] is False
    assert f"exit {code}" in supervisor.peer("p")["reason"]
    assert supervisor.peer("p")["restarts"] == 0


def test_the_killed_exit_is_killed(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p", {"exit": 82, "ready": False}))
    assert supervisor.state("p") == "killed"


def test_a_clean_exit_rests_unless_the_policy_is_always(supervisor: SupervisorProcess) -> None:
    supervisor.apply(
        spec("rests", {"exit": 0}),
        spec("returns", {"exit": 0}, restart="always", max_restarts=1),
        wait=False,
    )
    eventually(lambda: supervisor.state("rests") == "stopped")
    eventually(lambda: supervisor.state("returns") == "parked")
    assert supervisor.peer("rests")["restarts"] == 0


def test_who_never_becomes_ready_is_ended_and_counted_as_failed(
    supervisor: SupervisorProcess,
) -> None:
    said = supervisor.apply(spec("p", {"ready": False}, max_restarts=0))
    assert said["p"]["state"] == "parked"
    assert "did not become ready in time" in said["p"]["text"]
    assert not pids(supervisor.root, "p")


def test_a_flood_on_stderr_neither_blocks_nor_fills_the_disk(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("p", {"flood": 3_000_000}, log_bytes=1_000_000, log_keep=2))
    log = supervisor.root.log("p")
    eventually(lambda: log.stat().st_size == 0)
    assert log.with_name("p.log.1").stat().st_size == 3_000_000
    assert supervisor.state("p") == "running"


def test_a_program_that_is_not_there_is_a_failure_like_others(
    supervisor: SupervisorProcess,
) -> None:
    logs = supervisor.root.root / "logs"
    (logs / "p.log").mkdir()
    said = supervisor.apply(spec("p", max_restarts=0))
    assert said["p"]["state"] == "parked"
    assert "it could not be started" in said["p"]["text"]


def test_a_zero_byte_in_a_plan_is_a_failure_of_that_peer_alone(
    supervisor: SupervisorProcess,
) -> None:
    bad = {**spec("p", max_restarts=0), "plan": "\0"}
    assert supervisor.apply(bad, spec("q"))[""]["all"] is False
    assert supervisor.state("p") == "parked"
    assert supervisor.state("q") == "running"


def test_only_the_peer_that_needs_a_key_gets_it(runtime_dir: RuntimeDir) -> None:
    env = {"OPENAI_API_KEY": "from-env", "ANTHROPIC_API_KEY": "a", "OTHERS_KEY": "o"}
    process = SupervisorProcess(runtime_dir, env).start()
    try:
        process.apply(
            spec("with", key_env="OPENAI_API_KEY"),
            spec("given", key_env="OTHERS_KEY"),
            spec("without"),
            keys={"given": {"OTHERS_KEY": "from-up"}},
        )
        found = {name: process.environment(name) for name in ("with", "given", "without")}
        assert found["with"]["OPENAI_API_KEY"] == "from-env"
        assert found["given"]["OTHERS_KEY"] == "from-up"
        names = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OTHERS_KEY"}
        assert [len(names & set(env)) for env in found.values()] == [1, 1, 0]
        assert not names & set(process.environment("bus"))
    finally:
        process.end()
    for file in runtime_dir.root.rglob("*"):
        if file.is_file() and not file.name.startswith("env-"):
            assert b"from-up" not in file.read_bytes(), file


def test_a_bus_that_dies_comes_back_and_the_peers_stay(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p"))
    bus, peer = supervisor.child("bus")["pid"], supervisor.peer("p")["pid"]
    os.kill(bus, signal.SIGKILL)
    eventually(lambda: supervisor.child("bus")["pid"] not in {None, bus})
    assert supervisor.peer("p")["pid"] == peer


def test_a_guard_that_dies_is_replaced(supervisor: SupervisorProcess) -> None:
    guard = supervisor.child("guard")["pid"]
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: supervisor.child("guard")["pid"] not in {None, guard})
    eventually(lambda: supervisor.child("guard")["state"] == "running")


def test_down_stops_all_in_reverse_order_and_leaves_nothing(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("first"), spec("second"))
    lines = [line for line in client.call(supervisor.root, "down") if "peer" in line]
    halted = [line["peer"] for line in lines if line["state"] == "stopping"]
    assert halted == ["second", "first", "bus", "guard"]
    assert supervisor.process is not None
    assert supervisor.process.wait(10) == 0
    assert not left(supervisor.root)


def test_a_supervisor_that_was_killed_resumes_what_should_run(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("runs", {"x": 1}), spec("rests"))
    supervisor.ask("stop", "rests")
    run = supervisor.peer("runs")["run"]
    supervisor.kill_dead()
    supervisor.start()
    eventually(lambda: supervisor.state("runs") == "running")
    assert supervisor.peer("runs")["run"] == run
    assert json.loads(supervisor.environment("runs")["XMESH_PLAN"]) == {"x": 1}
    assert supervisor.state("rests") == "stopped"


def test_a_terminated_supervisor_keeps_the_runs_and_an_interrupted_one_ends_them(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("p"))
    run = supervisor.peer("p")["run"]
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.process.wait(10) == 0
    supervisor.start()
    eventually(lambda: supervisor.state("p") == "running")
    assert supervisor.peer("p")["run"] == run
    supervisor.process.send_signal(signal.SIGINT)
    assert supervisor.process.wait(10) == 0
    supervisor.start()
    assert supervisor.state("p") == "stopped"


def test_a_second_interrupt_kills_who_takes_his_time(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("deaf", {"ignore_term": 1}, stop_timeout_s=50.0))
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGINT)
    eventually(lambda: supervisor.state("deaf") == "stopping")
    supervisor.process.send_signal(signal.SIGINT)
    assert supervisor.process.wait(10) == 0
    assert not left(supervisor.root)


def test_a_second_supervisor_on_the_root_is_refused(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p"))
    second = subprocess.run(
        [sys.executable, "-m", "xmesh_supervisor.daemon"],
        env={**supervisor.env, "XMESH_RUNTIME_DIR": str(supervisor.root.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == ExitCode.COLLISION
    assert "a supervisor runs here already" in second.stderr
    assert supervisor.state("p") == "running"


def test_a_tombstone_holds_a_peer_back_until_start_lifts_it(
    supervisor: SupervisorProcess,
) -> None:
    stone = tombstones.bury(supervisor.root.tombstone("p"), "it loops")
    said = supervisor.apply(spec("p"))
    assert said["p"]["state"] == "killed"
    assert "it loops; xmesh-sup start p lifts it" in said["p"]["text"]
    assert supervisor.ask("restart", "p")["p"]["state"] == "killed"
    assert supervisor.ask("start", "p")["p"]["state"] == "running"
    assert supervisor.environment("p")["XMESH_LIFT"] == stone.id
    assert not supervisor.root.tombstone("p").exists()
    supervisor.ask("restart", "p")
    assert "XMESH_LIFT" not in supervisor.environment("p")


def test_a_tombstone_that_cannot_be_read_holds_too_and_start_removes_it(
    supervisor: SupervisorProcess,
) -> None:
    path = supervisor.root.tombstone("p")
    path.parent.mkdir()
    path.write_text("{")
    assert supervisor.apply(spec("p"))["p"]["state"] == "killed"
    assert supervisor.ask("start", "p")["p"]["state"] == "running"


def test_an_unknown_name_starts_nobody(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p"))
    supervisor.ask("stop", "p")
    with pytest.raises(SupervisorError, match="there is no peer 'q'"):
        supervisor.ask("start", "p", "q")
    assert supervisor.state("p") == "stopped"


def test_a_record_that_cannot_be_written_ends_nobody(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("p"))
    with sqlite3.connect(supervisor.root.supervisor_db) as other:
        other.execute("DROP TABLE peers")
    other.close()
    assert supervisor.ask("restart", "p")["p"]["state"] == "running"


def test_an_encoder_runs_only_where_a_peer_needs_one_and_goes_with_the_last(
    supervisor: SupervisorProcess,
) -> None:
    def runs() -> bool:
        children = client.ask(supervisor.root, "status")["infrastructure"]
        return "encoder" in {child["name"] for child in children}

    supervisor.apply(spec("plain"))
    assert not runs()
    supervisor.apply(spec("plain"), spec("reader", encoder=True))
    eventually(lambda: supervisor.child("encoder")["state"] == "running")
    assert supervisor.environment("reader")["XMESH_ENCODER"] == "expected"
    assert "XMESH_ENCODER" not in supervisor.environment("plain")
    pid = supervisor.child("encoder")["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: supervisor.child("encoder")["pid"] not in {None, pid})
    supervisor.apply(spec("plain"))
    eventually(lambda: not runs())
