"""What an encoder is, and which there are.

A kernel id names a vector space. Vectors of different kernels must never be compared, so every
vector travels and is cached together with its kernel. Vectors belong to this host: they are never
sent to other nodes, and none that comes from outside is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from xmesh_mesh.encoder import KERNEL_NGRAM, ngram
from xmesh_mesh.errors import XmeshError

__all__ = [
    "KERNEL_MINILM",
    "KERNEL_NGRAM",
    "KERNEL_STATIC",
    "MAX_CHARACTERS",
    "NGRAM",
    "Choice",
    "Encoder",
    "EncoderAway",
    "Kind",
    "NgramEncoder",
    "Vectors",
    "unit",
]

Kind = Literal["ngram", "static", "minilm", "ollama", "openai"]
Vectors = NDArray[np.float32]

KERNEL_STATIC = "wordllama-l2-256"
KERNEL_MINILM = "minilm-l6-v2-384"

# What a text says is said by then, and encoding stays bounded.
MAX_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Choice:
    """Which encoder a peer wants; ``url`` and ``model`` for those that a server runs."""

    kind: Kind
    url: str = ""
    model: str = ""


class EncoderAway(XmeshError):  # noqa: N818 - a state of the world, named as one
    """No vectors can be had now; ``what`` says why."""


class Encoder(Protocol):
    """Texts to vectors of one kernel."""

    @property
    def kernel(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each of at least one text: of norm 1, or 0 where it says nothing here.

        Raises EncoderAway.
        """


class NgramEncoder:
    """The deployed nodes' own encoder; it needs nothing and is never away."""

    kernel = KERNEL_NGRAM

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = [ngram(text[:MAX_CHARACTERS]) for text in texts]
        return unit(np.array(rows, dtype=np.float32))


NGRAM = NgramEncoder()


def unit(rows: Vectors) -> Vectors:
    """Return the rows with norm 1; what is 0, or no number, becomes 0."""
    clean = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    norms = np.linalg.norm(clean, axis=1, keepdims=True)
    norms[norms == 0.0] = 1.0
    scaled: Vectors = (clean / norms).astype(np.float32)
    return scaled
