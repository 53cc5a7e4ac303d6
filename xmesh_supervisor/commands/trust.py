"""xmesh-sup trust"""

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

from xmesh_mesh.errors import BusError, UsageError
from xmesh_mesh.paths import RuntimeDir, check_group
from xmesh_mesh.pins import Pin, Quarantined
from xmesh_supervisor.console import safe
from xmesh_supervisor.output import ago, print_json, write
from xmesh_supervisor.trusted import WHY, groups_with_pins, pins_of, the_group

HELP = """\
The keys that this host believes, by group. A key is pinned at first sight (trust = "tofu", "open")
or by hand only ("strict"); another key for the same node is kept in quarantine until a person looks
at it. Compare the fingerprint, 60 digits, with whoever runs that node before you accept or add.
Running processes notice a change at once.

  list     what is pinned, and what is in quarantine and why
  accept   pin the key of a node in quarantine, instead of its old one
  add      pin a key by hand
  remove   forget a node; it is met anew when it comes again"""
EXAMPLE = """xmesh-sup trust list --group coding-triad
  xmesh-sup trust accept 01930f1e-7abc-7def-8123-456789abcdef"""
EXITS = "0 done; 1 the file of keys cannot be used; 2 wrong usage, or no such node"

_NODE = "a node's id, or as many of its first characters as name one node"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = _verb(verbs, "list", "show pinned keys and quarantine", "trust list --json")
    accepted = _verb(verbs, "accept", "pin a quarantined key", "trust accept 01930f1e-7abc")
    added = _verb(
        verbs, "add", "pin a key by hand", "trust add NODE-ID PUBLIC-KEY --name writer-09"
    )
    removed = _verb(verbs, "remove", "forget a node", "trust remove 01930f1e-7abc")
    for parser_ in (accepted, removed):
        parser_.add_argument("node", metavar="NODE", help=_NODE)
    accepted.add_argument(
        "--public-key", type=str.strip, metavar="KEY", help="which key, where it has several"
    )
    added.add_argument("node", metavar="NODE-ID", help="the node's whole id")
    added.add_argument(
        "public_key", type=str.strip, metavar="PUBLIC-KEY", help="as its owner's keygen prints it"
    )
    added.add_argument("--name", default="", metavar="N", help="what it calls itself")
    for parser_ in (listed, accepted, added, removed):
        parser_.add_argument("--group", metavar="G", help="needed where there are several")
        parser_.add_argument("--json", action="store_true", help="one JSON document")


