"""xmesh-sup peers"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import msgspec

from xmesh_mesh.errors import StoreError
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Quarantined
from xmesh_supervisor.census import Census, take
from xmesh_supervisor.console import safe
from xmesh_supervisor.output import ago, print_json, table, write
from xmesh_supervisor.trusted import WHY, groups_with_pins, pins_of
from xmesh_supervisor.world import Endpoint, Remote

HELP = """\
Who is there: the peers of this host and, a line each, the nodes of other hosts that they have met:
the links over which they are reached now, the trust of the peers that meet them, when they were
last heard, how many records went out and came in, how many wait, and what was refused of theirs.
Below: who is kept out, and why."""
EXAMPLE = "xmesh-sup peers"
EXITS = "0 done; 1 no supervisor runs (what was last recorded is shown); 2 wrong usage"

_HEADER = (
    *("PEER", "NODE", "GROUP", "WHERE", "LINKS", "TRUST", "SEEN", "SENT", "RECEIVED"),
    *("WAITING", "REFUSED"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    root = RuntimeDir.from_env()
    census, kept_out = take(root), _kept_out(root)
    if args.json:
        print_json(_document(census, kept_out))
    else:
        _show(census, kept_out)
    return 0 if census.supervised else 1


def _kept_out(root: RuntimeDir) -> list[tuple[str, Quarantined]]:
    """Return everybody in quarantine, by group; a file that cannot be read is said."""
    found: list[tuple[str, Quarantined]] = []
    for group in groups_with_pins(root):
        try:
            found += [(group, held) for held in pins_of(root, group).quarantined()]
        except StoreError as error:
            write(safe(str(error)))
    return found


def _show(census: Census, kept_out: Sequence[tuple[str, Quarantined]]) -> None:
    if census.trouble:
        write(census.trouble)
    rows = [*_local_rows(census), *_remote_rows(census)]
    write(table([_HEADER, *rows]) if rows else "no peers; xmesh-sup up FILES… starts some")
    if census.gateway_trouble:
        write(f"the gateway to other hosts is {safe(census.gateway_trouble)}")
    for group, held in kept_out:
        who = f"{safe(held.name) or '-'} ({held.node_id}) of {group}"
        write(f"kept out: {who}: {WHY[held.why]}; xmesh-sup trust list --group {group}")


def _local_rows(census: Census) -> list[list[str]]:
    rows = []
    for entry in census.entries:
        endpoint = census.world.endpoint(entry.name) if census.world else None
        node_id = str(entry.status.get("node_id") or (endpoint.node_id if endpoint else ""))
        group = str(entry.status.get("group") or (endpoint.group if endpoint else ""))
        where, links = "this host", _reach(endpoint)
        cells = [entry.name, node_id[:13] or "-", group or "-", where, links, "-", "-"]
        rows.append([safe(cell) for cell in [*cells, "-", "-", "-", "-"]])
    return rows


def _reach(endpoint: Endpoint | None) -> str:
    """Return over what a local peer can be reached."""
    if endpoint is None:
        return "bus"
    lan = [f"lan {endpoint.lan_port}"] if endpoint.lan_port else []
    relay = endpoint.relay
    over = [f"relay {relay.state}"] if relay and relay.url else []
    return ", ".join(["bus", *lan, *over])


def _remote_rows(census: Census) -> list[list[str]]:
    """Return a row for each remote node, whatever number of local peers has met it."""
    remotes = census.world.peers if census.world else []
    ordered = sorted(remotes, key=lambda each: (each.group, each.name, each.node_id))
    return [
        [safe(cell) for cell in _remote_row(list(same))]
        for _, same in groupby(ordered, key=lambda each: (each.group, each.name, each.node_id))
    ]


def _remote_row(met: Sequence[Remote]) -> list[str]:
    one = met[0]
    now_ms = time.time_ns() // 1_000_000
    seen = max(each.last_seen_ms for each in met)
    refused = sum((Counter(each.refused) for each in met), Counter[str]())
    return [
        *(one.name, one.node_id[:13], one.group, f"afar ({one.implementation or 'unknown'})"),
        _links(met),
        ", ".join(sorted({each.trust for each in met if each.trust})) or "-",
        ago(seen, now_ms) if seen else "-",
        *(str(sum(each.sent for each in met)), str(sum(each.received for each in met))),
        str(sum(each.waiting for each in met)),
        ", ".join(f"{count} {code}" for code, count in sorted(refused.items())) or "0",
    ]


def _links(met: Sequence[Remote]) -> str:
    brought_by = sorted({each.via for each in met if each.via})
    if brought_by:
        return f"by {', '.join(brought_by)}"
    kinds = {
        f"{link.kind}{' secure' if link.secure else ''}" for each in met for link in each.links
    }
    return ", ".join(sorted(kinds)) or "none"


def _document(census: Census, kept_out: Sequence[tuple[str, Quarantined]]) -> dict[str, Any]:
    world = census.world
    return {
        "trouble": census.trouble or None,
        "gateway_trouble": census.gateway_trouble or None,
        "local": [
            {
                "name": entry.name,
                "state": entry.state,
                "node_id": entry.status.get("node_id"),
                "group": entry.status.get("group"),
                "endpoint": _plain(world.endpoint(entry.name) if world else None),
            }
            for entry in census.entries
        ],
        "remote": [_plain(remote) for remote in world.peers] if world else [],
        "quarantine": [{"group": group, **msgspec.to_builtins(held)} for group, held in kept_out],
    }


def _plain(value: Endpoint | Remote | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)
