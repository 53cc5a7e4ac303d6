"""Everything that can be checked about an agent.toml without joining or calling anything."""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer import config, plan, roles
from xmesh_peer.plan import PeerPlan
from xmesh_peer.settings import Settings

_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. What would not stop the peer is ok, with "warning: " in front."""

    name: str
    ok: bool
    text: str


def checks(
    path: Path,
    env: Mapping[str, str],
    *,
    terminal: bool,
    probe_ollama: plan.Probe | None = None,
    runtime: RuntimeDir | None = None,
) -> list[Check]:
    """Return every check of the file, in the order of the report; raise nothing for a bad file.

    ``terminal`` and ``probe_ollama`` are those of ``plan.resolve``. A file that cannot be loaded
    ends the report, for nothing else is known about it. ``runtime`` is the usual one if absent.
    """
    path = path.absolute()
    try:
        document = config.read(path)
    except ConfigError as error:
        return [Check("load", False, str(error))]
    done = [Check("load", True, str(path))]
    try:
        settings = config.parse(document, path)
    except ConfigError as error:
        return [*done, Check("schema", False, str(error))]
    done.append(Check("schema", True, f"every key is known and valid: {settings.identity.name}"))
    try:
        chosen = plan.resolve(
            settings, path, env, terminal=terminal, probe_ollama=probe_ollama, recorded=None
        )
    except ConfigError as error:
        done.append(Check("model", False, str(error)))
    else:
        done += [_model(chosen), _credentials(chosen, settings, path), _budget(chosen)]
    return [
        *done,
        *(check(settings) for check in _CHECKS),
        _paths(settings, runtime or RuntimeDir.from_env()),
    ]


def _warned(name: str, warnings: list[str], fine: str) -> Check:
    return Check(name, True, f"warning: {'; '.join(warnings)}" if warnings else fine)


def _model(chosen: PeerPlan) -> Check:
    at = f" at {chosen.base_url}" if chosen.base_url else ""
    text = f"{chosen.adapter} {chosen.model_name}{at}: {chosen.adapter_reason}"
    rehearsal = ["a rehearsal answers without any model"] if chosen.adapter == "rehearsal" else []
    return _warned("model", rehearsal, text)


def _credentials(chosen: PeerPlan, settings: Settings, path: Path) -> Check:
    if not chosen.key_env:
        return Check("credentials", True, f"{chosen.adapter} needs no key")
    if not settings.model.api_key:
        return Check("credentials", True, f"the key is in {chosen.key_env}")
    warnings = [f"the key stands in the file; {chosen.key_env} in the environment is safer"]
    if path.stat().st_mode & _OTHERS_MAY_READ:
        warnings.append(f"other users may read it: chmod 600 {path}")
    return _warned("credentials", warnings, "")


def _budget(chosen: PeerPlan) -> Check:
    """Compare the caps with one call at its dearest: a full context and the longest answer."""
    settings, price = chosen.settings, chosen.price
    budget = settings.budget
    caps = {
        "run": budget.max_cost_usd_per_run,
        "hour": budget.max_cost_usd_per_hour,
        "day": budget.max_cost_usd_per_day,
    }
    call = settings.context.max_context_tokens * price.input_nano
    call += settings.model.max_tokens_per_call * price.output_nano
    warnings = [
        f"one full call can cost ${call / _NANO:.4f}, more than the ${cap:g} per {window}"
        for window, cap in caps.items()
        if call > cap * _NANO
    ]
    allowed = ", ".join(f"${cap:g} per {window}" for window, cap in caps.items())
    return _warned("budget", warnings, f"{allowed}; a full call costs about ${call / _NANO:.4f}")


def _weights(settings: Settings) -> Check:
    given = ", ".join(f"{field} {weight:g}" for field, weight in settings.role_weights.items())
    return Check("weights", True, given)


def _role(settings: Settings) -> Check:
    role = settings.identity.role
    doubts = roles.doubts(role, settings.role_weights)
    return _warned("role", doubts, f"{role}: the weights fit")


def _charter(settings: Settings) -> Check:
    charter = settings.identity.charter
    missing = f"{settings.identity.role} is no usual role, and there is no charter: a first message"
    warnings = [] if charter else [f"{missing} has nothing to be held against; write one"]
    return _warned("charter", warnings, charter)


def _safety(settings: Settings) -> Check:
    safety = settings.safety
    gates = safety.approval_gates
    holds = gates != "none" and bool(gates)
    warnings = [] if holds else ["without approval_gates nothing is held for a person"]
    named = gates if isinstance(gates, str) else f"own patterns for {', '.join(gates)}"
    fine = f"cycle depth {safety.cycle_depth}, {safety.max_per_thread} a thread, gates: {named}"
    return _warned("safety", warnings, fine)


def _attach(settings: Settings) -> Check:
    mesh = settings.mesh
    ways = ["the LAN"] if mesh.lan else []
    ways += [f"the relay {mesh.relay}"] if mesh.relay else []
    open_to_all = mesh.trust == "open" and bool(ways)
    warnings = ['trust = "open": others may speak without signing'] if open_to_all else []
    reach = f"meets others on {' and '.join(ways)}" if ways else "stays on this host"
    fine = f"{settings.attach.mode}, group {mesh.group}, trust {mesh.trust}; {reach}"
    return _warned("attach", warnings, fine)


_CHECKS: tuple[Callable[[Settings], Check], ...] = (_weights, _role, _charter, _safety, _attach)


def _paths(settings: Settings, runtime: RuntimeDir) -> Check:
    try:
        socket = runtime.peer_socket(settings.identity.name)
    except ConfigError as error:
        return Check("paths", False, str(error))
    return Check("paths", True, f"control socket {socket}")
