"""Tokens and channels from the environment."""

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.relay.access import Access


@pytest.mark.parametrize("env", [{}, {"SYM_RELAY_TOKEN": ""}, {"SYM_RELAY_CHANNELS": ""}])
def test_without_tokens_everybody_shares_one_channel(env: dict[str, str]) -> None:
    access = Access.from_env(env)
    assert access.open
    assert [access.channel(token) for token in (None, "", "any")] == ["default"] * 3


def test_one_token_opens_the_default_channel_and_no_other_token_does() -> None:
    access = Access.from_env({"SYM_RELAY_TOKEN": "geheim"})
    assert not access.open
    assert access.channel("geheim") == "default"
    assert [access.channel(t) for t in (None, "", "gehei", "geheim ", "Geheim", "ü")] == [None] * 6


def test_channels_override_the_token() -> None:
    env = {"SYM_RELAY_TOKEN": "old", "SYM_RELAY_CHANNELS": " a:one , b:two,c:one,"}
    access = Access.from_env(env)
    assert [access.channel(token) for token in "abc"] == ["one", "two", "one"]
    assert access.channel("old") is None
    assert access.channel("a:one") is None


@pytest.mark.parametrize(
    "value", ["secret", "secret:", ":chan", "secret:a:b", ",", " ", "secret:a,secret:b", "a:b,x"]
)
def test_channels_that_make_no_sense_refuse_to_start_and_show_no_secret(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Access.from_env({"SYM_RELAY_CHANNELS": value})
    assert caught.value.where == "SYM_RELAY_CHANNELS"
    assert "secret" not in str(caught.value)


def test_the_wrong_entry_is_told_by_its_number() -> None:
    with pytest.raises(ConfigError, match="entry 3"):
        Access.from_env({"SYM_RELAY_CHANNELS": "a:b,,x"})


def test_a_token_that_is_no_utf8_is_compared_all_the_same() -> None:
    access = Access.from_env({"SYM_RELAY_TOKEN": "caf\udce9"})
    assert access.channel("café") is None
    assert "caf" not in repr(access)
