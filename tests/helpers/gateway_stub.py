"""A stand-in for the gateway: a real process that speaks its control protocol and no other.

``<root>/gateway.json`` says what it does: ``exit`` (a code, at once), ``refuse`` (so many plans,
with an error), ``status`` (the answer to that command). Plans that it gets are appended to
``<root>/gateway-plans.jsonl``, each with its own pid; its environment is in ``env-gateway.json``.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(os.environ["XMESH_RUNTIME_DIR"])


def announce() -> None:
    fd = int(os.environ.pop("XMESH_READY_FD", "0"))
    os.write(fd, b"ready\n")
    os.close(fd)


def behaviour() -> dict[str, object]:
    path = ROOT / "gateway.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def answer(request: dict[str, object], refused: int) -> dict[str, object]:
    if request["cmd"] == "status":
        return dict(behaviour().get("status", {}))  # type: ignore[call-overload]
    if refused < int(str(behaviour().get("refuse", 0))):
        return {"error": "not now"}
    with (ROOT / "gateway-plans.jsonl").open("a") as plans:
        plans.write(json.dumps({"pid": os.getpid(), "peers": request["peers"]}) + "\n")
    return {"ok": True}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    (ROOT / "env-gateway.json").write_text(json.dumps(dict(os.environ)))
    if "exit" in behaviour():
        sys.stderr.write("this stand-in was told to fail\n")
        sys.exit(int(str(behaviour()["exit"])))
    path = ROOT / "gateway.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        announce()
        refused = 0
        while True:
            client, _ = server.accept()
            with client, client.makefile("rwb") as stream:
                said = answer(json.loads(stream.readline()), refused)
                refused += "error" in said
                stream.write(json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
