"""xmesh-sup: the command line. A verb is a module, imported only when it is called.

A verb's module has ``HELP`` (a paragraph), ``EXAMPLE`` (a command line or several),
``arguments(parser)`` and ``run(args) -> int``; it may have ``EXITS`` where its exit codes are not
the usual ones.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from xmesh_mesh.errors import UsageError, XmeshError

__all__ = ["USUAL_EXITS", "VERBS", "main", "run_verb"]

# In the order in which a newcomer needs them.
VERBS: Mapping[str, str] = MappingProxyType(
    {
        "up": "start the peers of these files under a supervisor, or reconcile a running one",
        "down": "stop all peers, the bus and the supervisor",
        "ps": "one line for each peer: state, model, wakes, calls, cost",
        "status": "everything that is known about one peer, or about all",
        "logs": "what the processes said, merged by time",
        "start": "start peers that are stopped, parked or killed",
        "stop": "stop peers; they stay stopped until start",
        "restart": "stop peers and start them with a new run",
        "kill": "end peers at once and for good, with everything that they started",
        "observe": "say something to a group, signed by the operator",
        "listen": "show what a group says, as it is said",
        "recall": "search a peer's memory",
        "trace": "the lineage of a record, as a tree",
        "why": "why a peer woke for a record, or slept on",
        "explain": "how a peer judges a message, in detail, and what would change it",
        "admission": "what a peer let in and slept through, what that saved; teach it better",
        "peers": "who is there, here and on other hosts, and over which links",
        "trust": "the keys that this host believes: list, add, remove, accept",
        "cost": "what was spent, and what may be",
        "wait": "return when the mesh is quiet",
        "systemd": "print a systemd unit for these files",
    },
)

USUAL_EXITS = "0 done; 1 it failed, and why is on stderr; 2 wrong usage; 3 no supervisor runs"


# One public key in 64 begins with a dash; argparse takes only what holds a space for no option.
_DASHED_KEY = re.compile(r"-[A-Za-z0-9_-]{42}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code. Every XmeshError ends here as a sentence."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_overview())
        return 0 if arguments else 2
    told = [f"{each} " if _DASHED_KEY.fullmatch(each) else each for each in arguments]
    return run_verb("xmesh-sup", "xmesh_supervisor.commands", VERBS, told)


def run_verb(program: str, package: str, verbs: Mapping[str, str], argv: Sequence[str]) -> int:
    """Run ``argv[0]``, a verb of ``program``, from ``package``; return the exit code."""
    try:
        return _run(program, package, verbs, argv)
    except XmeshError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return int(getattr(error, "status", error.exit_code))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing may be written while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(program: str, package: str, verbs: Mapping[str, str], argv: Sequence[str]) -> int:
    verb = argv[0]
    if verb not in verbs:
        raise _unknown(program, verb, verbs)
    module = importlib.import_module(f"{package}.{verb.replace('-', '_')}")
    exits = getattr(module, "EXITS", USUAL_EXITS)
    parser = argparse.ArgumentParser(
        prog=f"{program} {verb}",
        description=module.HELP,
        epilog=f"example:\n  {module.EXAMPLE}\n\nexit codes: {exits}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    code: int = module.run(parser.parse_args(argv[1:]))
    sys.stdout.flush()
    return code


def _unknown(program: str, verb: str, verbs: Mapping[str, str]) -> UsageError:
    import difflib

    near = difflib.get_close_matches(verb, verbs, n=1)
    meant = f"did you mean {program} {near[0]}? " if near else ""
    return UsageError(f"there is no verb {verb!r}", fix=f"{meant}{program} --help lists them all")


def _overview() -> str:
    lines = [f"  {verb:<9} {text}" for verb, text in VERBS.items()]
    return (
        "xmesh-sup: agents that wake on each other's words, and the supervisor that runs them\n\n"
        "usage: xmesh-sup VERB ...      xmesh-sup VERB --help explains one, with an example\n\n"
        + "\n".join(lines)
        + f"\n\nexit codes: {USUAL_EXITS}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