def _verb(verbs: Any, name: str, what: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=what,
        description=what,
        epilog=f"example:\n  xmesh-sup {example}\n\nexit codes: {EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def run(args: argparse.Namespace) -> int:
    root = RuntimeDir.from_env()
    {"list": _list, "accept": _accept, "add": _add, "remove": _remove}[args.verb](root, args)
    return 0


def _list(root: RuntimeDir, args: argparse.Namespace) -> None:
    given = args.group and check_group(args.group, where="--group")
    groups = [given] if given else groups_with_pins(root)
    found = {group: pins_of(root, group) for group in groups}
    if args.json:
        print_json({
            group: {
                "pinned": [_pin_json(pin) for pin in pins.pinned()],
                "quarantine": [_held_json(held) for held in pins.quarantined()],
            }
            for group, pins in found.items()
        })  # fmt: skip
        return
    lines = [
        line
        for group, pins in found.items()
        for line in _lines(group, pins.pinned(), pins.quarantined())
    ]
    write("\n".join(lines or ["no keys are pinned here yet"]))


def _lines(group: str, pinned: list[Pin], quarantined: list[Quarantined]) -> Iterator[str]:
    now_ms = time.time_ns() // 1_000_000
    yield f"group {group}: {len(pinned)} pinned, {len(quarantined)} in quarantine"
    for pin in pinned:
        yield f"\n{safe(pin.name) or '-'}  {pin.node_id}"
        yield f"  {_digits(pin.public_key)}"
        yield f"  {_history(pin)}, {ago(pin.seen_ms, now_ms)}"
    for held in quarantined:
        yield f"\nKEPT OUT  {safe(held.name) or '-'}  {held.node_id}"
        yield f"  {_digits(held.public_key)}"
        yield f"  {WHY[held.why]}, {ago(held.seen_ms, now_ms)}"
        if held.public_key:
            yield f"  to believe it: xmesh-sup trust accept {held.node_id} --group {group}"


def _history(pin: Pin) -> str:
    how = "pinned by hand" if pin.by_hand else "pinned at first sight"
    shown = [word for word, true in (("signs", pin.signed), ("secure", pin.secure)) if true]
    return ", ".join([how, *shown])


def _accept(root: RuntimeDir, args: argparse.Namespace) -> None:
    group = the_group(root, args.group)
    pins = pins_of(root, group)
    node = _meant(args.node, [held.node_id for held in pins.quarantined()], "in quarantine")
    pin = pins.accept(node, _key(args.public_key) if args.public_key else None)
    _tell(args, group, pin, f"{pin.name} is believed under this key from now on")


def _add(root: RuntimeDir, args: argparse.Namespace) -> None:
    group = the_group(root, args.group)
    if not _UUID.match(args.node):
        raise UsageError(
            f"{args.node!r} is no node id", fix="give the whole id, as keygen prints it"
        )
    pin = pins_of(root, group).add(args.node, _key(args.public_key), args.name)
    _tell(args, group, pin, "its key is pinned")


def _remove(root: RuntimeDir, args: argparse.Namespace) -> None:
    group = the_group(root, args.group)
    pins = pins_of(root, group)
    known = [pin.node_id for pin in pins.pinned()] + [held.node_id for held in pins.quarantined()]
    node = _meant(args.node, known, f"known in {group}")
    pins.remove(node)
    _forget_on_bus(root, node)
    if args.json:
        print_json({"group": group, "removed": node})
    else:
        write(f"{node} is forgotten in {group}; when it comes again it is met anew")


def _forget_on_bus(root: RuntimeDir, node: str) -> None:
    """A bus that runs forgets a node of another host as well."""
    from xmesh_mesh.bus.query import remove

    if not root.bus_socket.exists():
        return
    try:
        remove(root.bus_socket, node, remote=True)
    except BusError as error:
        write(f"the bus still knows it: {error.what}")


def _meant(given: str, known: list[str], where: str) -> str:
    """Return the node that a whole id or the beginning of one names; UsageError."""
    nodes = [node for node in dict.fromkeys(known) if node.startswith(given.lower())]
    if len(nodes) == 1:
        return nodes[0]
    several = f"{given!r} may be {', '.join(nodes)}" if nodes else f"no node {given!r} is {where}"
    raise UsageError(several, fix="xmesh-sup trust list shows them all, with their groups")


def _key(text: str) -> bytes:
    from xmesh_mesh.canonical import unb64u

    try:
        return unb64u(text, 32)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no public key", fix="give the 43 characters that keygen prints as its key"
        ) from error


def _tell(args: argparse.Namespace, group: str, pin: Pin, said: str) -> None:
    if args.json:
        print_json({"group": group, **_pin_json(pin)})
    else:
        write(f"{safe(pin.name) or '-'}  {pin.node_id} in {group}\n  {_digits(pin.public_key)}")
        write(f"  {safe(said)}")


def _digits(public_key: str) -> str:
    from xmesh_mesh.identity import fingerprint

    return fingerprint(_key(public_key)) if public_key else "it named no key"


def _pin_json(pin: Pin) -> dict[str, Any]:
    return {
        "node_id": pin.node_id,
        "name": pin.name,
        "public_key": pin.public_key,
        "fingerprint": _digits(pin.public_key),
        "seen_ms": pin.seen_ms,
        "signed": pin.signed,
        "secure": pin.secure,
        "by_hand": pin.by_hand,
    }


def _held_json(held: Quarantined) -> dict[str, Any]:
    return {
        "node_id": held.node_id,
        "name": held.name,
        "public_key": held.public_key or None,
        "fingerprint": _digits(held.public_key) if held.public_key else None,
        "seen_ms": held.seen_ms,
        "why": held.why,
    }
