"""Statements of nodes: one text each, verified with the key of who made them."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from xmesh_mesh.errors import SignatureError
from xmesh_mesh.wire.attestation import (
    Attestation,
    Checkpoint,
    attest,
    checkpoint_root,
    verify_statement,
)

NODE = "01930f1e-0000-7000-8000-00000000000a"
VALUE: dict[str, Any] = {
    "of": "cmb-" + "a" * 64,
    "by": NODE,
    "at": 1,
    "roster": "lab",
    "method": "heuristic",
    "verdict": "aligned",
    "categories": {"focus": "admit"},
    "role": "participant",
    "seq": 1,
    "prev": "genesis",
}


@pytest.fixture
def signed(alice: Any) -> Attestation:
    return attest(msgspec.convert(VALUE, Attestation), alice.seed)


def code_of(statement: Attestation, key: bytes) -> str:
    with pytest.raises(SignatureError) as refused:
        verify_statement(statement, key)
    return refused.value.code


def test_who_signed_it_and_nobody_else(signed: Attestation, alice: Any, bob: Any) -> None:
    verify_statement(signed, alice.own.public_key)
    assert code_of(signed, bob.own.public_key) == "bad-signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"of": "cmb-" + "b" * 64},
        {"by": NODE[:-1] + "b"},
        {"at": 2},
        {"roster": None},
        {"verdict": "rejected"},
        {"categories": {"focus": "reject"}},
        {"categories": {"focus": "admit", "mood": "admit"}},
        {"role": "anchor"},
        {"seq": 2},
        {"prev": "x"},
    ],
)
def test_everything_but_the_method_is_signed(
    signed: Attestation, alice: Any, changes: dict[str, Any]
) -> None:
    assert code_of(replace(signed, **changes), alice.own.public_key) == "bad-signature"
    verify_statement(replace(signed, method="other"), alice.own.public_key)


@pytest.mark.parametrize("changes", [{"sig": None}, {"sig_alg": None}, {"sig_alg": "none"}])
def test_what_is_not_signed_is_named_as_that(
    signed: Attestation, alice: Any, changes: dict[str, Any]
) -> None:
    assert code_of(replace(signed, **changes), alice.own.public_key) == "unsigned"


@pytest.mark.parametrize(
    "changes",
    [
        {"roster": "a|b"},
        {"role": "a|b"},
        {"prev": "a|b"},
        {"prev": "a,b"},
        {"of": "cmb-x"},
        {"by": "x"},
        {"verdict": "perhaps"},
        {"categories": {"focus": "a,issue:b"}},
        {"categories": {str(i): "admit" for i in range(33)}},
        {"seq": -1},
        {"at": 2**53},
    ],
)
def test_no_value_can_pretend_to_be_two(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(VALUE | changes, Attestation)


def test_a_checkpoint_says_its_kind_in_its_text() -> None:
    checkpoint = Checkpoint(by=NODE, upto_seq=3, root="a" * 64, at=1)
    assert checkpoint.text() == f"checkpoint|{NODE}||3|{'a' * 64}|1"


def test_an_empty_chain_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one"):
        checkpoint_root([])
