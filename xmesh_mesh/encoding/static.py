"""Static word embeddings out of the installed ``wordllama`` wheel: a mean of token vectors.

Only the wheel's two data files are read (tokenizer and weights, found through its metadata), never
its code, which would look for them elsewhere and then on the network. The weights stay in the
file and are mapped, so that what is not asked for is not in memory.
"""

import json
import mmap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from xmesh_mesh.encoding.kernels import (
    KERNEL_STATIC,
    MAX_CHARACTERS,
    EncoderAway,
    Vectors,
    unit,
)

PACKAGE = "wordllama"
TOKENIZER = "l2_supercat_tokenizer_config.json"
_WEIGHTS = "l2_supercat_256.safetensors"
_TENSOR = "embedding.weight"
_FIX = 'pip install wordllama, or write [admission] encoder = "ngram"'


class StaticEncoder:
    """Reads its files once; 0.1 ms a text. Raises EncoderAway where the wheel is not installed."""

    kernel = KERNEL_STATIC

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(installed(PACKAGE, TOKENIZER, _FIX)))
        self._weights = mapped(installed(PACKAGE, _WEIGHTS, _FIX), _TENSOR)

    def encode(self, texts: Sequence[str]) -> Vectors:
        cut = [clean(text) for text in texts]
        tokens = self._tokenizer.encode_batch(cut, add_special_tokens=False)
        rows = [self._mean(token.ids) for token in tokens]
        return unit(np.array(rows, dtype=np.float32))

    def _mean(self, ids: list[int]) -> Vectors:
        if not ids:
            return np.zeros(self._weights.shape[1], dtype=np.float32)
        mean: Vectors = self._weights[ids].mean(axis=0, dtype=np.float32)
        return mean


def clean(text: str) -> str:
    """Return what a tokenizer takes: cut, and without halves of surrogate pairs."""
    return text[:MAX_CHARACTERS].encode(errors="ignore").decode()


def installed(package: str, name: str, fix: str) -> Path:
    """Return the path of a data file of an installed package, without importing the package."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise EncoderAway(f"the package {package} is not installed", fix=fix) from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and path.is_file():
            return path
    raise EncoderAway(f"the installed package {package} has no {name}", fix=fix)


def mapped(path: Path, tensor: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Return one tensor of a safetensors file as a read-only view of the mapped file."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    size = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + size])[tensor]
    begin, end = (8 + size + offset for offset in entry["data_offsets"])
    kind = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
    flat = np.frombuffer(memoryview(data)[begin:end], dtype=kind)
    return flat.reshape(entry["shape"])
