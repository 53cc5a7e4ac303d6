"""The tether: drift of a remix from its anchor, and the signed statement of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.records import KEY_A, KEY_B, OTHER_PUBLIC_KEY, PUBLIC_KEY, SEED

from xmesh_mesh.errors import SignatureError
from xmesh_mesh.tether import (
    Attestation,
    attest,
    attestation_preimage,
    comparable,
    six_decimals,
    tether_drift,
    tether_verdict,
    verify_attestation,
)

EAST, NORTH, WEST = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0])
STATEMENT = Attestation(KEY_A, KEY_B, "ngram-h32", 0.25, "tethered", "n-1", 7)


def test_drift_goes_from_the_same_over_the_foreign_to_the_opposite() -> None:
    assert tether_drift({"focus": EAST}, {"focus": 3 * EAST}, {}) == 0.0
    assert tether_drift({"focus": EAST}, {"focus": NORTH}, {}) == 1.0
    assert tether_drift({"focus": EAST}, {"focus": WEST}, {}) == 2.0


def test_length_does_not_matter_to_the_angle() -> None:
    assert tether_drift({"focus": 2 * EAST}, {"focus": np.array([3.0, 4.0])}, {}) == 0.4


def test_fields_count_by_weight() -> None:
    remix, anchor = {"focus": EAST, "mood": EAST}, {"focus": EAST, "mood": NORTH}
    assert tether_drift(remix, anchor, {}) == 0.5
    assert tether_drift(remix, anchor, {"mood": 3.0, "focus": 0.0}) == 0.75


@pytest.mark.parametrize(
    "anchor",
    [{}, {"mood": EAST}, {"focus": np.zeros(2)}, {"focus": np.array([1.0, 0.0, 0.0])}],
)
def test_what_cannot_be_compared_is_unchecked_and_not_severed(anchor: dict[str, Any]) -> None:
    drift = tether_drift({"focus": EAST}, anchor, {})
    assert drift is None
    assert tether_verdict(drift) == "tethered"


def test_fields_that_cannot_be_compared_do_not_count() -> None:
    remix = {"focus": EAST, "mood": EAST, "issue": np.zeros(2)}
    anchor = {"focus": EAST, "intent": NORTH, "issue": NORTH}
    assert tether_drift(remix, anchor, {}) == 0.0


def test_more_than_one_half_severs() -> None:
    assert tether_verdict(0.5) == "tethered"
    assert tether_verdict(0.5000001) == "severed"


def test_rounding_never_makes_a_drift_negative() -> None:
    vector = np.array([0.1, 0.2, 0.3, 0.7])
    assert (tether_drift({"focus": vector}, {"focus": vector}, {}) or 0.0) >= 0.0


def test_a_signed_statement_verifies_with_its_authors_key_only() -> None:
    signed = attest(STATEMENT, SEED)
    assert replace(signed, sig=None) == STATEMENT
    verify_attestation(signed, PUBLIC_KEY)
    with pytest.raises(SignatureError) as error:
        verify_attestation(signed, OTHER_PUBLIC_KEY)
    assert error.value.code == "bad-signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"of": KEY_B},
        {"anchor": KEY_A},
        {"kernel_id": "other"},
        {"drift": 0.250001},
        {"verdict": "severed"},
        {"by": "n-2"},
        {"at_ms": 8},
        {"drift": float("nan")},
        {"drift": float("inf")},
    ],
    ids=repr,
)
def test_a_changed_statement_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureError) as error:
        verify_attestation(replace(attest(STATEMENT, SEED), **changes), PUBLIC_KEY)
    assert error.value.code == "bad-signature"


def test_an_unsigned_statement_is_refused_as_such() -> None:
    with pytest.raises(SignatureError) as error:
        verify_attestation(STATEMENT, PUBLIC_KEY)
    assert error.value.code == "unsigned"


def test_the_preimage_has_all_parts_length_prefixed() -> None:
    statement = replace(STATEMENT, of="o", anchor="a")
    expected = b"mmp-tether-v1\n1:o1:a9:ngram-h328:0.2500008:tethered3:n-11:7"
    assert attestation_preimage(statement) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.000000"),
        (-0.0, "0.000000"),
        (1.0, "1.000000"),
        (2, "2.000000"),
        (0.1234567, "0.123457"),
        (0.1234564, "0.123456"),
        (0.0078125, "0.007813"),  # an exact tie: up, where Python's own formatting goes to even
        (0.0000005, "0.000000"),  # just below the tie in binary
        (0.9999996, "1.000000"),
        (-0.25, "-0.250000"),
    ],
)
def test_drifts_are_written_as_javascript_does(number: float, text: str) -> None:
    assert six_decimals(number) == text


def test_drifts_of_different_kernels_are_not_comparable() -> None:
    assert comparable("ngram-h32", "ngram-h32")
    assert not comparable("ngram-h32", "minilm-l6-v2-h192")
