"""What a peer and the encoder process say to each other: a length, then one msgpack map.

The length is four bytes, big-endian, and bounds what is read. Vectors travel as 16-bit floats.
"""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from xmesh_mesh.encoding.kernels import MAX_CHARACTERS, Kind, Vectors

__all__ = ["MAX_FRAME_BYTES", "MAX_TEXTS", "Ask", "Told", "framed", "rows", "told"]

MAX_TEXTS = 64
MAX_FRAME_BYTES = 4 * 1_048_576
_HEAD = 4

_Text = Annotated[str, Meta(max_length=MAX_CHARACTERS)]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to encode, and with what; see ``kernels.Choice``."""

    kind: Kind
    url: Annotated[str, Meta(max_length=2_000)]
    model: Annotated[str, Meta(max_length=200)]
    texts: Annotated[list[_Text], Meta(min_length=1, max_length=MAX_TEXTS)]


class Told(msgspec.Struct, frozen=True):
    """A row of ``width`` numbers for each text, or in ``refused`` the reason why not."""

    kernel: str
    width: int
    data: bytes
    refused: str = ""


def framed(message: Ask | Told) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_HEAD, "big") + body


def told(kernel: str, vectors: Vectors) -> Told:
    return Told(kernel, vectors.shape[1], vectors.astype("<f2").tobytes())


def rows(answer: Told, count: int) -> Vectors:
    """Return the rows for ``count`` texts; ValueError where the numbers do not add up."""
    flat = np.frombuffer(answer.data, dtype="<f2").astype(np.float32)
    return flat.reshape(count, answer.width)
