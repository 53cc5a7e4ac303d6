"""Views of cases, with every text encoded once."""

from collections.abc import Sequence

import numpy as np
from admission_parts.sets import Case

from xmesh_mesh.encoding.kernels import Encoder, Vectors
from xmesh_mesh.judging.features import View, look
from xmesh_mesh.judging.situation import Peer


class Space:
    """An encoder that remembers; see ``situation.Space``."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._held: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(texts) if text not in self._held]
        if missing:
            self._held.update(zip(missing, self.encoder.encode(missing), strict=True))
        return np.array([self._held[text] for text in texts])


def view(case: Case, space: Space) -> View:
    peer = Peer(case.charter, case.weights, case.peer)
    return look(case.message, peer, case.anchors, case.thread, space)
