"""What one text shows on its surface."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.judging.cues import cues


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a hold of eight minutes", {8.0, 480.0}), ("480 seconds", {480.0}),
        ("a dozen chairs", {12.0}), ("at 14:30", {14.3}), ("340,000 in all", {340_000.0}),
        ("7,5 metres", {7.5}), ("no number", set()), ("1.2.3", {123.0}),
    ],
)  # fmt: skip
def test_quantities_are_read_in_words_and_digits(text: str, numbers: set[float]) -> None:
    assert cues(text).numbers == numbers


def test_numbers_in_digits_are_told_apart_from_those_in_words() -> None:
    found = cues("eight of 30 seats")
    assert (found.numbers, found.digits) == ({8.0, 30.0}, {30.0})


def test_names_do_not_begin_sentences() -> None:
    assert cues("The lease of Mrs Poppinga. Today: Hinrichs signs").names == {
        "mrs", "poppinga",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["it does not start", "it won't start", "er kommt nicht"])
def test_negation_is_seen(text: str) -> None:
    assert cues(text).negated
    assert not cues("it starts").negated


def test_languages_are_told_by_their_commonest_words() -> None:
    assert cues("the hold of the seat is on").language == "en"
    assert cues("der Platz ist nicht frei und wird gesperrt").language == "de"
    assert cues("zzz").language == ""


@given(st.text())
def test_any_text_has_cues(text: str) -> None:
    found = cues(text)
    assert found.words >= 0
    assert found.digits <= found.numbers
