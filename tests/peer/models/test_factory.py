"""Which model a plan opens, and what that loads."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_peer.models.factory import open_model


def plan(adapter: str, base_url: str = "", key_env: str = "") -> Any:
    """As much of a plan as a model is opened with."""
    return SimpleNamespace(
        adapter=adapter,
        model_name="m",
        base_url=base_url,
        key_env=key_env,
        config_path="/etc/agent.toml",
        settings=SimpleNamespace(identity=SimpleNamespace(role="writer")),
    )


@pytest.mark.parametrize(
    ("adapter", "key", "kind", "host"),
    [
        ("anthropic", "k", "AnthropicModel", "api.anthropic.com"),
        ("openai", "k", "OpenAIModel", "api.openai.com"),
        ("mistral", "k", "OpenAIModel", "api.mistral.ai"),
        ("ollama", "", "OllamaModel", "127.0.0.1"),
    ],
)
async def test_each_adapter_opens_its_model_at_its_own_address(
    adapter: str, key: str, kind: str, host: str
) -> None:
    model = cast("Any", open_model(plan(adapter), key))
    assert type(model).__name__ == kind
    assert str(model._endpoint) == f"{adapter} m at {host}"
    await model.close()


async def test_the_plan_s_address_wins() -> None:
    model = cast("Any", open_model(plan("openai", "http://127.0.0.1:9/v1"), ""))
    assert model._endpoint.base_url == "http://127.0.0.1:9/v1"
    await model.close()


async def test_the_rehearsal_model_is_told_its_role() -> None:
    model = open_model(plan("rehearsal"), "")
    assert type(model).__name__ == "RehearsalModel"
    await model.close()


@pytest.mark.parametrize("adapter", ["anthropic", "openai", "mistral"])
def test_a_vendor_without_a_key_is_a_configuration_error(adapter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(plan(adapter), "")
    assert caught.value.fix == f"export {adapter.upper()}_API_KEY=…"
    assert caught.value.where == "/etc/agent.toml: [model]"


def test_the_variable_that_the_plan_names_is_the_one_to_set() -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(plan("openai", key_env="TEAM_KEY"), "")
    assert caught.value.fix == "export TEAM_KEY=…"


def test_an_unknown_adapter_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="'gemini' is unknown"):
        open_model(plan("gemini"), "k")


@pytest.mark.parametrize("chosen", ["anthropic", "openai", "ollama", "rehearsal"])
def test_only_the_chosen_sdk_is_loaded(chosen: str) -> None:
    script = (
        "import sys; from types import SimpleNamespace as S;"
        "from xmesh_peer.models.factory import open_model;"
        "before = {'anthropic', 'openai', 'ollama'} & set(sys.modules);"
        f"p = S(adapter={chosen!r}, model_name='m', base_url='', key_env='', config_path='x',"
        "settings=S(identity=S(role='writer')));"
        "open_model(p, 'k');"
        "print(sorted(before), sorted({'anthropic', 'openai', 'ollama'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert out.strip() == f"[] {[chosen] if chosen != 'rehearsal' else []}"
