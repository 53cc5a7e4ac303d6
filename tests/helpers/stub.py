"""A child for the supervisor's tests: a real process that does what its plan says.

The plan is the JSON object in ``XMESH_PLAN``: ``ready`` (true), ``ignore_term``, ``daemon`` (a
grandchild in a session of its own, reparented, deaf to SIGTERM), ``exit`` (a code), ``after_s``,
``flood`` (bytes to stderr), ``say`` (a last line). Like a peer it locks its node's directory and
obeys its tombstone; unlike a peer it does not ask for a parent-death signal.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path


def announce() -> None:
    fd = int(os.environ.pop("XMESH_READY_FD", "0"))
    if fd:
        os.write(fd, b"ready\n")
        os.close(fd)


def daemonise() -> None:
    """Leave a grandchild behind that no signal but SIGKILL ends."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def lock(root: Path, name: str) -> int:
    node = root / "nodes" / name
    node.mkdir(parents=True, exist_ok=True)
    handle = os.open(node / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.truncate(handle, 0)
    os.write(handle, json.dumps({"pid": os.getpid()}).encode())
    return handle


def obey_tombstone(root: Path, name: str) -> None:
    stone = root / "tombstones" / f"{name}.json"
    if stone.exists():
        if json.loads(stone.read_text())["id"] != os.environ.get("XMESH_LIFT"):
            sys.exit(82)
        stone.unlink()


def main() -> None:
    root = Path(os.environ["XMESH_RUNTIME_DIR"])
    name = os.environ["XMESH_TAG"].partition(":")[2]
    plan = json.loads(os.environ.get("XMESH_PLAN", "{}"))
    if "ignore_term" in plan:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if name != "bus":
        held = lock(root, name)  # noqa: F841 - kept for as long as we live
        obey_tombstone(root, name)
    (root / f"env-{name}.json").write_text(json.dumps(dict(os.environ)))
    if "daemon" in plan:
        daemonise()
    if "flood" in plan:
        os.write(2, (b"x" * 99 + b"\n") * (plan["flood"] // 100))
    if "say" in plan:
        os.write(2, plan["say"].encode() + b"\n")
    if plan.get("ready", True):
        announce()
    if "exit" in plan:
        time.sleep(plan.get("after_s", 0))
        os._exit(plan["exit"])
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
