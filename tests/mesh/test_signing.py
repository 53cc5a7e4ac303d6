"""Signatures: what they bind, what they do not, and how each lie is refused."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from helpers.records import (
    KEY_A,
    KEY_B,
    OTHER_PUBLIC_KEY,
    PUBLIC_KEY,
    SEED,
    TEXTS,
    record,
    records,
)
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import RecordError, SignatureError
from xmesh_mesh.record import SUITE, SUITE_PUBLISHED, Application, Category, Record, decode, encode
from xmesh_mesh.signing import (
    assertion_id,
    sign,
    sign_bytes,
    signing_preimage,
    verify,
    verify_bytes,
)

APPLICATION = Application(
    "text/plain", "a-schema", 5, f"sha256-{sha256(b'hello').hexdigest()}", b64u(b"hello")
)
SUITES = [SUITE, SUITE_PUBLISHED]


def signed(suite: str = SUITE) -> Record:
    node = "n-1" if suite == SUITE_PUBLISHED else None
    made = record(parents=[KEY_B, KEY_A], category_parents={"mood": [KEY_A]}, valence=0.5)
    return sign(replace(made, suite=suite, created_by_node_id=node), SEED)


def refusal(made: Record, public_key: bytes = PUBLIC_KEY) -> str:
    with pytest.raises(SignatureError) as error:
        verify(made, public_key)
    return error.value.code


def with_text(made: Record, field: str, text: str) -> Record:
    return replace(made, categories={**made.categories, field: Category(text)})


@pytest.mark.parametrize("suite", SUITES)
def test_a_signed_record_verifies_with_its_authors_key_only(suite: str) -> None:
    verify(signed(suite), PUBLIC_KEY)
    assert refusal(signed(suite), OTHER_PUBLIC_KEY) == "bad-signature"


def test_signing_changes_the_signature_only() -> None:
    made = record()
    assert replace(sign(made, SEED), sig=None) == made


CHANGES: dict[str, Callable[[Record], Record]] = {
    "key": lambda r: replace(r, key=KEY_A),
    "author": lambda r: replace(r, created_by="writer-02"),
    "time": lambda r: replace(r, created_ms=r.created_ms + 1),
    "room": lambda r: replace(r, group="other"),
    "no room": lambda r: replace(r, group=None),
    "recipient": lambda r: replace(r, to="n-2"),
    "a parent less": lambda r: replace(r, parents=(KEY_B,)),
    "a parent twice": lambda r: replace(r, parents=(KEY_B, KEY_A, KEY_A)),
    "a field's parents": lambda r: with_text(r, "mood", TEXTS["mood"]),
}


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_bound_cannot_be_changed(change: Callable[[Record], Record], suite: str) -> None:
    assert refusal(change(signed(suite))) == "bad-signature"
    assert assertion_id(change(signed(suite))) != assertion_id(signed(suite))


def test_the_suite_itself_is_bound() -> None:
    other = replace(signed(SUITE), suite=SUITE_PUBLISHED, created_by_node_id="n-1")
    assert refusal(other) == "bad-signature"


def test_the_published_suite_binds_node_and_payload() -> None:
    made = sign(replace(signed(SUITE_PUBLISHED), application=APPLICATION), SEED)
    verify(made, PUBLIC_KEY)
    assert refusal(replace(made, created_by_node_id="n-2")) == "bad-signature"
    assert refusal(replace(made, application=None)) == "bad-signature"
    for change in (
        {"media_type": "text/html"},
        {"schema": "b"},
        {"byte_length": 6},
        {"digest": "sha256-" + "0" * 64},
    ):
        changed = replace(APPLICATION, **change)
        assert refusal(replace(made, application=changed)) == "bad-signature"


@pytest.mark.parametrize("data", [b64u(b"hallo"), b64u(b"hell"), "?", ""])
def test_a_payload_that_is_not_the_described_one_is_refused(data: str) -> None:
    made = sign(replace(signed(SUITE_PUBLISHED), application=APPLICATION), SEED)
    changed = replace(made, application=replace(APPLICATION, data=data))
    assert refusal(changed) == "content-mismatch"
    verify(replace(made, application=replace(APPLICATION, data=None)), PUBLIC_KEY)


def test_mood_numbers_and_method_are_not_bound() -> None:
    made = signed()
    mood = replace(made.categories["mood"], valence=-1.0, arousal=None)
    changed = replace(made, method="other", categories={**made.categories, "mood": mood})
    verify(changed, PUBLIC_KEY)
    assert assertion_id(changed) == assertion_id(made)


def test_words_that_are_not_the_addresss_are_refused() -> None:
    assert refusal(with_text(signed(), "focus", "forged")) == "content-mismatch"
    fewer = {f: c for f, c in signed().categories.items() if f != "focus"}
    assert refusal(replace(signed(), categories=fewer)) == "content-mismatch"


def test_an_unsigned_record_is_refused_as_such() -> None:
    assert refusal(record()) == "unsigned"
    assert refusal(replace(record(), key="cmb1-x")) == "unsigned"


@pytest.mark.parametrize("key", ["cmb1-" + "a" * 64, "a" * 32, KEY_A.upper(), KEY_A + "0", ""])
def test_a_signed_record_under_a_retired_address_is_refused_as_such(key: str) -> None:
    assert refusal(sign(replace(record(), key=key), SEED)) == "legacy-key-rejected"


@pytest.mark.parametrize("tail", ["", "A=", "AA", "é", "A\n", "+"])
def test_a_garbled_signature_is_a_bad_one(tail: str) -> None:
    made = signed()
    assert refusal(replace(made, sig=(made.sig or "")[:-1] + tail)) == "bad-signature"


def test_a_signature_has_one_spelling() -> None:
    # 64 bytes leave four unused bits in the last of 86 characters.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    made = signed()
    sig = made.sig or ""
    for low in range(1, 16):
        spelled = sig[:-1] + alphabet[alphabet.index(sig[-1]) + low]
        assert refusal(replace(made, sig=spelled)) == "bad-signature"


@pytest.mark.parametrize("public_key", [b"", PUBLIC_KEY[:-1], PUBLIC_KEY + b"\0", bytes(32)])
def test_what_is_no_public_key_verifies_nothing(public_key: bytes) -> None:
    assert refusal(signed(), public_key) == "bad-signature"


def test_an_absent_room_is_empty_in_one_suite_and_a_word_in_the_other() -> None:
    deployed = replace(signed(SUITE), group=None)
    assert signing_preimage(deployed) == signing_preimage(replace(deployed, group=""))
    published = replace(signed(SUITE_PUBLISHED), group=None)
    assert signing_preimage(published) == signing_preimage(replace(published, group="null"))


def test_the_order_of_parents_does_not_matter_to_the_preimage() -> None:
    one = record(parents=[KEY_A, KEY_B], category_parents={"focus": ["é", "z", "\U0001f6a6"]})
    two = record(parents=[KEY_B, KEY_A], category_parents={"focus": ["\U0001f6a6", "z", "é"]})
    assert signing_preimage(one) == signing_preimage(two)


def test_composed_and_decomposed_text_are_the_same_assertion() -> None:
    one = record(
        texts={"focus": "caf\u00e9"}, created_by="Ang\u00e9le", group="\u00e9", to="\u00e9"
    )
    two = record(
        texts={"focus": "cafe\u0301"}, created_by="Ange\u0301le", group="e\u0301", to="e\u0301"
    )
    assert one != two
    assert assertion_id(one) == assertion_id(two)
    verify(replace(two, sig=sign(one, SEED).sig), PUBLIC_KEY)


def test_the_assertion_is_the_hash_of_the_preimage() -> None:
    made = signed()
    assert assertion_id(made) == sha256(signing_preimage(made)).hexdigest()


@given(records())
def test_any_record_verifies_after_a_journey(made: Record) -> None:
    verify(decode(encode(sign(made, SEED))), PUBLIC_KEY)


@given(st.integers(min_value=0), st.sampled_from(SUITES))
def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_bound(bit: int, suite: str) -> None:
    made = signed(suite)
    damaged = bytearray(encode(made))
    damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    try:
        read = decode(bytes(damaged))
        verify(read, PUBLIC_KEY)
    except RecordError:
        return
    assert assertion_id(read) == assertion_id(made)
    assert read.texts() == made.texts()


def test_bytes_can_be_signed_and_verified_by_themselves() -> None:
    signature = sign_bytes(b"a proof", SEED)
    assert len(signature) == 64
    verify_bytes(b"a proof", b64u(signature), PUBLIC_KEY)
    with pytest.raises(SignatureError):
        verify_bytes(b"a proof!", b64u(signature), PUBLIC_KEY)
