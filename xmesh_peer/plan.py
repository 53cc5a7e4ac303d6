"""From settings to a plan: which vendor, model, address, key variable and price, decided once.

``resolve`` runs before a peer starts. What it returns holds no secret: it is shown, recorded and
handed to the peer; ``credentials`` gives the one key that goes with it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from xmesh_mesh.errors import ConfigError
from xmesh_peer import prices
from xmesh_peer.prices import FREE, Price
from xmesh_peer.settings import Adapter, Settings, UsdPerMillion, without_secrets

__all__ = ["VENDORS", "PeerPlan", "Price", "credentials", "installed_models", "resolve"]

PROBE_TIMEOUT_S: Final = 0.5
_PROBE_BYTES: Final = 1_048_576

Probe = Callable[[str], tuple[str, ...] | None]
"""Ollama's address → its installed models, or None where nobody answers there."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """What holds for an adapter where agent.toml does not say."""

    key_env: str
    model_name: str
    base_url: str


VENDORS: Final[Mapping[Adapter, Vendor]] = {
    "anthropic": Vendor("ANTHROPIC_API_KEY", "claude-sonnet-4-6", "https://api.anthropic.com"),
    "openai": Vendor("OPENAI_API_KEY", "gpt-4.1-mini", "https://api.openai.com/v1"),
    "mistral": Vendor("MISTRAL_API_KEY", "mistral-small-latest", "https://api.mistral.ai/v1"),
    "ollama": Vendor("", "llama3.2:3b", "http://127.0.0.1:11434"),
    "rehearsal": Vendor("", "rehearsal", ""),
}
_FREE: Final[frozenset[Adapter]] = frozenset({"ollama", "rehearsal"})


class PeerPlan(msgspec.Struct, frozen=True):
    """Everything a peer is started with but its key. ``digest`` names the settings it came from."""

    settings: Settings
    config_path: str
    digest: str
    adapter: Adapter
    model_name: str
    base_url: str
    price: Price
    key_env: str
    adapter_reason: str
    triage_model: str = ""
    triage_price: Price = FREE


def resolve(
    settings: Settings,
    path: Path,
    env: Mapping[str, str],
    *,
    terminal: bool,
    probe_ollama: Probe | None = None,
    recorded: PeerPlan | None = None,
) -> PeerPlan:
    """Decide what ``settings`` leave open; raise ConfigError where that is impossible.

    ``terminal``: a person is looking on, so "auto" may end in a rehearsal. ``recorded``: this
    peer's last plan; while the settings are the same, its decisions are kept, price included.
    """
    digest = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()
    if recorded is not None and recorded.digest == digest:
        plan = structs.replace(recorded, config_path=str(path))
    else:
        probe = probe_ollama or installed_models
        plan = _decide(settings, path, env, digest=digest, terminal=terminal, probe=probe)
    _check_key(plan, settings, env)
    return plan


