"""Introductions: a node's signed word about itself."""

from typing import Any

import msgspec
import pytest
from helpers.records import OTHER_SEED, PUBLIC_KEY, SEED
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import RecordError, SignatureError
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import Introduction, check_introduction, introduce

NODE = "01930f1e-0000-7000-8000-00000000beef"


def made(node_id: str = NODE, name: str = "writer-01", **changes: Any) -> Introduction:
    """Return an introduction whose values were so when it was signed."""
    identity = Identity(node_id, name, PUBLIC_KEY, SEED, 1)
    arguments = {"implementation": "xmesh/0", "now_ms": 5, "group": "lab", **changes}
    return introduce(identity, arguments.pop("group"), **arguments)


def refusal(intro: Introduction) -> RecordError:
    with pytest.raises(RecordError) as error:
        check_introduction(intro)
    return error.value


def test_it_says_who_where_and_since_when() -> None:
    intro = made()
    assert (intro.node_id, intro.name, intro.group) == (NODE, "writer-01", "lab")
    assert (intro.implementation, intro.origin, intro.issued_ms) == ("xmesh/0", "local", 5)
    assert intro.public_key == b64u(PUBLIC_KEY)
    assert made(origin="remote").origin == "remote"


def test_a_true_one_gives_the_key() -> None:
    assert check_introduction(made()) == PUBLIC_KEY


def test_it_survives_the_wire() -> None:
    data = msgspec.msgpack.encode(made())
    assert check_introduction(msgspec.msgpack.decode(data, type=Introduction)) == PUBLIC_KEY


@pytest.mark.parametrize(
    "changes",
    [
        {"node_id": NODE[:-1] + "0"},
        {"name": "writer-02"},
        {"group": "other"},
        {"implementation": "xmesh/1"},
        {"origin": "remote"},
        {"issued_ms": 6},
        {"public_key": b64u(bytes(32))},
        {"sig": ""},
        {"sig": "é"},
    ],
    ids=repr,
)
def test_a_changed_one_is_refused(changes: dict[str, Any]) -> None:
    error = refusal(msgspec.structs.replace(made(), **changes))
    assert isinstance(error, SignatureError)
    assert error.code == "bad-signature"


def test_one_signed_by_somebody_else_is_refused() -> None:
    forged = introduce(
        Identity(NODE, "writer-01", PUBLIC_KEY, OTHER_SEED, 1),
        "lab",
        implementation="xmesh/0",
        now_ms=5,
    )
    assert refusal(forged).code == "bad-signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"node_id": "writer-01"},
        {"node_id": NODE.upper()},
        {"node_id": NODE + "\n"},
        {"name": ""},
        {"name": "x" * 65},
        {"name": "é" * 32 + "x"},
        {"name": "a\nb"},
        {"name": "a\x85b"},
        {"name": "a\x7f"},
        {"group": ""},
        {"group": "Lab"},
        {"group": "a--b"},
        {"implementation": "x" * 129},
        {"now_ms": -1},
        {"now_ms": 2**53},
    ],
    ids=repr,
)
def test_values_that_no_node_has_are_refused(changes: dict[str, Any]) -> None:
    error = refusal(made(**changes))
    assert error.code == "malformed"
    assert not isinstance(error, SignatureError)


@pytest.mark.parametrize(
    "changes",
    [
        {"node_id": "01930f1e-0000-4000-8000-00000000beef"},
        {"name": "x"},
        {"name": "é" * 32},
        {"name": "Ada's desk"},
        {"implementation": "x" * 128},
        {"implementation": ""},
        {"now_ms": 0},
        {"now_ms": 2**53 - 1},
    ],
    ids=repr,
)
def test_values_at_the_bounds_are_taken(changes: dict[str, Any]) -> None:
    assert check_introduction(made(**changes)) == PUBLIC_KEY


@pytest.mark.parametrize("public_key", ["", "AA", b64u(PUBLIC_KEY) + "=", b64u(bytes(33))])
def test_what_is_no_key_is_malformed(public_key: str) -> None:
    assert refusal(msgspec.structs.replace(made(), public_key=public_key)).code == "malformed"


@pytest.mark.parametrize("field", ["node_id", "name", "group", "implementation"])
def test_a_lone_surrogate_is_malformed(field: str) -> None:
    assert refusal(msgspec.structs.replace(made(), **{field: "\ud800"})).code == "malformed"


@given(st.builds(Introduction, *[st.text()] * 5, st.just("local"), st.integers(), st.text()))
def test_any_values_are_refused_with_the_documented_error(intro: Introduction) -> None:
    refusal(intro)
