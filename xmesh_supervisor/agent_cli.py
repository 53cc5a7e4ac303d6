"""xmesh-agent: one agent.toml at a time, for those who know the command of that name."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xmesh_mesh.errors import UsageError, XmeshError
from xmesh_mesh.paths import FileLock, RuntimeDir, check_name
from xmesh_supervisor.output import write

__all__ = ["VERBS", "main"]

_EXITS = "0 done; 1 it failed, and why is on stderr; 2 wrong usage; 78 the file is wrong"
_FOLLOW_S, _LOOK_S = 0.1, 1.0
_AT_WORK = frozenset({"starting", "running", "stopping", "backoff"})


@dataclass(frozen=True, slots=True)
class Verb:
    """One subcommand: how it is explained, what it takes, and what it does."""

    help: str
    about: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code. Every XmeshError ends here as a sentence."""
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
    except XmeshError as error:
        sys.stderr.write(f"xmesh-agent: {error}\n")
        return int(getattr(error, "status", error.exit_code))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone; nothing may be written while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmesh-agent",
        description="One agent at a time. xmesh-sup runs many, and watches over them.",
        epilog=f"exit codes: {_EXITS}",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in VERBS.items():
        sub = verbs.add_parser(
            name,
            help=verb.help,
            description=verb.about,
            epilog=f"example:\n  {verb.example}\n\nexit codes: {_EXITS}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


def _take_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="an agent.toml")


def _take_dry_run(parser: argparse.ArgumentParser) -> None:
    _take_config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _take_keygen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peer", metavar="PEER", help="the peer's name")
    parser.add_argument("--force", action="store_true", help="replace the key that is there")
    parser.add_argument("--yes", action="store_true", help="with --force: don't ask")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _take_nothing(parser: argparse.ArgumentParser) -> None:
    pass


# run


def _run(args: argparse.Namespace) -> int:
    from xmesh_supervisor import client
    from xmesh_supervisor.commands import up
    from xmesh_supervisor.resolution import resolve_files

    root = RuntimeDir.from_env().ensure()
    if not client.is_running(root):
        small = argparse.Namespace(files=[args.config], detach=False, wait=False, json=False)
        return up.run(small)
    import msgspec

    resolved = resolve_files([args.config], root, os.environ)
    lines = client.call(
        root,
        "apply",
        specs=msgspec.to_builtins(resolved.specs),
        keys=resolved.keys,
        replace=False,
        wait=True,
    )
    good = _told(lines)
    return _follow(root, resolved.specs[0].name) if good else 1


def _told(lines: Iterable[Mapping[str, Any]]) -> bool:
    from xmesh_supervisor.console import safe

    good = False
    for line in lines:
        good = bool(line.get("all"))
        if "peer" in line:
            write(f"{line['peer']}  {safe(str(line['text']))}")
    return good


def _follow(root: RuntimeDir, name: str) -> int:
    """Show one peer's log until Ctrl-C, then stop that peer; the others go on.

    Ends with 1 where the peer ends before.
    """
    from xmesh_supervisor import client
    from xmesh_supervisor.console import Tail, render, safe

    write(f"the running supervisor has taken {name} on; Ctrl-C stops it")
    tail = Tail(root, [name])
    tail.skip()
    looked_s = time.monotonic()
    try:
        while True:
            for line in tail.more():
                write(render(line))
            if time.monotonic() - looked_s > _LOOK_S:
                looked_s = time.monotonic()
                ended = _how_it_ended(root, name)
                if ended:
                    write(f"{name} {safe(ended)}")
                    return 1
            time.sleep(_FOLLOW_S)
    except KeyboardInterrupt:
        return 0 if _told(client.call(root, "stop", names=[name])) else 1


def _how_it_ended(root: RuntimeDir, name: str) -> str:
    """Return how a peer came to its end, empty while it is being run."""
    from xmesh_supervisor import census

    taken = census.take(root)
    entry = next((entry for entry in taken.entries if entry.name == name), None)
    if entry is None or not taken.supervised:
        return "is supervised no more"
    if entry.state in _AT_WORK:
        return ""
    return f"is {entry.state}: {entry.note}"


