"""From agent.toml files to what is started: everything is validated before anything is."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.relay_address import PLAIN_RELAYS, RELAY_FIX, relay_objection
from xmesh_peer.config import load
from xmesh_peer.plan import PeerPlan, credentials, resolve
from xmesh_supervisor.ledger import recorded
from xmesh_supervisor.processes import RELAY_TOKEN
from xmesh_supervisor.spec import Edge, Spec

__all__ = ["Resolved", "resolve_files"]

_RELAY_URL = "SYM_RELAY_URL"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Peers that may be started, and apart from them their models' keys and their relay's token
    (peer → variable)."""

    specs: list[Spec]
    plans: list[PeerPlan]
    keys: dict[str, dict[str, str]]


def resolve_files(
    files: Sequence[Path],
    root: RuntimeDir,
    env: Mapping[str, str],
    *,
    terminal: bool | None = None,
) -> Resolved:
    """Load and decide all of ``files``; raise one ConfigError that names every bad one.

    What an earlier ``up`` has decided for "auto" is kept while the file is the same.
    """
    at_terminal = sys.stdin.isatty() if terminal is None else terminal
    earlier = _recorded_plans(root)
    result = Resolved([], [], {})
    errors: list[ConfigError] = []
    seen: dict[str, Path] = {}
    for file in files:
        try:
            _take(file.absolute(), root, env, at_terminal, earlier, seen, result)
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise _together(errors, len(files))
    return result


def _take(
    file: Path,
    root: RuntimeDir,
    env: Mapping[str, str],
    terminal: bool,
    earlier: Mapping[str, PeerPlan],
    seen: dict[str, Path],
    result: Resolved,
) -> None:
    settings = load(file)
    name = settings.identity.name
    # On a file system that folds case the two would share their files.
    if name.casefold() in seen:
        raise ConfigError(
            f"{name!r} is the name of another peer too, in {seen[name.casefold()]}",
            where=f"{file}: [identity] name",
            fix="give each peer a name of its own, and name each file once",
        )
    seen[name.casefold()] = file
    root.peer_socket(name)
    plan = resolve(settings, file, env, terminal=terminal, recorded=earlier.get(name))
    edge = _edge(plan, env)
    result.specs.append(_spec(plan, edge))
    result.plans.append(plan)
    token = settings.mesh.relay_token or env.get(RELAY_TOKEN, "").strip()
    relay = {RELAY_TOKEN: token} if edge.relay and token else {}
    result.keys[name] = {**credentials(plan, settings, env), **relay}


def _edge(plan: PeerPlan, env: Mapping[str, str]) -> Edge:
    """Return how the peer meets other hosts; the environment names a relay where its file does
    not. ConfigError where that one may not be used."""
    mesh = plan.settings.mesh
    relay = mesh.relay or env.get(_RELAY_URL, "").strip()
    plain_allowed = env.get(PLAIN_RELAYS) == "1"
    objection = relay_objection(relay, plain_allowed=plain_allowed) if relay else ""
    if objection:
        raise ConfigError(f"{relay!r} {objection}", where=_RELAY_URL, fix=RELAY_FIX)
    return Edge(group=mesh.group, lan=mesh.lan, relay=relay, trust=mesh.trust)


def _spec(plan: PeerPlan, edge: Edge) -> Spec:
    supervise, logging = plan.settings.supervise, plan.settings.logging
    return Spec(
        name=plan.settings.identity.name,
        plan=msgspec.json.encode(plan).decode(),
        adapter=plan.adapter,
        model=plan.model_name if plan.model_name != plan.adapter else "",
        key_env=plan.key_env,
        restart=supervise.restart,
        max_restarts=supervise.max_restarts,
        window_s=supervise.window_s,
        stop_timeout_s=supervise.stop_timeout_s,
        log_bytes=logging.max_file_size,
        log_keep=logging.keep,
        encoder=plan.settings.admission.encoder != "ngram",
        edge=edge,
    )


def _recorded_plans(root: RuntimeDir) -> dict[str, PeerPlan]:
    """Return the plans of an earlier up; those that this version can't read don't count."""
    plans: dict[str, PeerPlan] = {}
    for row in recorded(root.supervisor_db):
        try:
            spec = msgspec.json.decode(row.spec, type=Spec)
            plans[row.name] = msgspec.json.decode(spec.plan, type=PeerPlan)
        except msgspec.DecodeError:
            continue
    return plans


def _together(errors: Sequence[ConfigError], files: int) -> ConfigError:
    if len(errors) == 1:
        return errors[0]
    listed = "\n".join(f"- {error}" for error in errors)
    return ConfigError(f"{len(errors)} of {files} files are wrong; nothing was started\n{listed}")
