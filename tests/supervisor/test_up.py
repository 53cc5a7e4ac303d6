"""The command line over the real bus and real peers in rehearsal."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fleet import PROJECT, eventually, left

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import client, tree
from xmesh_supervisor.cli import VERBS, main

SUP = [sys.executable, "-m", "xmesh_supervisor.cli"]
TOML = """
[identity]
name = "{name}"
role = "writer"
[mesh]
lan = false
[model]
adapter = "{adapter}"
"""


def environment(root: RuntimeDir, **more: str) -> dict[str, str]:
    keys = {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY", "OLLAMA_HOST"}
    keys |= {"SYM_RELAY_URL", "SYM_RELAY_TOKEN"}
    kept = {name: value for name, value in os.environ.items() if name not in keys}
    return {**kept, "XMESH_RUNTIME_DIR": str(root.root), "OLLAMA_HOST": "127.0.0.1:9", **more}


def sup(root: RuntimeDir, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SUP, *map(str, arguments)],
        cwd=PROJECT,
        env=environment(root),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.fixture
def fleet(runtime_dir: RuntimeDir) -> Iterator[RuntimeDir]:
    """A root whose every process is ended afterwards, in order and by force."""
    yield runtime_dir
    sup(runtime_dir, "down")
    prefix = tree.root_tag(runtime_dir.root)
    tree.end_all(lambda tag: tag.startswith(prefix))


def toml(tmp_path: Path, name: str, adapter: str = "rehearsal", file: str = "") -> Path:
    path = tmp_path / (file or f"{name}.toml")
    path.write_text(TOML.format(name=name, adapter=adapter))
    return path


def test_up_wait_ps_status_stop_start_and_down(fleet: RuntimeDir, tmp_path: Path) -> None:
    done = sup(fleet, "up", toml(tmp_path, "one"), toml(tmp_path, "two"), "--wait")
    assert done.returncode == 0, done.stderr
    assert "REHEARSAL: 2 of 2 peers call no model" in done.stdout
    assert done.stdout.count("ready in ") == 2
    shown = sup(fleet, "ps")
    assert shown.returncode == 0
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [
        ["NAME", "STATE"],
        ["one", "asleep"],
        ["two", "asleep"],
    ]
    document = json.loads(sup(fleet, "status", "one", "--json").stdout)
    assert [peer["status"]["name"] for peer in document["peers"]] == ["one"]
    assert sup(fleet, "stop", "one").stdout == "one  stopped\n"
    assert "xmesh-sup start one" in sup(fleet, "ps").stdout
    assert "ready in" in sup(fleet, "start", "one").stdout
    assert sup(fleet, "status", "on").returncode == 2
    assert "one" in sup(fleet, "logs", "one", "-n", "3").stdout
    down = sup(fleet, "down", "--json")
    assert json.loads(down.stdout)["down"] is True
    assert not left(fleet)


def test_one_bad_file_starts_nothing_and_every_bad_one_is_named(
    fleet: RuntimeDir, tmp_path: Path
) -> None:
    bad, worse = tmp_path / "bad.toml", tmp_path / "worse.toml"
    bad.write_text("[identity]\nname = 3\n")
    worse.write_text("= =")
    done = sup(fleet, "up", toml(tmp_path, "good"), bad, worse, "-d")
    assert done.returncode == 78
    assert "bad.toml" in done.stderr
    assert "worse.toml" in done.stderr
    assert not client.is_running(fleet)
    assert not left(fleet)


def test_two_files_with_one_name_are_refused(fleet: RuntimeDir, tmp_path: Path) -> None:
    done = sup(fleet, "up", toml(tmp_path, "same"), toml(tmp_path, "Same", file="b.toml"), "-d")
    assert done.returncode == 78
    assert "the name of another peer too" in done.stderr


def test_auto_without_a_terminal_is_no_rehearsal(fleet: RuntimeDir, tmp_path: Path) -> None:
    done = sup(fleet, "up", toml(tmp_path, "p", "auto"), "-d")
    assert done.returncode == 78
    assert "OPENAI_API_KEY" in done.stderr


def test_up_resumes_after_the_supervisor_was_killed(fleet: RuntimeDir, tmp_path: Path) -> None:
    assert sup(fleet, "up", toml(tmp_path, "p"), "--wait").returncode == 0
    status = client.ask(fleet, "status")
    os.kill(status["supervisor"]["pid"], signal.SIGKILL)
    eventually(lambda: not left(fleet), within_s=2.0)
    away = sup(fleet, "ps")
    assert away.returncode == 1
    assert "no supervisor runs" in away.stdout
    assert "was running" in away.stdout
    assert sup(fleet, "stop", "p").returncode == 3
    assert sup(fleet, "up", "--wait").returncode == 0
    assert client.ask(fleet, "status")["peers"][0]["run"] == status["peers"][0]["run"]


def test_the_foreground_shows_readiness_and_ctrl_c_stops_in_order(
    fleet: RuntimeDir, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [*SUP, "up", str(toml(tmp_path, "one")), str(toml(tmp_path, "two"))],
        cwd=PROJECT,
        env=environment(fleet),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        eventually(fleet.supervisor_socket.exists, within_s=20)
        ready = lambda: [p["state"] for p in client.ask(fleet, "status")["peers"]]  # noqa: E731
        eventually(lambda: ready() == ["running", "running"], within_s=20)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert output.count("  ready in ") >= 3
    halted = [line.split()[0] for line in output.splitlines() if line.endswith("  stops")]
    assert halted == ["two", "one", "encoder", "bus", "guard"]
    assert not left(fleet)


def test_systemd_is_told_of_readiness_life_and_the_end(fleet: RuntimeDir, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(fleet.root / "notify"))
        manager.settimeout(20)
        env = environment(fleet, NOTIFY_SOCKET=str(fleet.root / "notify"), WATCHDOG_USEC="200000")
        with subprocess.Popen(
            [*SUP, "up", str(toml(tmp_path, "p"))],
            cwd=PROJECT,
            env=env,
            stdout=subprocess.DEVNULL,
        ) as process:
            told: list[str] = []
            while not {"READY=1", "WATCHDOG=1"} <= set(told):
                told.extend(manager.recv(4096).decode().splitlines())
            begun = time.monotonic()
            while manager.recv(4096) != b"WATCHDOG=1":
                pass
            assert time.monotonic() - begun < 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            while "STOPPING=1" not in told:
                told.extend(manager.recv(4096).decode().splitlines())


def test_systemd_prints_a_unit_with_absolute_paths(runtime_dir: RuntimeDir, tmp_path: Path) -> None:
    done = sup(runtime_dir, "systemd", "--user", toml(tmp_path, "p"))
    assert done.returncode == 0
    assert f'"up" "{tmp_path}/p.toml"' in done.stdout
    for line in ("Type=notify", "KillMode=mixed", "WatchdogSec=20", "Restart=on-failure"):
        assert line in done.stdout.splitlines()
    assert sup(runtime_dir, "systemd", tmp_path / "none.toml").returncode == 2


OWN = ["up", "down", "ps", "status", "logs", "start", "stop", "restart", "kill", "systemd"]


@pytest.mark.parametrize("verb", OWN)
def test_each_verb_explains_itself_with_an_example_and_exit_codes(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"xmesh-sup {verb}" in text.partition("example:")[2]
    assert "exit codes: 0 " in text
    assert "--json" in text


def test_the_overview_names_all_verbs_and_a_slip_is_helped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)
    assert main(["pss"]) == 2
    assert "did you mean xmesh-sup ps?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["down", "start", "stop", "restart"])
def test_without_a_supervisor_the_exit_code_is_three(
    runtime_dir: RuntimeDir, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMESH_RUNTIME_DIR", str(runtime_dir.root))
    assert main([verb] if verb == "down" else [verb, "p"]) == 3


def test_up_without_files_needs_something_to_resume(runtime_dir: RuntimeDir) -> None:
    done = sup(runtime_dir, "up")
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr


@pytest.mark.parametrize("verb", ["ps", "kill", "stop", "logs"])
def test_daily_verbs_import_nothing_heavy(verb: str) -> None:
    code = (
        f"import sys; import xmesh_supervisor.commands.{verb};"
        "print([m for m in ('zmq','numpy','nacl','msgspec','psutil') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