# dry-run


def _dry_run(args: argparse.Namespace) -> int:
    from xmesh_peer.dryrun import checks
    from xmesh_supervisor.operator import visible, write_json

    found = checks(args.config, os.environ, terminal=sys.stdin.isatty())
    good = all(check.ok for check in found)
    if args.json:
        rows = [{"check": check.name, "ok": check.ok, "text": check.text} for check in found]
        write_json({"ok": good, "checks": rows})
        return 0 if good else 1
    for check in found:
        text = "\n      ".join(visible(line) for line in check.text.splitlines())
        write(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<12} {text}")
    return 0 if good else 1


# keygen


def _keygen(args: argparse.Namespace) -> int:
    from xmesh_mesh.canonical import b64u
    from xmesh_mesh.identity import fingerprint, load_or_create
    from xmesh_supervisor.operator import write_json

    root = RuntimeDir.from_env().ensure()
    name = check_name(args.peer)
    path = root.identity(name)
    lock = FileLock(root.node_lock(name))
    if not lock.acquire(name=name, role="keygen"):
        raise UsageError(
            f"{name} runs, as process {lock.holder().get('pid', 'unknown')}",
            fix=f"stop it first: xmesh-sup stop {name}",
        )
    try:
        if path.exists():
            _make_room(path, name, force=args.force, yes=args.yes)
        identity = load_or_create(path, name)
    finally:
        lock.release()
    shown = {
        "name": name,
        "node_id": identity.node_id,
        "public_key": b64u(identity.public_key),
        "fingerprint": fingerprint(identity.public_key),
        "file": str(path),
    }
    if args.json:
        write_json(shown)
    else:
        write("\n".join(f"{key.replace('_', ' '):<12} {value}" for key, value in shown.items()))
    return 0


def _make_room(path: Path, name: str, *, force: bool, yes: bool) -> None:
    """Move the present key aside, if that is truly wanted; it is never deleted."""
    if not force:
        raise UsageError(
            f"{name} has a key already",
            where=str(path),
            fix="--force replaces it: others then see a new node, and its old records stay its own",
        )
    if not yes and not _agreed(name):
        raise UsageError(
            "the key was not replaced", fix="answer with the peer's name, or add --yes"
        )
    aside = path.with_name(f"{path.name}.{time.time_ns() // 1_000_000}")
    path.rename(aside)
    sys.stderr.write(f"the old key is kept in {aside}\n")


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{name} will be a new node to everybody. Type its name to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == name


# schema


def _schema(_: argparse.Namespace) -> int:
    from xmesh_peer.schema import json_schema

    write(json.dumps(json_schema(), indent=2))
    return 0


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "run": Verb(
            "run one peer in the foreground",
            "Runs one peer and shows its log; Ctrl-C stops it. Where a supervisor runs on this\n"
            "runtime directory, it takes the peer on beside its others; else this command is a\n"
            "small supervisor for as long as it runs.",
            "xmesh-agent run --config configs/writer-01.toml",
            _take_config,
            _run,
        ),
        "dry-run": Verb(
            "check a file without running it",
            "Checks an agent.toml: every key, model, credentials, weights, role, budget, safety.\n"
            "A line for each check, ok or FAIL; joins nothing and calls no model.",
            "xmesh-agent dry-run --config configs/writer-01.toml",
            _take_dry_run,
            _dry_run,
        ),
        "keygen": Verb(
            "make a peer's identity",
            "Makes the key file of a peer (mode 0600) and prints node id, public key and its\n"
            "fingerprint: 60 digits that two people can compare. A peer makes its own at its\n"
            "first start, so this is for those who want to know it before.",
            "xmesh-agent keygen writer-01",
            _take_keygen,
            _keygen,
        ),
        "schema": Verb(
            "print the JSON Schema of agent.toml",
            "Prints the JSON Schema (draft 2020-12) of agent.toml, for editors.",
            "xmesh-agent schema > agent.schema.json",
            _take_nothing,
            _schema,
        ),
    }
)


if __name__ == "__main__":
    raise SystemExit(main())
