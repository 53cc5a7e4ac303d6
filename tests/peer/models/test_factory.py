"""Which model a plan opens, and what that loads."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_peer.config import load
from xmesh_peer.models.factory import open_model
from xmesh_peer.plan import PeerPlan, resolve

TOML = """
[identity]
name = "writer-01"
role = "writer"

[model]
adapter = "{adapter}"
model_name = "m"
price = {{ input = 1.0, output = 1.0 }}
{more}
"""
KEYS = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "MISTRAL_API_KEY": "k", "TEAM_KEY": "k"}

Planning = Callable[..., PeerPlan]


@pytest.fixture
def plan(tmp_path: Path) -> Planning:
    """Resolve the plan of a writer with this adapter and ``more`` lines under [model]."""

    def planned(adapter: str, more: str = "") -> PeerPlan:
        path = tmp_path / "agent.toml"
        path.write_text(TOML.format(adapter=adapter, more=more))
        return resolve(load(path), path, KEYS, terminal=False)

    return planned


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
    plan: Planning, adapter: str, key: str, kind: str, host: str
) -> None:
    model = cast("Any", open_model(plan(adapter), key))
    assert type(model).__name__ == kind
    assert str(model._endpoint) == f"{adapter} m at {host}"
    await model.close()


async def test_the_plan_s_address_wins(plan: Planning) -> None:
    model = cast("Any", open_model(plan("openai", 'base_url = "http://127.0.0.1:9/v1"'), ""))
    assert model._endpoint.base_url == "http://127.0.0.1:9/v1"
    await model.close()


async def test_the_rehearsal_model_is_told_its_role(plan: Planning) -> None:
    model = cast("Any", open_model(plan("rehearsal"), ""))
    assert type(model).__name__ == "RehearsalModel"
    assert model._role == "writer"
    await model.close()


@pytest.mark.parametrize("adapter", ["anthropic", "openai", "mistral"])
def test_a_vendor_without_a_key_is_a_configuration_error(plan: Planning, adapter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(plan(adapter), "")
    assert caught.value.fix == f"export {adapter.upper()}_API_KEY=…"
    assert caught.value.where.endswith("/agent.toml: [model]")


def test_the_variable_that_the_plan_names_is_the_one_to_set(plan: Planning) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(plan("openai", 'api_key_env = "TEAM_KEY"'), "")
    assert caught.value.fix == "export TEAM_KEY=…"


@pytest.mark.parametrize("chosen", ["anthropic", "openai", "ollama", "rehearsal"])
def test_only_the_chosen_sdk_is_loaded(plan: Planning, chosen: str) -> None:
    script = (
        "import sys, msgspec; from xmesh_peer.plan import PeerPlan;"
        "from xmesh_peer.models.factory import open_model;"
        "sdks = lambda: sorted({'anthropic', 'openai', 'ollama'} & set(sys.modules));"
        "before = sdks();"
        "open_model(msgspec.json.decode(sys.argv[1], type=PeerPlan), 'k');"
        "print(before, sdks())"
    )
    order = msgspec.json.encode(plan(chosen)).decode()
    out = subprocess.run(
        [sys.executable, "-c", script, order], check=True, capture_output=True, text=True
    ).stdout
    assert out.strip() == f"[] {[chosen] if chosen != 'rehearsal' else []}"
