"""Words that matter, their stems, and how much of a text is about what a peer cares for."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh import relevance
from xmesh_mesh.relevance import affinity, terms, terms_of, words_with


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("test tests tested testing tester testers", "test"),
        ("specify specifies specified specifiers", "specif"),
        ("specifications specification", "spec"),
        ("authorize", "authoriz"),
        ("authorization authorizations", "author"),
        ("migrations migration", "migr"),
        ("deployment deployments deploy", "deplo"),
        ("review reviews reviewed reviewer reviewing", "review"),
        ("editor editors", "edit"),
        ("quickly quick", "quick"),
        ("carriers carrier carries carried", "carr"),
        ("actions action", "act"),
        ("boxes", "box"),
        ("api API Api", "api"),
        ("caf\u00e9 cafe\u0301 CAF\u00c9", "caf"),
    ],
)
def test_forms_of_a_word_have_one_stem(words: str, stem: str) -> None:
    if stem == "deplo":
        assert terms("deployment deployments") == {"deploy"}
        assert terms("deploy") == {"deplo"}
        return
    assert {term for word in words.split() for term in terms(word)} == {stem}


@pytest.mark.parametrize(("word", "stem"), [("uses", None), ("eyed", "eyed"), ("ring", "ring"),
    ("string", "str"), ("bees", "bee"), ("seed", "seed"), ("added", "add")])  # fmt: skip
def test_a_stem_keeps_three_letters(word: str, stem: str | None) -> None:
    assert terms(word) == (frozenset() if stem is None else {stem})


def test_each_suffix_is_taken_off_longest_first() -> None:
    for suffix in relevance._SUFFIXES:
        assert terms(f"qwx{suffix}") == {"qwx"}, suffix
    assert list(relevance._SUFFIXES) == [
        "ifications", "ification", "izations", "ization", "ations", "ation", "ments", "ment",
        "ings", "ing", "iers", "ers", "ier", "er", "ies", "ied", "ions", "ion", "ors", "or", "ed",
        "es", "ly", "s", "e", "y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "  ", "the and of WITH You please", "a go ok c", "42 2026", "-- !? __", "\u2028"]
)
def test_stop_words_short_words_and_numbers_carry_no_meaning(text: str) -> None:
    assert terms(text) == frozenset()


# Words of grammar: they stand in messages of every trade.
GRAMMAR = """
    about above after again all also and any are because been before being below between both
    but can cannot could did does doing done down during each either else every few for from
    further get gets give given goes had has have having her here hers him his how into its
    itself just keep let like made make makes many may might more most much must need needs
    neither next nor not now off once one only other our ours out over own per please put same
    say says shall she should since some soon still such take than that the their them then
    there these they thing this those through too two under until upon use used uses very via
    want was way well were what when where which while who whom why will with within without
    would yes yet you your yours
