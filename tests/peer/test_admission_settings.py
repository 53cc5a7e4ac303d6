"""``[admission]``: what goes together, and what a second look costs."""

from pathlib import Path

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_peer import config, plan

PATH = Path("/x/agent.toml")


def document(adapter: str = "openai", **admission: object) -> dict[str, object]:
    return {
        "identity": {"name": "a"},
        "model": {"adapter": adapter},
        **({"admission": admission} if admission else {}),
    }


def resolved(**admission: object) -> plan.PeerPlan:
    settings = config.parse(document(**admission), PATH)
    return plan.resolve(settings, PATH, {"OPENAI_API_KEY": "k"}, terminal=False)


def test_a_peer_judges_with_static_embeddings_and_asks_where_it_pays() -> None:
    settings = config.parse(document(), PATH).admission
    assert (settings.encoder, settings.triage) == ("static", "auto")


@pytest.mark.parametrize("encoder", ["ollama", "openai"])
def test_an_encoder_that_a_server_runs_needs_address_and_model(encoder: str) -> None:
    with pytest.raises(ConfigError, match="a server runs needs it") as caught:
        config.parse(document(encoder=encoder), PATH)
    assert "encoder_url" in str(caught.value)
    assert "encoder_model" in str(caught.value)
    server = {"encoder_url": "http://127.0.0.1:11434", "encoder_model": "all-minilm"}
    assert config.parse(document(encoder=encoder, **server), PATH).admission.encoder == encoder


def test_an_address_without_such_an_encoder_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="no server runs this encoder"):
        config.parse(document(encoder_url="http://127.0.0.1:11434"), PATH)


def test_the_second_look_costs_what_the_peers_own_model_costs() -> None:
    found = resolved()
    assert (found.triage_model, found.triage_price) == (found.model_name, found.price)


def test_another_model_has_its_own_price_or_is_refused() -> None:
    cheap = resolved(triage_model="gpt-4.1-nano")
    assert cheap.triage_model == "gpt-4.1-nano"
    assert 0 < cheap.triage_price.input_nano < cheap.price.input_nano
    own = resolved(triage_model="tiny", triage_price={"input": 0.1, "output": 0.2})
    assert own.triage_price.input_nano == 100
    with pytest.raises(ConfigError, match="nobody knows what tiny") as caught:
        resolved(triage_model="tiny")
    assert "[admission] triage_price" in caught.value.where
    assert "triage_price = {" in caught.value.fix
