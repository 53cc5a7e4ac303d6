"""A plan is read whole or refused; a relay beyond this host is reached by TLS only."""

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.gateway.plan import PeerPlan, read_plan, relay_objection

ROW = {"name": "alice", "group": "lab"}


def test_what_is_left_out_has_a_default() -> None:
    plan = read_plan({"cmd": "plan", "peers": [ROW]})
    assert plan == {"alice": PeerPlan(name="alice", group="lab")}
    assert (plan["alice"].lan, plan["alice"].trust) == (True, "tofu")


@pytest.mark.parametrize(
    "peers",
    [
        None,
        [{}],
        [ROW, ROW],
        [ROW | {"trust": "blind"}],
        [ROW | {"group": "No Group"}],
        [ROW | {"name": "../alice"}],
        [ROW | {"lan": "yes"}],
        [ROW | {"name": f"p{number}"} for number in range(300)],
    ],
)
def test_what_is_no_plan_is_refused(peers: object) -> None:
    with pytest.raises(ConfigError):
        read_plan({"cmd": "plan", "peers": peers})


@pytest.mark.parametrize(
    "url", ["wss://relay.example", "ws://127.0.0.1:8080", "ws://localhost:1/x", "ws://[::1]:80"]
)
def test_a_relay_by_tls_or_on_this_host_is_used(url: str) -> None:
    assert relay_objection(url, plain_allowed=False) == ""


@pytest.mark.parametrize(
    "url", ["ws://10.0.0.1:80", "http://localhost", "", "wss://", "ws://[", "wss://x:99999"]
)
def test_no_other_relay_is_used(url: str) -> None:
    assert relay_objection(url, plain_allowed=False) != ""


def test_a_plain_relay_elsewhere_is_used_where_a_person_says_so() -> None:
    assert relay_objection("ws://10.0.0.1:80", plain_allowed=True) == ""
    assert relay_objection("http://10.0.0.1:80", plain_allowed=True) != ""
