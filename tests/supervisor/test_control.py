"""The control socket: hostile input ends a connection at most."""

import contextlib
import json
import socket
import stat
import time

import pytest
from helpers.fleet import SupervisorProcess, eventually, spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmesh_mesh.errors import SupervisorError
from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_supervisor import client


def send(root: RuntimeDir, data: bytes) -> list[bytes]:
    """Send raw bytes and an end of file; return the lines of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        connection.connect(str(root.supervisor_socket))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        try:
            return connection.makefile("rb").readlines()
        except ConnectionResetError:
            return []


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"cmd":"explode"}',
        b'{"cmd":["status"]}',
        b'{"cmd":"status","more":1}',
        b'{"cmd":"start"}',
        b'{"cmd":"start","names":"p"}',
        b'{"cmd":"start","names":[1]}',
        b'{"cmd":"apply","specs":[{"name":"x"}]}',
        b'{"cmd":"apply","specs":[{"name":"x","plan":"{}","restart":"sometimes"}]}',
        b'{"cmd":"apply","specs":[],"keys":{"a":"secret-value"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_command_is_refused_in_words(supervisor: SupervisorProcess, line: bytes) -> None:
    (answer,) = send(supervisor.root, line + b"\n")
    said = json.loads(answer)
    assert said["ok"] is False
    assert said["error"]
    assert b"secret-value" not in answer
    assert supervisor.answers()


def test_names_that_lead_out_of_the_root_are_refused(supervisor: SupervisorProcess) -> None:
    for name in ("../x", "bus", "", "a/b", "guard"):
        with pytest.raises(SupervisorError, match="name"):
            supervisor.apply(spec(name))
    assert client.ask(supervisor.root, "status")["peers"] == []


def test_half_a_line_and_a_line_over_the_limit_are_hung_up_on(
    supervisor: SupervisorProcess,
) -> None:
    assert send(supervisor.root, b'{"cmd":"status"}') == []
    assert send(supervisor.root, b"x" * (9 * 1024 * 1024)) == []
    assert supervisor.answers()


@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_answered_or_hung_up_on(supervisor: SupervisorProcess) -> None:
    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=300))
    def attack(data: bytes) -> None:
        for line in send(supervisor.root, data + b"\n"):
            assert "ok" in json.loads(line)

    attack()
    assert supervisor.answers()


def test_silent_clients_keep_nobody_waiting_and_are_bounded(
    supervisor: SupervisorProcess,
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(63):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(supervisor.root.supervisor_socket))
        begun = time.monotonic()
        assert supervisor.answers()
        assert time.monotonic() - begun < 2
        for _ in range(2):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(supervisor.root.supervisor_socket))
        connection.settimeout(5)
        assert connection.recv(1) == b""
    eventually(supervisor.answers)


def test_the_socket_is_for_the_user_alone(supervisor: SupervisorProcess) -> None:
    mode = supervisor.root.supervisor_socket.stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_events_are_told_as_they_happen(supervisor: SupervisorProcess) -> None:
    events = client.call(supervisor.root, "events", timeout_s=10)
    supervisor_says = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(supervisor.root.supervisor_socket))
        connection.sendall(b'{"cmd":"events"}\n')
        time.sleep(0.1)
        supervisor.apply(spec("p"))
        with connection.makefile("rb") as lines:
            for line in lines:
                supervisor_says.append(json.loads(line)["state"])
                if "running" in supervisor_says:
                    break
    events.close()
    assert supervisor_says == ["starting", "running"]


def test_without_a_supervisor_the_error_says_what_to_type(runtime_dir: RuntimeDir) -> None:
    with pytest.raises(client.SupervisorAway, match="xmesh-sup up FILES") as caught:
        client.ask(runtime_dir, "status")
    assert caught.value.status == 3


def test_a_supervisor_that_hangs_is_told_from_none(runtime_dir: RuntimeDir) -> None:
    lock = FileLock(runtime_dir.supervisor_lock)
    assert lock.acquire(role="supervisor")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(runtime_dir.supervisor_socket))
        server.listen()
        with pytest.raises(client.SupervisorAway, match=r"does not answer within 0.05 s"):
            client.ask(runtime_dir, "status", timeout_s=0.05)
    with pytest.raises(client.SupervisorAway, match="kill -9"):
        client.ask(runtime_dir, "status")
    lock.release()
    assert not client.is_running(runtime_dir)


def test_peers_are_asked_at_once_and_the_deaf_cost_their_bound_only(
    runtime_dir: RuntimeDir,
) -> None:
    names = ["good", "deaf", "garbled", "absent"]
    sockets = {name: runtime_dir.peer_socket(name) for name in names}
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in names[:3]:
            servers[name] = stack.enter_context(socket.socket(socket.AF_UNIX))
            servers[name].bind(str(sockets[name]))
            servers[name].listen()
        import threading

        def serve(name: str, answer: bytes) -> None:
            connection, _ = servers[name].accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        threads = [
            threading.Thread(target=serve, args=("good", b'{"state":"asleep"}\n')),
            threading.Thread(target=serve, args=("garbled", b"[[[\n")),
        ]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        answers = client.ask_peers(sockets, "status", within_s=0.15)
        took = time.monotonic() - begun
        for thread in threads:
            thread.join()
    assert answers == {"good": {"state": "asleep"}}
    assert 0.14 < took < 1
