"""The demo: a triad takes a task it has never seen, shown live through the product's own commands.

Everything here a person could type. Only the runtime directory is the demo's own, so that it
neither sees nor disturbs a mesh that runs already.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TASK = "rate-limit /api/login so that nobody can guess passwords"
INTENT = "draft a spec, review it, add tests"
FOREIGN = "the harbour crane needs a new gearbox before winter"
VICTIM = "reviewer-01"
QUIET_TIMEOUT_S = "120"


def main() -> int:
    arguments = _parse()
    root = Path(tempfile.mkdtemp(prefix="xmesh-demo-"))
    os.environ["XMESH_RUNTIME_DIR"] = str(root)
    os.environ.pop("SYM_RELAY_URL", None)
    began = time.monotonic()
    try:
        with _mesh(_configs(root, live=arguments.live)):
            _play(arguments.task, live=arguments.live)
    except KeyboardInterrupt:
        return 130
    except subprocess.CalledProcessError as error:
        _say(f"\nthe demo failed at: {' '.join(map(str, error.cmd))}")
        _say(_tail(root))
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    _say(f"\nAll processes have ended. The demo took {time.monotonic() - began:.1f} s.")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Watch three peers take a task: a rehearsal without any model, unless --live.",
        epilog='example: scripts/demo "plan the move of the library to the new building"',
    )
    parser.add_argument("task", nargs="?", default=TASK, help="what the peers are to work on")
    parser.add_argument(
        "--live", action="store_true", help="use the models your keys give; costs money"
    )
    return parser.parse_args()


def _configs(root: Path, *, live: bool) -> list[Path]:
    """Return copies of the triad's files that keep to this host; a rehearsal asks no model."""
    copies = []
    for file in sorted((PROJECT / "configs").glob("*.toml")):
        text = file.read_text().replace("[mesh]", "[mesh]\nlan = false")
        if not live:
            text = re.sub(r'adapter = ".*?"', 'adapter = "rehearsal"', text)
        copy = root / file.name
        copy.write_text(text)
        copies.append(copy)
    return copies


@contextmanager
def _mesh(configs: list[Path]) -> Iterator[None]:
    """Start the triad and follow it on the terminal; end every process, whatever happens."""
    _title("Three peers, a process each")
    _run("up", "-d", "--wait", *map(str, configs))
    _run("ps")
    follower = subprocess.Popen([*_SUP, "logs", "-f", "-n", "0"], stdout=subprocess.PIPE, text=True)
    printer = threading.Thread(target=_show, args=(follower,), daemon=True)
    printer.start()
    try:
        yield
    finally:
        follower.terminate()
        follower.wait()
        printer.join(timeout=5)
        if follower.stdout:
            follower.stdout.close()
        _run("down")


def _play(task: str, *, live: bool) -> None:
    _title("A message of another trade: nobody should wake, nothing should be spent")
    before = _calls()
    _run("observe", FOREIGN)
    _run("wait", "--timeout", QUIET_TIMEOUT_S)
    _settle()
    _say(f"  model calls because of it: {sum(_calls().values()) - sum(before.values())}")

    _title(f"The task: {task}")
    said = json.loads(_output("observe", task, "--intent", INTENT, "--json"))
    _say(f"\n  {VICTIM} is killed as soon as it has said something\n")
    if not _SPOKE.wait(timeout=float(QUIET_TIMEOUT_S)):
        _say(f"  {VICTIM} had nothing to say; it is killed all the same")
    _run("kill", VICTIM, "--why", "the demo shows the kill switch")
    _run("wait", "--timeout", QUIET_TIMEOUT_S)
    _settle()

    _title("At rest. Who is left")
    _run("ps")
    _title("What was said, and to what")
    _run("trace", said["key"])
    _title("What it cost")
    _run("cost")
    if not live:
        _say("\nThis was a rehearsal: no LLM, $0.00. With a model, and the same task:\n")
        _say(f"  ANTHROPIC_API_KEY=... scripts/demo --live {json.dumps(task)}")
        _say("\n(or OPENAI_API_KEY, or MISTRAL_API_KEY, or a running Ollama)")


# Running the product's commands, and showing what they say

_SUP = [sys.executable, "-m", "xmesh_supervisor.cli"]
_SPOKE = threading.Event()
_LINES = threading.Lock()


def _run(*arguments: str) -> None:
    _say(f"$ xmesh-sup {' '.join(_short(argument) for argument in arguments)}")
    subprocess.run([*_SUP, *arguments], check=True, stdin=subprocess.DEVNULL)


def _output(*arguments: str) -> str:
    done = subprocess.run([*_SUP, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _calls() -> dict[str, int]:
    rows = json.loads(_output("ps", "--json"))["peers"]
    return {row["name"]: row["status"]["calls"] for row in rows}


def _show(follower: "subprocess.Popen[str]") -> None:
    for line in follower.stdout or ():
        _say("  " + line.rstrip())
        if VICTIM in line and "emitted" in line:
            _SPOKE.set()


def _settle() -> None:
    """Let the log follower print what has been said before the next title."""
    time.sleep(0.4)


def _short(argument: str) -> str:
    if argument.endswith(".toml"):
        return f"configs/{Path(argument).name}"
    return json.dumps(argument) if " " in argument else argument


def _title(text: str) -> None:
    _say(f"\n── {text} " + "─" * max(4, 76 - len(text)))


def _say(text: str) -> None:
    with _LINES:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _tail(root: Path) -> str:
    logs = sorted((root / "logs").glob("*.log"))
    return "\n".join(
        f"{log.name}: {line}" for log in logs for line in log.read_text().splitlines()[-5:]
    )


if __name__ == "__main__":
    sys.exit(main())
