"""The encoders that can be had here, by the name that a configuration uses."""

import sys
from collections.abc import Sequence

from xmesh_mesh.encoding.kernels import Choice, Encoder, EncoderAway, Kind
from xmesh_mesh.encoding.server import open_encoder

LOCAL: tuple[Kind, ...] = ("ngram", "static", "minilm")


def open_all(names: Sequence[Kind] | None = None) -> dict[Kind, Encoder]:
    """Open these (all local ones for None); one that is not installed is said and left out."""
    found: dict[Kind, Encoder] = {}
    for name in names or LOCAL:
        try:
            found[name] = open_encoder(Choice(name))
        except EncoderAway as error:
            sys.stderr.write(f"{name} is left out: {error}\n")
    return found
