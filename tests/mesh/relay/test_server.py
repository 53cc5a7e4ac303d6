"""``xmesh-relay`` as a process: its command line, its log, its end, and its next start."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from xmesh_mesh.errors import ConfigError, ExitCode
from xmesh_mesh.relay.log import LINES_BURST, Log
from xmesh_mesh.relay.options import read_options

OURS = ("SYM_RELAY_TOKEN", "SYM_RELAY_CHANNELS", "PORT", "LOG_LEVEL")


class Process:
    """A relay as a process of its own."""

    def __init__(self, *arguments: str, **env: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if key not in OURS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xmesh_mesh.relay.server", *arguments],
            stderr=subprocess.PIPE,
            env={**inherited, **env},
        )
        self.lines: list[str] = []

    def line(self) -> str:
        assert self.process.stderr is not None
        self.lines.append(self.process.stderr.readline().decode())
        return self.lines[-1]

    def ready(self) -> int:
        return int(json.loads(self.line())["port"])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        _, rest = self.process.communicate(timeout=10)
        self.lines += rest.decode().splitlines()
        return self.process.returncode


@pytest.fixture
def run() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*arguments: str, **env: str) -> Process:
        started.append(Process(*arguments, **env))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


Run = Callable[..., Process]


@contextlib.contextmanager
def login(port: int, node: str, **auth: str) -> Iterator[tuple[ClientConnection, Any]]:
    url = f"ws://127.0.0.1:{port}"
    with connect(url, compression=None, close_timeout=1) as client:
        client.send(json.dumps({"type": "relay-auth", "nodeId": node, "name": node, **auth}))
        yield client, json.loads(client.recv(5))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_clients_are_told(run: Run, number: int) -> None:
    relay = run("--port", "0")
    with login(relay.ready(), "a") as (client, _):
        assert relay.end(number) == ExitCode.OK
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(5)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert [json.loads(line)["event"] for line in relay.lines[-2:]] == ["stopping", "stopped"]


def test_after_a_restart_on_the_same_port_clients_come_back(run: Run) -> None:
    first = run("--port", "0")
    port = first.ready()
    with login(port, "a"):
        assert first.end() == ExitCode.OK
    second = run(PORT=str(port))
    assert second.ready() == port
    with login(port, "a"), login(port, "b") as (_, told):
        assert told["peers"] == [{"nodeId": "a", "name": "a"}]


def test_a_killed_relay_leaves_nothing_that_hinders_the_next(run: Run) -> None:
    first = run("--port", "0")
    port = first.ready()
    with login(port, "a"):
        first.process.kill()
        first.wait()
    assert run("--port", str(port)).ready() == port


def test_its_lines_are_json_and_show_no_token(run: Run) -> None:
    relay = run("--port", "0", SYM_RELAY_TOKEN="geheim")
    port = relay.ready()
    with login(port, "a", token="falsch") as (_, told):
        assert told["type"] == "relay-error"
    with login(port, "b", token="geheim"):
        pass
    while '"left"' not in relay.line():
        assert relay.lines[-1], "the relay has ended"
    relay.end()
    found = [json.loads(line) for line in relay.lines]
    assert {"ts", "level", "event", "peer", "text"} <= set(found[0])
    assert "a token is needed" in found[0]["text"]
    assert {"refused", "joined", "left"} <= {line["event"] for line in found}
    assert "geheim" not in str(relay.lines)
    assert "falsch" not in str(relay.lines)


def test_without_json_its_lines_are_plain(run: Run) -> None:
    relay = run("--port", "0", "--json-less")
    line = relay.line()
    assert " info The relay listens on 127.0.0.1 port " in line
    assert "everybody may join" in line
    relay.end()


def test_an_open_relay_that_others_reach_warns(run: Run) -> None:
    relay = run("--port", "0", "--host", "0.0.0.0")
    relay.ready()
    assert json.loads(relay.line())["level"] == "warning"
    relay.end()
    guarded = run("--port", "0", "--host", "0.0.0.0", SYM_RELAY_TOKEN="geheim")
    guarded.ready()
    guarded.end()
    assert not [line for line in guarded.lines if "warning" in line]


def test_the_supervisor_hears_when_it_is_ready(run: Run) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    process = subprocess.Popen(
        [sys.executable, "-m", "xmesh_mesh.relay.server", "--port", "0"],
        env={**os.environ, "XMESH_READY_FD": str(write), "XMESH_PARENT": str(os.getpid())},
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    assert os.read(read, 100) == b"ready\n"
    os.close(read)
    process.terminate()
    assert process.wait(10) == ExitCode.OK


def test_a_port_that_is_taken_is_said(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        relay = run("--port", str(port))
        assert relay.wait() == ExitCode.FAILURE
    line = json.loads(relay.lines[-1])
    assert f"port {port}" in line["text"]
    assert "--port" in line["text"]


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--port", "x"], {}),
        (["--proxy", "proxy.example"], {}),
        ([], {"PORT": "70000"}),
        ([], {"SYM_RELAY_CHANNELS": "nonsense"}),
    ],
)
def test_a_wrong_setting_is_final(run: Run, arguments: list[str], env: dict[str, str]) -> None:
    relay = run(*arguments, **env)
    assert relay.wait() == ExitCode.CONFIG
    assert "fix:" in json.loads(relay.lines[-1])["text"]


# The command line


def test_the_environment_and_the_defaults() -> None:
    options = read_options([], {})
    assert (options.host, options.port, options.plain) == ("127.0.0.1", 8080, False)
    assert options.access.open
    options = read_options(["--proxy", "10.0.0.1"], {"PORT": "9", "SYM_RELAY_TOKEN": "t"})
    assert (options.port, options.proxies) == (9, {"10.0.0.1"})
    assert options.access.channel("t") == "default"
    assert read_options(["--port", "0"], {"PORT": "9"}).port == 0


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_a_loopback_address_is_local(host: str, local: bool) -> None:
    assert read_options(["--host", host], {}).is_local is local


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65_535), ("", 8080)])
def test_a_port_is_a_number(text: str, port: int) -> None:
    assert read_options([], {"PORT": text}).port == port


@pytest.mark.parametrize("text", ["65536", "-1", "8080.0", "x", "²", " 80"])
def test_anything_else_is_no_port(text: str) -> None:
    with pytest.raises(ConfigError, match="PORT"):
        read_options([], {"PORT": text})


def test_the_help_shows_an_example_the_limits_and_that_tls_is_anothers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        read_options(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in ("example:", "1.5 MiB a message", "1000 messages", "8 MiB", "32\nMiB", "TLS"):
        assert part in text or part.replace("\n", " ") in text
    assert max(map(len, text.splitlines())) <= 100


# The log


def test_a_flood_of_lines_is_cut_and_counted() -> None:
    written: list[bytes] = []
    log = Log(plain=False, threshold="info", write=written.append)
    for _ in range(LINES_BURST + 50):
        log("info", "x", "text")
    assert LINES_BURST <= len(written) < LINES_BURST + 10
    deadline = time.monotonic() + 5
    before = len(written)
    while len(written) == before:
        assert time.monotonic() < deadline
        log("info", "x", "text")
    assert json.loads(written[-1])["left_out"] > 1


def test_a_line_below_the_threshold_is_not_written() -> None:
    written: list[bytes] = []
    log = Log(plain=True, threshold="WARN", write=written.append)
    for level in ("debug", "info", "warning", "error"):
        log(level, "x", level)
    assert [line.split()[1] for line in written] == [b"warning", b"error"]


def test_a_log_that_cannot_be_written_does_not_matter() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    Log(plain=False, threshold="info", write=full)("info", "x", "text")
