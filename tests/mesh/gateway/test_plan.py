"""A plan is read whole or refused."""

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.gateway.plan import PeerPlan, read_plan

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
