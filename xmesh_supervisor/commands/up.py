"""xmesh-sup up"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from xmesh_mesh.child import READY_FD
from xmesh_mesh.errors import ExitCode, SupervisorError, UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.plan import PeerPlan
from xmesh_supervisor import client
from xmesh_supervisor.console import Narrator, safe
from xmesh_supervisor.daemon import Supervisor
from xmesh_supervisor.ledger import recorded
from xmesh_supervisor.lifecycle import Desired
from xmesh_supervisor.logfiles import last_words
from xmesh_supervisor.output import print_json, write
from xmesh_supervisor.resolution import Resolved, resolve_files
from xmesh_supervisor.verbs import PER_LINE_S

HELP = """\
Starts the peers of these agent.toml files, each as its own process, and stays in the foreground as
their supervisor: Ctrl-C stops them in reverse order, a second Ctrl-C at once. All files are
checked first; one bad file starts nothing. Where a supervisor runs on this runtime directory
already, it is brought to exactly these peers instead: new ones start, changed ones restart, ones
that are named no more stop, the others are not touched. Without files: resumes what ran before."""
EXAMPLE = "xmesh-sup up configs/*.toml"
EXITS = "0 done; 1 a peer did not become ready, or no bus; 2 wrong usage; 78 a file is wrong"

_ACCEPT_S = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="an agent.toml")
    parser.add_argument("-d", "--detach", action="store_true", help="return when it is accepted")
    parser.add_argument(
        "--wait", action="store_true", help="return when all are ready (implies --detach)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document (with --detach)")


def run(args: argparse.Namespace) -> int:
    root = RuntimeDir.from_env().ensure()
    resolved = resolve_files(args.files, root, os.environ) if args.files else None
    if resolved is None:
        _check_resumable(root)
    elif not args.json:
        _show_plans(resolved.plans)
    running = client.is_running(root)
    if running or args.detach or args.wait:
        return _remote(root, resolved, args, running=running)
    if args.json:
        raise UsageError("--json shows a result, and the foreground has none", fix="add --detach")
    return _foreground(root, resolved)


def _check_resumable(root: RuntimeDir) -> None:
    if not any(row.desired is Desired.RUN for row in recorded(root.supervisor_db)):
        raise UsageError(
            "there is nothing to resume here: nothing ran when the last supervisor ended",
            fix="name agent.toml files: xmesh-sup up configs/*.toml",
        )


def _show_plans(plans: list[PeerPlan]) -> None:
    for plan in plans:
        model = f"{plan.adapter}/{plan.model_name}" if plan.adapter != "rehearsal" else "REHEARSAL"
        write(f"{plan.settings.identity.name:<16} {safe(model)}  ({safe(plan.adapter_reason)})")
    rehearsing = [p for p in plans if p.adapter == "rehearsal"]
    if rehearsing:
        write(
            f"*** REHEARSAL: {len(rehearsing)} of {len(plans)} peers call no model; they answer"
            " from the given text, cost $0.00, and say so in what they sign. ***"
        )


def _foreground(root: RuntimeDir, resolved: Resolved | None) -> int:
    narrator = Narrator(root)
    narrator.say(f"supervisor, pid {os.getpid()}, in {root.root}; Ctrl-C stops everything")
    try:
        Supervisor(
            root,
            specs=resolved.specs if resolved else None,
            keys=resolved.keys if resolved else None,
            hear=narrator.hear,
        ).run()
    finally:
        narrator.close()
    return 0


def _remote(
    root: RuntimeDir,
    resolved: Resolved | None,
    args: argparse.Namespace,
    *,
    running: bool,
) -> int:
    if not running:
        _detach(root, resolved)
    _await_commands(root)
    if resolved is None:
        return _resumed(root, args)
    specs = msgspec.to_builtins(resolved.specs)
    lines = client.call(
        root,
        "apply",
        specs=specs,
        keys=resolved.keys,
        replace=True,
        wait=args.wait,
        timeout_s=PER_LINE_S,
    )
    return _report(lines, args)


def _report(lines: Iterator[dict[str, Any]], args: argparse.Namespace) -> int:
    answer: dict[str, object] = {}
    peers: dict[str, dict[str, object]] = {}
    for line in lines:
        answer = line
        if "peer" in line:
            peers[str(line["peer"])] = line
            if not args.json:
                write(f"{line['peer']}  {safe(str(line['text']))}")
    good = bool(answer.get("all"))
    if args.json:
        print_json({"all_ready": good if args.wait else None, "peers": list(peers.values())})
    return 0 if good else 1


def _resumed(root: RuntimeDir, args: argparse.Namespace) -> int:
    status = client.ask(root, "status")
    names = [peer["name"] for peer in status["peers"] if peer["desired"] == Desired.RUN]
    if not args.wait:
        names = []
    return _report(client.call(root, "start", names=names), args)


def _await_commands(root: RuntimeDir) -> None:
    """Return once the supervisor that holds this root listens; it may have begun just now."""
    deadline = time.monotonic() + _ACCEPT_S
    while not client.listens(root) and client.is_running(root) and time.monotonic() < deadline:
        time.sleep(0.02)


def _detach(root: RuntimeDir, resolved: Resolved | None) -> None:
    """Start a supervisor of its own session; return when it takes commands.

    Keys follow over its socket, into its memory, and stay out of its environment.
    """
    handed_over = {name for keys in (resolved.keys.values() if resolved else ()) for name in keys}
    env = {name: value for name, value in os.environ.items() if name not in handed_over}
    log = root.log("supervisor")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reader, writer = os.pipe()
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "xmesh_supervisor.daemon"],
                env={**env, "XMESH_RUNTIME_DIR": str(root.root), READY_FD: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(writer,),
            )
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        ready = pipe.readline()
    if not ready:
        code = process.wait()
        if code == ExitCode.COLLISION:
            return  # somebody else started one at the same moment
        raise SupervisorError(
            f"the supervisor did not come up (exit {code}): {last_words(log)}",
            fix=f"read {log}",
        )
    process.returncode = 0  # it outlives us on purpose, and Popen need not warn of it
