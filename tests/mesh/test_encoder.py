"""The n-gram encoder: deployed nodes' vectors, from letters and digits only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.encoder import KERNEL_NGRAM, ngram


def by_hand(tokens: dict[str, float]) -> list[float]:
    """Encode tokens by the definition, with the hash's arithmetic spelled out."""
    buckets = [0.0] * 64
    for token, weight in tokens.items():
        value = 2_166_136_261
        for byte in token.encode():
            value = ((value ^ byte) * 16_777_619) % 2**32
        signed = value - 2**32 if value >= 2**31 else value
        buckets[abs(signed) % 64] += weight if signed > 0 else -weight
    norm = sum(bucket * bucket for bucket in buckets) ** 0.5 or 1.0
    return [bucket / norm for bucket in buckets[:32]]


def test_the_kernel_has_its_deployed_name() -> None:
    assert KERNEL_NGRAM == "ngram-h32"


def test_a_text_is_its_words_their_trigrams_and_their_pairs() -> None:
    tokens = {"ab": 2.0, " ab": 1.0, "ab ": 1.0, "c": 2.0, " c ": 1.0, "ab_c": 1.5}
    assert ngram("ab c").tolist() == by_hand(tokens)


def test_pairs_are_of_neighbours() -> None:
    tokens = {"x": 2.0, " x ": 1.0, "y": 2.0, " y ": 1.0, "z": 2.0, " z ": 1.0}
    pairs = {"x_y": 1.5, "y_z": 1.5}
    assert ngram("x y z").tolist() == by_hand(tokens | pairs)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Ab,C!", "ab c"),
        ("  ab \t\n c ", "ab c"),
        ("naïve", "na ve"),
        ("a\U0001f6a6b", "a b"),
        ("\u212aelvin", "kelvin"),  # the Kelvin sign's lower case is an ASCII letter
        ("\u0130x", "i x"),  # the dotted capital I's is one, and a mark
        ("a_b", "a b"),
        ("\u0663", ""),  # digits of other scripts are none
    ],
)
def test_what_is_no_letter_or_digit_separates(text: str, same: str) -> None:
    assert ngram(text).tolist() == ngram(same).tolist()


@pytest.mark.parametrize("text", ["", "   ", "数据", "?!"])
def test_a_text_without_words_is_the_zero_vector(text: str) -> None:
    assert not ngram(text).any()


@given(st.text())
def test_any_text_has_32_finite_numbers_within_the_unit_ball(text: str) -> None:
    vector = ngram(text)
    assert (vector.shape, vector.dtype) == ((32,), np.dtype(np.float64))
    assert np.linalg.norm(vector) <= 1.0 + 1e-12


def test_a_long_text_is_encoded_as_a_short_one_is() -> None:
    word = "deadline "
    count = 2_049 // len(word) + 1
    assert len(word * count) > 2_048
    tokens = dict.fromkeys([" de", "dea", "ead", "adl", "dli", "lin", "ine", "ne "], 1.0 * count)
    tokens |= {"deadline": 2.0 * count, "deadline_deadline": 1.5 * (count - 1)}
    assert ngram(word * count).tolist() == by_hand(tokens)


def test_a_vector_cannot_be_changed_by_its_reader() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ngram("shared")[0] = 1.0
