"""Text to vectors. Vectors of different kernels must never be compared.

The one kernel here, ``ngram-h32``, is the deployed nodes' default: hashed character trigrams,
words and word pairs. It knows the letters a-z and digits only; other text becomes the zero vector,
which no judgement uses.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]

KERNEL_NGRAM = "ngram-h32"

_BUCKETS = 64
_KEPT = 32
_TRIGRAM, _PAIR, _WORD = 1.0, 1.5, 2.0

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193

_FOREIGN = re.compile(r"[^a-z0-9 ]")
_CACHED_CHARACTERS = 2_048  # longer texts are rare, and a cache full of them is large


def ngram(text: str) -> Vector:
    """Return 32 floats, read-only, equal bit for bit to those of deployed nodes.

    They are the first half of a unit vector of 64, so their own norm is at most 1.
    """
    return _encode_cached(text) if len(text) <= _CACHED_CHARACTERS else _encode(text)


def _encode(text: str) -> Vector:
    buckets = [0.0] * _BUCKETS
    words = _FOREIGN.sub(" ", text.lower()).split()
    for word in words:
        for bucket, value in _word(word):
            buckets[bucket] += value
    for pair in pairwise(words):
        bucket, sign = _place("_".join(pair))
        buckets[bucket] += sign * _PAIR
    vector = np.array(buckets)
    norm = float(np.sqrt(np.square(vector).sum())) or 1.0
    kept = vector[:_KEPT] / norm
    kept.setflags(write=False)
    return kept


_encode_cached = lru_cache(maxsize=4_096)(_encode)


@lru_cache(maxsize=8_192)
def _word(word: str) -> tuple[tuple[int, float], ...]:
    """Return what a word and its trigrams add to each bucket; sums of halves are exact."""
    padded = f" {word} "
    found: dict[int, float] = {}
    for token, weight in _tokens(word, padded):
        bucket, sign = _place(token)
        found[bucket] = found.get(bucket, 0.0) + sign * weight
    return tuple(found.items())


def _tokens(word: str, padded: str) -> Iterator[tuple[str, float]]:
    yield word, _WORD
    for start in range(len(padded) - 2):
        yield padded[start : start + 3], _TRIGRAM


@lru_cache(maxsize=65_536)
def _place(token: str) -> tuple[int, float]:
    """Return bucket and sign: FNV-1a over the bytes, taken as a signed 32-bit number."""
    value = _FNV_OFFSET
    for byte in token.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    signed = value - (1 << 32) if value & 0x80000000 else value
    return abs(signed) % _BUCKETS, 1.0 if signed > 0 else -1.0
