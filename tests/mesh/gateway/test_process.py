"""``xmesh-gateway`` as a process: its plan and status over the socket, its lock, its end."""

import asyncio
import json
import os
import stat
import subprocess
import sys

from helpers.gateway import Host, until

from xmesh_mesh.errors import ExitCode


async def test_it_starts_empty_takes_a_plan_and_shows_what_it_does(left: Host) -> None:
    alice = await left.peer("alice")
    await left.start_process()
    status = await left.ask({"cmd": "status"})
    assert set(status) == {"endpoints", "peers", "quarantine", "groups"}

    async def row() -> dict[str, object]:
        rows = (await left.ask({"cmd": "status"}))["endpoints"]
        return rows[0] if rows else {}

    found = await row()
    while not found.get("secure_port"):
        found = await row()
    assert (found["name"], found["node_id"]) == ("alice", alice.identity.node_id)
    assert (found["group"], found["relay"]) == ("lab", None)
    assert await left.ask({"cmd": "plan", "peers": []}) == {"ok": True}
    while await row():
        pass
    answer = await left.ask({"cmd": "plan", "peers": [{"name": "alice"}]})
    assert "no plan" in answer["error"]


async def test_its_socket_is_private_and_a_second_one_gives_way(left: Host) -> None:
    await left.start_process()
    assert stat.S_IMODE(left.runtime.gateway_socket.stat().st_mode) == 0o600
    environment = os.environ | {"XMESH_RUNTIME_DIR": str(left.runtime.root)}
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "xmesh_mesh.gateway.main"],
        env=environment, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == ExitCode.COLLISION
    assert json.loads(second.stderr)["peer"] == "gateway"
    assert set(await left.ask({"cmd": "status"}))


async def test_it_ends_on_sigterm_with_its_traces_removed(left: Host) -> None:
    alice = await left.peer("alice")
    await left.start_process()
    file = left.home / ".sym" / "loopback" / f"{alice.identity.node_id}.json"
    await until(file.exists, "the registry's file")
    assert left.process is not None
    left.process.terminate()
    assert await left.process.wait() == ExitCode.OK
    assert not file.exists()
    assert not left.runtime.gateway_socket.exists()
