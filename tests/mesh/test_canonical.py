"""The byte forms below addresses and signatures."""

from hashlib import sha256

import pytest
from helpers.records import KEY_A
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.canonical import (
    FIELDS,
    b64u,
    category_key,
    content_address,
    counted,
    is_key,
    lp,
    nfc,
    parents_commitment,
    unb64u,
)

TEXTS = {field: field * 2 for field in FIELDS}


def test_length_prefix_counts_bytes() -> None:
    assert lp("") == b"0:"
    assert lp("aé") == b"3:a\xc3\xa9"


def test_length_prefix_refuses_a_lone_surrogate() -> None:
    with pytest.raises(UnicodeEncodeError):
        lp("\ud800")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_refs_are_counted_and_in_the_order_of_their_bytes(refs: list[str]) -> None:
    ordered = sorted(refs, key=str.encode)
    assert counted(refs) == lp(str(len(refs))) + b"".join(lp(ref) for ref in ordered)


def test_nfc_composes_and_leaves_the_rest() -> None:
    assert nfc("e\u0301 ABC") == "\u00e9 ABC"


@given(st.binary(max_size=70))
def test_base64url_goes_there_and_back(data: bytes) -> None:
    assert unb64u(b64u(data), len(data)) == data
    assert not set(b64u(data)) & set("+/=")


@pytest.mark.parametrize("text", ["", "AQ==", "AQ", "AQI=", "AQJ", "+/8", "AQ I", "AQI\n", "é"])
def test_base64url_has_one_spelling(text: str) -> None:
    assert unb64u("AQI", 2) == b"\1\2"
    with pytest.raises(ValueError, match="base64url"):
        unb64u(text, 2)


@pytest.mark.parametrize(
    "text", ["", KEY_A[:-1], KEY_A + "a", KEY_A + "\n", KEY_A.upper(), "cmb1-" + "a" * 64]
)
def test_a_key_has_one_form(text: str) -> None:
    assert is_key(KEY_A)
    assert not is_key(text)


def test_the_address_is_a_tree_with_the_odd_leaf_promoted() -> None:
    def join(left: bytes, right: bytes) -> bytes:
        return sha256(b"\1" + left + right).digest()

    a, b, c, d, e, f, g = (
        sha256(b"\0" + category_key(field, TEXTS[field])).digest() for field in FIELDS
    )
    root = join(join(join(a, b), join(c, d)), join(join(e, f), g))
    assert content_address(TEXTS) == f"cmb-{root.hex()}"


@pytest.mark.parametrize("field", FIELDS)
def test_every_fields_text_is_in_the_address(field: str) -> None:
    assert content_address({**TEXTS, field: "other"}) != content_address(TEXTS)
    fewer = {name: text for name, text in TEXTS.items() if name != field}
    assert content_address(fewer) == content_address({**TEXTS, field: ""})


def test_the_same_text_has_another_key_in_another_field() -> None:
    assert category_key("focus", "x") != category_key("issue", "x")
    assert category_key("focus", "e\u0301") == category_key("focus", "\u00e9")


@pytest.mark.parametrize("field", FIELDS)
def test_every_fields_parents_are_in_the_commitment(field: str) -> None:
    assert parents_commitment({field: ["x"]}) != parents_commitment({})
    assert parents_commitment({field: []}) == parents_commitment({})
