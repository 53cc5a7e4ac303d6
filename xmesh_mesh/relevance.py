"""How much of a message is about what a peer cares for: overlap of words, field by field.

The measure is lexical and says so: it knows no synonyms and no second language. It exists because
n-gram drift finds honest replies in other words foreign. Pure functions on text.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

_TOKEN = re.compile(r"[^\W_]+")
# Scripts that write no spaces are compared by pairs of characters.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")

_STOP = frozenset({
    "about", "above", "after", "again", "all", "also", "and", "any", "are", "because", "been",
    "before", "being", "below", "between", "both", "but", "can", "cannot", "could", "did",
    "does", "doing", "done", "down", "during", "each", "either", "else", "every", "few", "for",
    "from", "further", "get", "gets", "give", "given", "goes", "had", "has", "have", "having",
    "her", "here", "hers", "him", "his", "how", "into", "its", "itself", "just", "keep", "let",
    "like", "made", "make", "makes", "many", "may", "might", "more", "most", "much", "must",
    "need", "needs", "neither", "next", "nor", "not", "now", "off", "once", "one", "only",
    "other", "our", "ours", "out", "over", "own", "per", "please", "put", "same", "say", "says",
    "shall", "she", "should", "since", "some", "soon", "still", "such", "take", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "thing", "this", "those",
    "through", "too", "two", "under", "until", "upon", "use", "used", "uses", "very", "via",
    "want", "was", "way", "well", "were", "what", "when", "where", "which", "while", "who",
    "whom", "why", "will", "with", "within", "without", "would", "yes", "yet", "you", "your",
    "yours",
})  # fmt: skip

# The longest first; a stem keeps at least three letters.
_SUFFIXES = (
    "ifications", "ification", "izations", "ization", "ations", "ation", "ments", "ment", "ings",
    "ing", "iers", "ers", "ier", "er", "ies", "ied", "ions", "ion", "ors", "or", "ed", "es", "ly",
    "s", "e", "y",
)  # fmt: skip


_CACHED_CHARACTERS = 2_048  # longer texts are rare, and a cache full of them is large


def terms(text: str) -> frozenset[str]:
    """Return the stems of the words in ``text`` that carry meaning."""
    return _terms_cached(text) if len(text) <= _CACHED_CHARACTERS else _terms(text)


def _terms(text: str) -> frozenset[str]:
    folded = text.casefold() if text.isascii() else _without_marks(text)
    pairs = {pair for run in _UNSPACED.findall(folded) for pair in _pairs(run)}
    words = _TOKEN.findall(_UNSPACED.sub(" ", folded))
    return frozenset(_stem(word) for word in words if _carries_meaning(word)) | pairs


_terms_cached = lru_cache(maxsize=4_096)(_terms)


def _without_marks(text: str) -> str:
    """Drop accents, vowel signs and joiners: a pattern's word ends at them, a reader's does not."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    kept = (char for char in apart if unicodedata.category(char) not in {"Mn", "Mc", "Cf"})
    return unicodedata.normalize("NFC", "".join(kept))


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(max(1, len(run) - 1))]


def _carries_meaning(word: str) -> bool:
    return word not in _STOP and (len(word) > 2 or not word.isascii()) and not word.isdigit()


@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def terms_of(texts: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(terms(text) for text in texts))


def words_with(texts: Iterable[str], stems: frozenset[str]) -> list[str]:
    """Return the words of ``texts`` whose stems are in ``stems``, one for each stem."""
    found: dict[str, str] = {}
    for text in texts:
        for word in _TOKEN.findall(text):
            for stem in terms(word) & stems:
                found.setdefault(stem, word.casefold())
    return list(dict.fromkeys(found.values()))


def affinity(
    spoken: Mapping[str, str], interest: frozenset[str], weights: Mapping[str, float]
) -> tuple[float, dict[str, float], frozenset[str]]:
    """Return (overall, per field, the shared stems), each measure between 0 and 1.

    A field's measure is shared stems over the square root of all its stems, at most 1: one shared
    word says much in a short sentence and little in a long one. The overall measure is their mean
    under ``weights`` (missing ones are 1), over the fields that say anything.
    """
    per_field: dict[str, float] = {}
    shared: set[str] = set()
    for field, text in spoken.items():
        stems = terms(text)
        if stems:
            common = stems & interest
            shared |= common
            per_field[field] = min(1.0, len(common) / len(stems) ** 0.5)
    total = sum(weights.get(field, 1.0) for field in per_field)
    if total <= 0:
        return 0.0, per_field, frozenset(shared)
    mean = sum(weights.get(field, 1.0) * value for field, value in per_field.items()) / total
    return mean, per_field, frozenset(shared)