def credentials(plan: PeerPlan, settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    """Return the one environment variable with a key that the peer needs; empty if it needs none.

    ``settings`` are the file's own (a plan's have no key); a key in the file comes first.
    """
    if not plan.key_env:
        return {}
    return {plan.key_env: settings.model.api_key or env.get(plan.key_env, "").strip()}


def installed_models(base_url: str) -> tuple[str, ...] | None:
    """Ask the Ollama at ``base_url`` what is installed; half a second of silence means None."""
    from http.client import HTTPException
    from urllib.request import ProxyHandler, build_opener

    host = urlsplit(base_url).hostname or ""
    direct = [ProxyHandler({})] if _is_loopback(host) else []
    try:
        url = f"{base_url.rstrip('/')}/api/tags"
        with build_opener(*direct).open(url, timeout=PROBE_TIMEOUT_S) as answer:
            return _model_names(answer.read(_PROBE_BYTES))
    except (OSError, HTTPException, ValueError, RecursionError):
        return None


def ollama_url(env: Mapping[str, str]) -> str:
    """Return the address that ``OLLAMA_HOST`` means, in the forms that Ollama itself takes."""
    host = env.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not host:
        return VENDORS["ollama"].base_url
    if "://" in host:
        return host
    parts = urlsplit(f"http://{host}")
    try:
        port = parts.port or 11434
    except ValueError as error:
        raise ConfigError(
            f"{host!r} is no address", where="OLLAMA_HOST", fix="write it like 127.0.0.1:11434"
        ) from error
    name = parts.hostname or "127.0.0.1"
    # A server is told to listen on every interface with 0.0.0.0; a client cannot call that.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 - it is replaced here
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _model_names(body: bytes) -> tuple[str, ...] | None:
    answer = json.loads(body)
    models = answer.get("models") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    names = (model.get("name") for model in models if isinstance(model, dict))
    # Models that embed text cannot answer, and Ollama lists them like any other.
    return tuple(name for name in names if isinstance(name, str) and "embed" not in name)


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _decide(
    settings: Settings,
    path: Path,
    env: Mapping[str, str],
    *,
    digest: str,
    terminal: bool,
    probe: Probe,
) -> PeerPlan:
    model = settings.model
    adapter: Adapter
    if model.adapter == "auto":
        adapter, model_name, reason = _first_usable(path, env, terminal, probe)
    else:
        adapter = model.adapter
        model_name, reason = model.model_name, "agent.toml names it"
    base_url = model.base_url or _usual_url(adapter, env)
    if adapter == "ollama" and not model_name:
        model_name = next(iter(probe(base_url) or ()), "")
    model_name = model_name or VENDORS[adapter].model_name
    price = _price(settings.model.price, "[model] price", path, adapter, model_name, base_url)
    asked, asked_price = _triage(settings, path, adapter, model_name, base_url, price)
    return PeerPlan(
        settings=without_secrets(settings),
        config_path=str(path),
        digest=digest,
        adapter=adapter,
        model_name=model_name,
        base_url=base_url,
        price=price,
        key_env=_key_env(settings, adapter),
        adapter_reason=reason,
        triage_model=asked,
        triage_price=asked_price,
    )


def _triage(
    settings: Settings, path: Path, adapter: Adapter, model_name: str, base_url: str, price: Price
) -> tuple[str, Price]:
    """Return the model that is asked small questions, and its price: the peer's own, or another."""
    wanted, own = settings.admission.triage_model, settings.admission.triage_price
    if not wanted or wanted == model_name:
        return model_name, price
    where = "[admission] triage_price"
    return wanted, _price(own, where, path, adapter, wanted, base_url)


def _usual_url(adapter: Adapter, env: Mapping[str, str]) -> str:
    return ollama_url(env) if adapter == "ollama" else VENDORS[adapter].base_url


def _key_env(settings: Settings, adapter: Adapter) -> str:
    usual = VENDORS[adapter].key_env
    return (settings.model.api_key_env or usual) if usual else ""


def _first_usable(
    path: Path, env: Mapping[str, str], terminal: bool, probe: Probe
) -> tuple[Adapter, str, str]:
    """Return adapter, model ("" for its usual one) and the reason, as a sentence."""
    for adapter, vendor in VENDORS.items():
        if vendor.key_env and env.get(vendor.key_env, "").strip():
            return adapter, "", f"{vendor.key_env} is set"
    url = ollama_url(env)
    installed = probe(url)
    if installed:
        return "ollama", installed[0], f"Ollama answers at {url}"
    if terminal:
        return "rehearsal", "", "there is no key and no Ollama: a rehearsal without any model"
    empty = "" if installed is None else f"; Ollama at {url} has no model, pull one"
    raise ConfigError(
        'adapter = "auto" finds no model: no key is set, and no Ollama with a model answers',
        where=f"{path}: [model] adapter",
        fix="set ANTHROPIC_API_KEY, OPENAI_API_KEY or MISTRAL_API_KEY, start Ollama"
        f' (OLLAMA_HOST), or write adapter = "rehearsal"{empty}',
    )


def _check_key(plan: PeerPlan, settings: Settings, env: Mapping[str, str]) -> None:
    if not plan.key_env or credentials(plan, settings, env)[plan.key_env]:
        return
    if _vendor_at(plan.base_url) is None:
        return  # somebody's own server, which may want no key
    raise ConfigError(
        f"the {plan.adapter} adapter needs a key, and {plan.key_env} is not set",
        where=f"{plan.config_path}: [model] adapter",
        fix=f"export {plan.key_env}=…, name another variable with api_key_env, or use another"
        " adapter",
    )


def _vendor_at(base_url: str) -> Adapter | None:
    """Return whose own server this is; anybody else's may charge what it likes."""
    address = base_url.rstrip("/")
    return next((name for name, vendor in VENDORS.items() if vendor.base_url == address), None)


def _price(
    own: UsdPerMillion | None, where: str, path: Path, adapter: Adapter, name: str, base_url: str
) -> Price:
    """Return the price to reckon with; an unknown one is refused, for every peer has money caps."""
    if adapter == "rehearsal":
        return FREE
    if own is not None:
        return prices.per_million(own.input, own.output)
    if adapter in _FREE:
        return FREE
    vendor = _vendor_at(base_url)
    price = prices.look_up(vendor, name) if vendor else None
    if price is None:
        server = "" if vendor else f" at {base_url}"
        raise ConfigError(
            f"nobody knows what {name}{server} costs, so its money caps could not be kept",
            where=f"{path}: {where}",
            fix="add what it costs in USD per million tokens, for example"
            f" {where.split()[1]} = {{ input = 1.0, output = 4.0 }}; both 0 if it is free",
        )
    return price
