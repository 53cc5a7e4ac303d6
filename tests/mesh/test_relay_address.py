"""A relay beyond this host is reached by TLS only, unless a person says otherwise."""

import pytest

from xmesh_mesh.relay_address import relay_objection


@pytest.mark.parametrize(
    "url", ["wss://relay.example", "ws://127.0.0.1:8080", "ws://localhost:1/x", "ws://[::1]:80"]
)
def test_a_relay_by_tls_or_on_this_host_is_used(url: str) -> None:
    assert relay_objection(url) == ""


@pytest.mark.parametrize(
    "url", ["ws://10.0.0.1:80", "http://localhost", "", "wss://", "ws://[", "wss://x:99999"]
)
def test_no_other_relay_is_used(url: str) -> None:
    assert relay_objection(url) != ""


def test_a_plain_relay_elsewhere_is_used_where_a_person_says_so() -> None:
    assert relay_objection("ws://10.0.0.1:80", plain_allowed=True) == ""
    assert relay_objection("http://10.0.0.1:80", plain_allowed=True) != ""