"""


@pytest.mark.parametrize("word", GRAMMAR.split())
def test_a_word_of_grammar_carries_no_meaning(word: str) -> None:
    assert terms(f"{word} {word.upper()}") == frozenset()


def test_three_letters_are_a_word_and_digits_may_be_part_of_one() -> None:
    assert terms("ab abc x509 3rd") == {"abc", "x509", "3rd"}


def test_words_end_at_punctuation_and_underscores() -> None:
    assert terms("rate_limit:/api/login,cache-key") == {
        "rat",
        "limit",
        "api",
        "login",
        "cach",
        "key",
    }


def test_scripts_without_spaces_are_compared_by_pairs() -> None:
    assert terms("\u8a2d\u8a08\u66f8") == {"\u8a2d\u8a08", "\u8a08\u66f8"}
    assert terms("API\u8a2d\u8a08 test") == {"api", "\u8a2d\u8a08", "test"}
    assert terms("\u6c34") == {"\u6c34"}
    assert terms("\u30c6\u30b9\u30c8") == {"\u30c6\u30b9", "\u30b9\u30c8"}
    assert terms("\u3046\u306a\u304e") == {"\u3046\u306a", "\u306a\u304d"}
    assert terms("\u0e01\u0e02\u0e04") == {"\u0e01\u0e02", "\u0e02\u0e04"}
    assert terms("\uff21\uff30\uff29") == {"api"}


def test_words_of_other_scripts_are_whole_words_even_with_vowel_signs() -> None:
    hindi = terms("\u092a\u0930\u0940\u0915\u094d\u0937\u0923 \u0932\u093f\u0916\u0947\u0902")
    assert len(hindi) == 2
    assert not hindi & terms("\u0915\u094d\u0937\u092e\u093e \u092a\u0930 \u0937\u0923")
    assert terms("\u0442\u0435\u0441\u0442\u044b \u0422\u0415\u0421\u0422\u042b") == {
        "\u0442\u0435\u0441\u0442\u044b"
    }
    assert terms("\u044f") == {"\u044f"}
    assert len(terms("\ud14c\uc2a4\ud2b8 \uc791\uc131")) == 2
    assert terms("\u0645\u064f\u062d\u064e") == terms("\u0645\u062d")


def test_long_texts_are_read_alike_in_linear_time_and_not_kept() -> None:
    assert terms("x " * 2_000 + "login") == {"login"}
    relevance._terms_cached.cache_clear()
    assert terms("x" * 2_049) == {"x" * 2_049}
    assert relevance._terms_cached.cache_info().currsize == 0
    assert terms("x" * 2_048) == {"x" * 2_048}
    assert relevance._terms_cached.cache_info().currsize == 1
    start = time.process_time()
    for text in ("a" * 65_536, "\u8a2d" * 21_845, " " * 65_536, "e\u0301" * 21_845, "_" * 65_536):
        terms(text)
    assert time.process_time() - start < 2


@given(st.text())
def test_any_text_has_terms_and_case_makes_no_difference(text: str) -> None:
    assert all(term for term in terms(text))
    assert terms(text.upper().casefold()) == terms(text.upper())


def test_terms_of_several_texts_are_all_of_theirs() -> None:
    assert terms_of(["login limits", "cache"]) == {"login", "limit", "cach"}
    assert terms_of([]) == frozenset()


# How much of a text is about what a peer cares for


def test_a_field_measures_shared_stems_over_the_root_of_all_its_stems() -> None:
    interest = terms("login cache")
    measure, per_field, shared = affinity({"focus": "login alpha beta gamma"}, interest, {})
    assert per_field == {"focus": 0.5}
    assert measure == 0.5
    assert shared == {"login"}
    _, per_field, _ = affinity({"focus": "login cache alpha beta gamma delta eta"}, interest, {})
    assert per_field["focus"] == pytest.approx(2 / math.sqrt(7))


def test_a_field_measures_one_at_most() -> None:
    measure, per_field, shared = affinity({"focus": "login cache"}, terms("login cache"), {})
    assert (measure, per_field, shared) == (
        1.0, {"focus": 1.0}, frozenset({"login", "cach"})
    )  # fmt: skip


def test_fields_are_averaged_by_weight_and_a_missing_weight_is_one() -> None:
    spoken = {"focus": "login", "issue": "bread", "mood": "the"}
    interest = terms("login")
    assert affinity(spoken, interest, {})[:2] == (0.5, {"focus": 1.0, "issue": 0.0})
    assert affinity(spoken, interest, {"focus": 3.0})[0] == 0.75
    assert affinity(spoken, interest, {"issue": 3.0})[0] == 0.25
    assert affinity(spoken, interest, {"focus": 0.0})[0] == 0.0
    assert affinity(spoken, interest, {"issue": 0.0})[0] == 1.0
    assert affinity(spoken, interest, {"mood": 9.0})[0] == 0.5


@pytest.mark.parametrize(
    ("spoken", "weights", "shared"),
    [
        ({}, {}, set()),
        ({"focus": "the"}, {}, set()),
        ({"focus": "login"}, {"focus": 0.0}, {"login"}),
    ],
)
def test_nothing_that_counts_measures_nothing(
    spoken: dict[str, str], weights: dict[str, float], shared: set[str]
) -> None:
    measure, _, found = affinity(spoken, terms("login"), weights)
    assert measure == 0.0
    assert found == shared


def test_no_interest_shares_nothing() -> None:
    assert affinity({"focus": "login"}, frozenset(), {}) == (0.0, {"focus": 0.0}, frozenset())


@given(
    st.dictionaries(st.sampled_from(["focus", "issue", "mood"]), st.text()),
    st.text(),
    st.dictionaries(st.sampled_from(["focus", "issue"]), st.floats(0, 1000)),
)
def test_a_measure_is_between_zero_and_one(
    spoken: dict[str, str], interest: str, weights: dict[str, float]
) -> None:
    measure, per_field, shared = affinity(spoken, terms(interest), weights)
    assert 0 <= measure <= 1 + 1e-9
    assert all(0 <= value <= 1 for value in per_field.values())
    assert shared <= terms(interest)


def test_shared_words_are_shown_as_they_were_written_and_once() -> None:
    texts = ["Reviews the reviewed login", "a login of two"]
    assert words_with(texts, terms("review login")) == ["reviews", "login"]
    assert words_with(texts, frozenset()) == []
