"""From a plan to a model. Only the chosen SDK is imported: each costs tens of megabytes."""

from xmesh_mesh.errors import ConfigError
from xmesh_peer.models.base import Model
from xmesh_peer.models.failures import Endpoint
from xmesh_peer.plan import VENDORS, PeerPlan

__all__ = ["open_model"]


# Slow enough for a person to follow who wakes on whom.
REHEARSAL_PACE_S = 0.3


def open_model(plan: PeerPlan, key: str) -> Model:
    """The model of ``plan``, called with ``key``. Raises ``ConfigError`` where a key is missing."""
    if plan.adapter == "rehearsal":
        from xmesh_peer.models.rehearsal import RehearsalModel

        return RehearsalModel(plan.settings.identity.role, REHEARSAL_PACE_S)
    if not key and plan.key_env and plan.base_url == VENDORS[plan.adapter].base_url:
        raise ConfigError(
            f"{plan.adapter} needs a key and there is none",
            where=f"{plan.config_path}: [model]",
            fix=f"export {plan.key_env}=…",
        )
    return _open(Endpoint(plan.adapter, plan.model_name, plan.base_url, plan.key_env, key))


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
