"""A process's socket: a closed table, and nothing that is sent ends or blocks it."""

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from xmesh_mesh import control
from xmesh_mesh.control import MAX_LINE, ControlServer, Request
from xmesh_mesh.errors import StoreError
from xmesh_mesh.paths import RuntimeDir


def _broken(_: Request) -> dict[str, Any]:
    raise StoreError("the disk is gone", where="memory.db", fix="find it")


COMMANDS = {
    "status": lambda _: {"state": "asleep", "note": "caf\u00e9\n"},
    "broken": _broken,
    "echo": lambda request: {"said": request["text"]},
    "large": lambda _: {"text": "x" * 500_000},
}
HELP = {"error": "send one JSON object a line with cmd out of: broken, echo, large, status"}
STATUS = {"state": "asleep", "note": "caf\u00e9\n"}


@pytest_asyncio.fixture
async def path(runtime_dir: RuntimeDir) -> AsyncIterator[Path]:
    server = ControlServer(runtime_dir.peer_socket("w-01"), COMMANDS)
    await server.start()
    yield runtime_dir.peer_socket("w-01")
    await server.close()


async def ask(path: Path, *lines: bytes) -> list[Any]:
    """Send lines, then read answers until the server has answered all or hung up."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**21)
    writer.write(b"".join(lines))
    found = []
    try:
        async with asyncio.timeout(10):
            for _ in lines:
                line = await reader.readline()
                if not line:
                    break
                found.append(json.loads(line))
    except ConnectionError:
        pass
    writer.close()
    return found


async def test_a_command_is_answered_with_one_line(path: Path) -> None:
    assert await ask(path, b'{"cmd":"status"}\n') == [STATUS]


async def test_a_command_gets_the_whole_request(path: Path) -> None:
    assert await ask(path, b'{"cmd":"echo","text":"hello"}\n') == [{"said": "hello"}]


async def test_a_server_may_take_longer_lines(runtime_dir: RuntimeDir) -> None:
    path = runtime_dir.peer_socket("w-02")
    server = ControlServer(path, COMMANDS, max_line=MAX_LINE * 3)
    await server.start()
    text = "x" * MAX_LINE * 2
    assert await ask(path, json.dumps({"cmd": "echo", "text": text}).encode() + b"\n") == [
        {"said": text}
    ]
    await server.close()


async def test_several_commands_may_come_over_one_connection(path: Path) -> None:
    assert await ask(path, b'{"cmd":"status"}\n', b'{"cmd":"x"}\n', b'{"cmd": "status"}\n') == [
        STATUS, HELP, STATUS,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"{}", b'{"cmd":"rm"}', b'{"cmd":[]}', b'{"cmd":null}', b"[]", b"1", b"null",
     b'"status"', b"\xff\xfe", b"[" * 3_000, b"1" * 4_000, b'{"cmd":"\\ud800"}',
     b'{"cmd":"__class__"}', b"\0"],
)  # fmt: skip
async def test_anything_else_is_answered_with_what_may_be_said(path: Path, line: bytes) -> None:
    assert await ask(path, line + b"\n", b'{"cmd":"status"}\n') == [HELP, STATUS]


async def test_a_last_line_may_end_without_a_newline(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"cmd":"status"}')
    writer.write_eof()
    assert json.loads(await reader.readline()) == STATUS
    assert await reader.read() == b""
    writer.close()


async def test_a_command_that_fails_says_so_and_the_next_one_works(path: Path) -> None:
    found = await ask(path, b'{"cmd":"broken"}\n', b'{"cmd":"status"}\n')
    assert found == [{"error": "memory.db: the disk is gone\n  fix: find it"}, STATUS]


async def test_a_line_over_the_limit_is_hung_up_on(path: Path) -> None:
    assert await ask(path, b"x" * (MAX_LINE * 3) + b"\n") == []
    longest = b'{"cmd":"status"' + b" " * (MAX_LINE - 18) + b"}\n"
    assert await ask(path, longest) == [STATUS]


async def test_a_client_that_says_nothing_is_hung_up_on_and_hinders_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_PATIENCE_S", 0.1)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"cmd":')
    assert await ask(path, b'{"cmd":"status"}\n') == [STATUS]
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


async def test_a_client_that_never_reads_is_hung_up_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_PATIENCE_S", 0.1)
    before = asyncio.all_tasks()
    _, writer = await asyncio.open_unix_connection(path, limit=1)
    writer.write(b'{"cmd":"large"}\n' * 20)
    assert await ask(path, b'{"cmd":"status"}\n') == [STATUS]
    serving = asyncio.all_tasks() - before
    assert serving
    await asyncio.wait_for(asyncio.gather(*serving), 5)
    writer.transport.abort()


async def test_many_clients_are_served_at_once(path: Path) -> None:
    found = await asyncio.gather(*(ask(path, b'{"cmd":"status"}\n') for _ in range(100)))
    assert found == [[STATUS]] * 100


async def test_clients_that_vanish_end_nothing(path: Path) -> None:
    for sent in (b"", b'{"cmd":"large"}\n', b"x"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(sent)
    assert await ask(path, b'{"cmd":"status"}\n') == [STATUS]


async def test_the_socket_is_private_and_gone_after_the_end(runtime_dir: RuntimeDir) -> None:
    path = runtime_dir.peer_socket("w-01")
    server = ControlServer(path, COMMANDS)
    await server.close()
    path.write_text("a dead one's")
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert await ask(path, b'{"cmd":"status"}\n') == [STATUS]
    await server.close()
    assert not path.exists()
