"""From a plan to a model. Only the chosen SDK is imported: each costs tens of megabytes."""

from typing import TYPE_CHECKING

from xmesh_mesh.errors import ConfigError
from xmesh_peer.models.base import Model
from xmesh_peer.models.failures import Endpoint

if TYPE_CHECKING:
    from xmesh_peer.plan import PeerPlan

__all__ = ["BASE_URLS", "open_model"]

BASE_URLS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "ollama": "http://127.0.0.1:11434",
}
"""Where each vendor is reached unless the plan says otherwise; an SDK's own variables are not."""


REHEARSAL_PACE_S = 0.3


def open_model(plan: "PeerPlan", key: str) -> Model:
    """The model of ``plan``, called with ``key``. ``ConfigError``: no key, no such adapter."""
    if plan.adapter == "rehearsal":
        from xmesh_peer.models.rehearsal import RehearsalModel

        return RehearsalModel(plan.settings.identity.role, REHEARSAL_PACE_S)
    return _open(_endpoint(plan, key))


def _endpoint(plan: "PeerPlan", key: str) -> Endpoint:
    if plan.adapter not in BASE_URLS:
        raise ConfigError(
            f"adapter {plan.adapter!r} is unknown",
            where=f"{plan.config_path}: [model] adapter",
            fix=f"use one of {', '.join(BASE_URLS)}, rehearsal",
        )
    base_url = plan.base_url or BASE_URLS[plan.adapter]
    if not key and plan.adapter != "ollama" and base_url == BASE_URLS[plan.adapter]:
        raise ConfigError(
            f"{plan.adapter} needs a key and there is none",
            where=f"{plan.config_path}: [model]",
            fix=f"export {plan.key_env or plan.adapter.upper() + '_API_KEY'}=…",
        )
    return Endpoint(plan.adapter, plan.model_name, base_url, plan.key_env, key)


def _open(endpoint: Endpoint) -> Model:
    match endpoint.adapter:
        case "anthropic":
            from xmesh_peer.models.anthropic import AnthropicModel

            return AnthropicModel(endpoint)
        case "ollama":
            from xmesh_peer.models.ollama import OllamaModel

            return OllamaModel(endpoint)
        case _:
            from xmesh_peer.models.openai import OpenAIModel

            return OpenAIModel(endpoint)
