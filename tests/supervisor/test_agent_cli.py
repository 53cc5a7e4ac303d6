"""``xmesh-agent``: one agent.toml at a time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.bus import wait_until
from helpers.mesh import Mesh, running, triad

from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_supervisor import agent_cli


@pytest.fixture
def here(runtime_dir: RuntimeDir, monkeypatch: pytest.MonkeyPatch) -> RuntimeDir:
    """A root that commands called in this process use."""
    monkeypatch.setenv("XMESH_RUNTIME_DIR", str(runtime_dir.root))
    return runtime_dir


@pytest.fixture
def files(runtime_dir: RuntimeDir) -> list[Path]:
    return triad(runtime_dir, {"adapter": "rehearsal"})


class Agent:
    """``xmesh-agent run`` in a process of its own, its output in a file."""

    def __init__(self, root: RuntimeDir, file: Path) -> None:
        self._log = root.root / "agent.out"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "xmesh_supervisor.agent_cli", "run", "--config", str(file)],
                env={**os.environ, "XMESH_RUNTIME_DIR": str(root.root)},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    def says(self, text: str) -> None:
        wait_until(lambda: text in self._log.read_text(), f"it says {text!r}", 20)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


def test_without_a_supervisor_it_is_a_small_one_until_ctrl_c(
    runtime_dir: RuntimeDir, files: list[Path]
) -> None:
    agent = Agent(runtime_dir, files[0])
    try:
        agent.says("writer-01  ready in")
        assert Mesh(runtime_dir).peer("writer-01")["state"] == "running"
        assert agent.end() == 0
    finally:
        agent.process.kill()
        agent.process.wait()
    assert FileLock(runtime_dir.node_lock("writer-01")).acquire()


def test_beside_a_running_supervisor_only_its_own_peer_comes_and_goes(
    runtime_dir: RuntimeDir, files: list[Path]
) -> None:
    with running(runtime_dir, files[0]) as mesh:
        agent = Agent(runtime_dir, files[1])
        try:
            agent.says("Ctrl-C stops it")
            assert mesh.peer("reviewer-01")["state"] == "running"
            mesh.observe("review the specification of an endpoint")
            agent.says("reviewer-01")
            agent.says("wakes on")
            assert agent.end() == 0
        finally:
            agent.process.kill()
            agent.process.wait()
        assert mesh.peer("reviewer-01")["state"] == "stopped"
        assert mesh.peer("writer-01")["state"] == "running"


def test_following_ends_when_its_peer_does(runtime_dir: RuntimeDir, files: list[Path]) -> None:
    with running(runtime_dir, files[0]) as mesh:
        agent = Agent(runtime_dir, files[1])
        try:
            agent.says("Ctrl-C stops it")
            mesh.sup("kill", "reviewer-01")
            assert agent.process.wait(20) == 1
            agent.says("reviewer-01 is killed")
        finally:
            agent.process.kill()
            agent.process.wait()


def test_a_bad_file_starts_nothing(runtime_dir: RuntimeDir, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[identity]\nname = 3\n")
    agent = Agent(runtime_dir, bad)
    assert agent.process.wait(20) == 78
    agent.says("xmesh-agent:")
    assert not runtime_dir.bus_socket.exists()


def test_a_dry_run_says_ok_line_by_line(
    here: RuntimeDir, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent_cli.main(["dry-run", "--config", str(files[0])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 8
    assert all(line.startswith("ok    ") for line in lines)
    assert not here.bus_socket.exists()


def test_a_dry_run_fails_with_the_file(
    here: RuntimeDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[identity]\nname = "w\\u001b[2J"\n')
    assert agent_cli.main(["dry-run", "--config", str(bad)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL" in printed
    assert "\x1b" not in printed
    assert agent_cli.main(["dry-run", "--json", "--config", str(tmp_path / "none")]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [check["check"] for check in document["checks"]] == ["load"]


def test_keygen_makes_a_key_once_and_shows_what_may_be_shown(
    here: RuntimeDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent_cli.main(["keygen", "writer-01", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    stored = json.loads(here.identity("writer-01").read_text())
    assert stored["nodeId"] == shown["node_id"]
    assert stored["privateKey"] not in json.dumps(shown)
    assert len(shown["fingerprint"].split()) == 12
    assert here.identity("writer-01").stat().st_mode & 0o777 == 0o600
    assert agent_cli.main(["keygen", "writer-01"]) == 2
    assert json.loads(here.identity("writer-01").read_text()) == stored


def test_keygen_replaces_a_key_only_on_an_explicit_yes_and_keeps_the_old_one(
    here: RuntimeDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_cli.main(["keygen", "writer-01"])
    before = here.identity("writer-01").read_bytes()
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert agent_cli.main(["keygen", "writer-01", "--force"]) == 2
    assert here.identity("writer-01").read_bytes() == before
    assert agent_cli.main(["keygen", "writer-01", "--force", "--yes"]) == 0
    after = here.identity("writer-01").read_bytes()
    kept = [path.read_bytes() for path in here.identity("x").parent.iterdir()]
    assert after != before
    assert before in kept
    assert "writer-01" in capsys.readouterr().out


def test_keygen_on_a_terminal_wants_the_name_typed(here: RuntimeDir) -> None:
    import pty

    command = [sys.executable, "-m", "xmesh_supervisor.agent_cli", "keygen", "w", "--force"]
    agent_cli.main(["keygen", "w"])
    before = here.identity("w").read_bytes()
    for typed, code in ((b"yes\n", 2), (b"w\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, typed)
        done = subprocess.run(command, stdin=theirs, capture_output=True, check=False)
        os.close(ours)
        os.close(theirs)
        assert done.returncode == code
        assert (here.identity("w").read_bytes() == before) is (code == 2)


@pytest.mark.parametrize("name", ["../x", "bus", "operator", ""])
def test_keygen_takes_no_name_that_is_none(here: RuntimeDir, name: str) -> None:
    assert agent_cli.main(["keygen", name]) == 78
    assert not (here.root / "keys").exists()


def test_keygen_leaves_a_running_peer_alone(
    here: RuntimeDir, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = FileLock(here.node_lock("writer-01"))
    assert lock.acquire()
    try:
        assert agent_cli.main(["keygen", "writer-01", "--force", "--yes"]) == 2
    finally:
        lock.release()
    assert "xmesh-sup stop writer-01" in capsys.readouterr().err


def test_the_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent_cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "agent.toml"


@pytest.mark.parametrize("verb", agent_cli.VERBS)
def test_each_verb_explains_itself_with_an_example(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        agent_cli.main([verb, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"xmesh-agent {verb}" in printed.partition("example:")[2]
    assert "exit codes:" in printed


def test_without_a_verb_it_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        agent_cli.main([])
    assert ended.value.code == 2
