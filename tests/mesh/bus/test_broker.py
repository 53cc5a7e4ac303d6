"""The bus as a process: one a root, private, quick to start and end, and hard to bring down."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket as sockets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import zmq
from helpers.bus import BusProcess, client, new_assertion, wait_until

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.bus.query import remove, status
from xmesh_mesh.errors import BusUnavailable, ExitCode
from xmesh_mesh.paths import RuntimeDir


@pytest.fixture
def bus(runtime_dir: RuntimeDir) -> Iterator[BusProcess]:
    with BusProcess(runtime_dir) as started:
        yield started


@contextlib.contextmanager
def dealer(bus: BusProcess) -> Iterator[zmq.Socket[bytes]]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{bus.socket}")
    try:
        yield socket
    finally:
        socket.close()


def test_the_socket_and_the_journal_are_the_users_own(bus: BusProcess) -> None:
    for path in (bus.socket, bus.runtime.bus_db):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_bus_exits_with_the_collision_code_and_the_first_goes_on(bus: BusProcess) -> None:
    second = BusProcess(bus.runtime).start(wait=False)
    assert second.process is not None
    assert second.process.wait(10) == ExitCode.COLLISION
    line = json.loads(bus.log.splitlines()[-1])
    assert (line["level"], line["peer"]) == ("error", "bus")
    assert str(bus.pid) in line["text"]
    assert status(bus.socket).pid == bus.pid


def test_sigterm_ends_it_cleanly_and_at_once(bus: BusProcess) -> None:
    began = time.monotonic()
    assert bus.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 1.0
    assert not bus.socket.exists()
    events = [json.loads(line)["event"] for line in bus.log.splitlines()]
    assert events == ["ready", "stopped"]


def test_a_bus_follows_one_that_was_killed_and_left_its_socket(bus: BusProcess) -> None:
    epoch = status(bus.socket).epoch
    bus.kill()
    assert bus.socket.exists()
    bus.start()
    assert status(bus.socket).epoch == epoch


def test_it_ends_with_its_parent(runtime_dir: RuntimeDir) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "env = os.environ | {'XMESH_PARENT': str(os.getpid())}\n"
        "child = subprocess.Popen([sys.executable, '-m', 'xmesh_mesh.bus.broker'], env=env)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        ["python3", "-c", script.replace("sys.executable", repr(sys.executable))],
        env=os.environ | {"XMESH_RUNTIME_DIR": str(runtime_dir.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    with contextlib.closing(parent.stdout):
        status(runtime_dir.bus_socket, 10)
        parent.kill()
        parent.wait()
        wait_until(lambda: not _alive(child), "the bus ends")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_wrong_root_is_an_error_with_its_exit_code(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    bus = BusProcess(RuntimeDir(tmp_path))
    bus.runtime = RuntimeDir(deep)
    deep.mkdir()
    bus.start(wait=False)
    assert bus.process is not None
    assert bus.process.wait(10) == ExitCode.CONFIG
    assert "too long" in bus.log


def test_garbage_of_every_kind_leaves_it_standing(bus: BusProcess) -> None:
    with dealer(bus) as socket:
        for _ in range(200):
            socket.send(secrets.token_bytes(secrets.randbelow(300)))
            socket.send_multipart([b"", b"three", b"parts"])
        for _ in range(400):
            assert socket.poll(5_000)
            answer = frames.decode_answer(socket.recv())
            assert isinstance(answer, frames.Refused)
            assert answer.code == "malformed"
    assert status(bus.socket).pid == bus.pid


def test_an_oversize_frame_costs_its_sender_the_connection_and_nobody_else(bus: BusProcess) -> None:
    with dealer(bus) as socket:
        socket.send(bytes(frames.MAX_FRAME_BYTES + 1))
        assert status(bus.socket).pid == bus.pid
        assert not socket.poll(50)


def test_bytes_that_are_no_zeromq_leave_it_standing(bus: BusProcess) -> None:
    with sockets.socket(sockets.AF_UNIX) as raw:
        raw.connect(str(bus.socket))
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
        assert status(bus.socket).pid == bus.pid


def test_somebody_who_never_reads_costs_bounded_memory(bus: BusProcess) -> None:
    with dealer(bus) as socket:
        socket.setsockopt(zmq.RCVHWM, 1)
        before = _resident_kb(bus.pid)
        for _ in range(50_000):
            try:
                socket.send(frames.encode(frames.Status()), zmq.DONTWAIT)
            except zmq.Again:
                socket.poll(1, zmq.POLLOUT)
        assert status(bus.socket, 5).pid == bus.pid
        assert _resident_kb(bus.pid) - before < 20_000


async def test_a_stopped_member_delays_nobody_costs_bounded_memory_and_catches_up(
    bus: BusProcess,
) -> None:
    writer, reader, stopped = client(bus, "a"), client(bus, "b"), client(bus, "c", window=1_024)
    for each in (writer, reader, stopped):
        await each.connect()
    before = _resident_kb(bus.pid)
    reading = asyncio.create_task(_read(reader, 400))
    for _ in range(400):
        await writer.publish(new_assertion(), bytes(100_000))
    assert await reading == list(range(1, 401))
    assert _resident_kb(bus.pid) - before < 30_000
    assert await _read(stopped, 400) == list(range(1, 401))
    for each in (writer, reader, stopped):
        await each.close()


async def _read(reader: BusClient, count: int) -> list[int]:
    seqs = []
    async for each in _first(reader, count):
        reader.ack(each.seq)
        seqs.append(each.seq)
    return seqs


def _resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


def test_nobody_there_is_said_with_the_sockets_name(runtime_dir: RuntimeDir) -> None:
    for ask in (
        lambda: status(runtime_dir.bus_socket, 0.05),
        lambda: remove(runtime_dir.bus_socket, "n", 0.05),
    ):
        with pytest.raises(BusUnavailable, match=str(runtime_dir.bus_socket)):
            ask()


async def test_a_deleted_journal_is_replaced_and_publishing_goes_on(bus: BusProcess) -> None:
    writer = client(bus, "a")
    epoch = (await writer.connect()).epoch
    await writer.publish(new_assertion(), b"first")
    bus.runtime.bus_db.unlink()
    await writer.publish(new_assertion(), b"second")
    assert writer.epoch != epoch
    assert "journal-lost" in bus.log
    await writer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_delays_publishing_until_there_is_room(runtime_dir: RuntimeDir) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(runtime_dir.root)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        with BusProcess(runtime_dir) as bus:
            asyncio.run(_publish_beyond_the_disk(bus))
    finally:
        subprocess.run(["umount", "-l", str(runtime_dir.root)], check=True)


async def _publish_beyond_the_disk(bus: BusProcess) -> None:
    ballast = bus.runtime.root / "ballast"
    writer, reader = client(bus, "a"), client(bus, "b")
    await writer.connect()
    await reader.connect()
    await writer.publish(new_assertion(), b"while there is room")
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4_096))
            file.flush()
    late = asyncio.create_task(writer.publish(new_assertion(), bytes(200_000)))
    async with asyncio.timeout(10):
        while "journal-unavailable" not in bus.log:  # noqa: ASYNC110 - the log is a file
            await asyncio.sleep(0.01)
    assert not late.done()
    ballast.unlink()
    async with asyncio.timeout(10):
        await late
        received = [len(each.record) async for each in _first(reader, 2)]
    assert received == [19, 200_000]
    assert "journal-available" in bus.log
    await writer.close()
    await reader.close()


async def _first(reader: BusClient, count: int) -> AsyncIterator[Delivery]:
    async with aclosing(reader.deliveries()) as deliveries:
        async for each in deliveries:
            yield each
            count -= 1
            if not count:
                return
