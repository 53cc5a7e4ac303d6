"""What one text shows on its surface: quantities, names, negation, decisions, restating.

Pure functions on text, in English with the commonest words of six neighbours. They know no
grammar; each is one hint among many, weighed by the calibration.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from xmesh_mesh.relevance import terms

__all__ = ["Cues", "cues"]

_CACHED_CHARACTERS = 2_048
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;]\s+)[\"'(]*$")


def _any(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


_NEGATION = _any(
    "not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot",
    r"\w+n['\u2019]t", r"refus\w+", r"cancel\w*", r"reject\w*", "nicht", r"kein\w*", "nie", "ohne",
    "pas", r"aucun\w*", "jamais", "sans", "non", "senza", "niet", "geen", "sin", "nunca", "bez",
)  # fmt: skip
_CHANGE = _any(
    "now", "instead", "but", "only", "already", "moved?", "moves", "changed?", "changes", "new",
    "another", "because", "since", "found", "says?", "said", "today", "yesterday", "tonight",
    "wants?", "asks?", "asked", "must", "needs?", "take", "make", "add", "use", "however",
    "except", "will", "broke", "broken", "failed", "fails", "missing", "wrong", "approved",
    "decided", "agreed to", "done", "jetzt", "statt", "aber", "neu", "maintenant", "mais",
)  # fmt: skip
_RESTATING = _any(
    "so", "thus", "hence", "therefore", "that is", "i\\.e", "in other words", "as said", "again",
    "as you say", "means", "still", "also", "donc", "daher", "quindi", "dus",
)  # fmt: skip
_DELIVERING = _any(
    "here (?:is|are)", "done", "ready", "finished", "completed?", "attached", "drafted", "written",
    "fixed", "repaired", "built", "merged", "deployed", "delivered", "sent", "tested", "checked",
    "reviewed", "approved", "signed", "ordered", "booked", "paid", "installed", "arrived",
    "declined?", r"refus\w+", "cannot", "can't", "fertig", "erledigt", "termin\u00e9e?s?", "fait",
    "hecho", "listo", "fatto", "pronto", "klaar", "gotowe",
)  # fmt: skip
_COURTESY = _any(
    "thanks?", "thank you", "noted", "agreed?", "ok(?:ay)?", "good", "great", "nice", "fine",
    "understood", "right", "true", "merci", "danke", "gracias", "grazie", "dank",
)  # fmt: skip

_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "hundred": 100, "thousand": 1000, "dozen": 12, "first": 1, "second": 2,
    "third": 3, "fourth": 4, "fifth": 5, "twice": 2, "double": 2, "both": 2,
}  # fmt: skip
_UNITS = {
    "second": 1.0, "sec": 1.0, "s": 1.0, "minute": 60.0, "min": 60.0, "hour": 3600.0, "h": 3600.0,
    "day": 86_400.0, "week": 604_800.0, "fortnight": 1_209_600.0,
}  # fmt: skip
_COMMON = {
    "en": ("the", "of", "and", "is", "are", "to", "in", "has", "for", "with", "on", "that", "at"),
    "de": ("der", "die", "das", "und", "ist", "nicht", "ein", "eine", "den", "im", "auf", "wird"),
    "fr": ("le", "la", "les", "des", "est", "une", "un", "du", "pas", "dans", "sur", "et", "qui"),
    "es": ("el", "los", "las", "es", "una", "del", "con", "por", "para", "que", "ya", "y", "se"),
    "it": ("il", "gli", "della", "che", "una", "per", "con", "sono", "di", "ha", "non", "alle"),
    "nl": ("het", "een", "van", "de", "niet", "er", "zijn", "op", "voor", "naar", "met", "wordt"),
    "pl": ("nie", "jest", "na", "w", "z", "do", "si\u0119", "od", "po", "za", "przed", "ju\u017c"),
}  # fmt: skip
_LANGUAGE_OF = {word: name for name, words in _COMMON.items() for word in words}


@dataclass(frozen=True, slots=True)
class Cues:
    """``stems`` carry meaning. ``numbers`` and ``names`` are what a paraphrase would keep;
    ``digits`` are the numbers that are written in digits."""

    words: int
    stems: frozenset[str]
    numbers: frozenset[float]
    digits: frozenset[float]
    names: frozenset[str]
    negated: bool
    change: int
    delivering: int
    restating: int
    courtesy: int
    question: bool
    language: str


def cues(text: str) -> Cues:
    return _cached(text) if len(text) <= _CACHED_CHARACTERS else _cues(text)


def _cues(text: str) -> Cues:
    words = _WORD.findall(text)
    return Cues(
        words=len(words),
        stems=terms(text),
        numbers=_numbers(words),
        digits=_numbers(words, spelled=False),
        names=_names(text),
        negated=bool(_NEGATION.search(text)),
        change=len(_CHANGE.findall(text)),
        delivering=len(_DELIVERING.findall(text)),
        restating=len(_RESTATING.findall(text)),
        courtesy=len(_COURTESY.findall(text)),
        question="?" in text,
        language=_language(words),
    )


_cached = lru_cache(maxsize=512)(_cues)


def _numbers(words: list[str], *, spelled: bool = True) -> frozenset[float]:
    """Return every quantity (without ``spelled`` only those in digits).

    A duration counts in seconds too, so that 8 minutes are 480 seconds.
    """
    found: set[float] = set()
    for index, word in enumerate(words):
        value = _value(word)
        if value is None or not (spelled or word[0].isdecimal()):
            continue
        found.add(value)
        unit = words[index + 1].lower().rstrip("s") if index + 1 < len(words) else ""
        if unit in _UNITS:
            found.add(value * _UNITS[unit])
    return frozenset(found)


def _value(word: str) -> float | None:
    if not word[0].isdecimal():
        return float(_NUMBERS[word.lower()]) if word.lower() in _NUMBERS else None
    plain = word.replace(":", ".").replace(",", "" if len(word.rpartition(",")[2]) == 3 else ".")
    try:
        return float(plain)
    except ValueError:
        return float(plain.replace(".", "")[:15])


def _names(text: str) -> frozenset[str]:
    """Return capitalised words that do not begin a sentence; they name somebody or something."""
    return frozenset(
        match.group().casefold()
        for match in re.finditer(r"\b[^\W\d_][\w-]+", text)
        if match.group()[0].isupper() and not _SENTENCE_START.search(text[: match.start()])
    )


def _language(words: list[str]) -> str:
    """Return the language that most of the common words are of; "" where none says."""
    votes: dict[str, int] = {}
    for word in words:
        name = _LANGUAGE_OF.get(word.lower())
        if name:
            votes[name] = votes.get(name, 0) + 1
    return max(votes, key=lambda name: votes[name], default="")
