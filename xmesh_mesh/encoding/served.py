"""Embeddings from a server that a peer uses already: Ollama's API, or OpenAI's as others speak it.

What comes back is hostile until checked: numbers, as many rows as texts, all of one length.
No key is sent, so this is for servers of one's own.
"""

import json
from collections.abc import Sequence
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import numpy as np

from xmesh_mesh.encoding.kernels import Choice, EncoderAway, Vectors, unit
from xmesh_mesh.encoding.static import clean

_MAX_BYTES = 16 * 1_048_576
_MAX_WIDTH = 8_192
TIMEOUT_S = 2.0

_PATHS = {"ollama": "/api/embed", "openai": "/embeddings"}


class ServedEncoder:
    """Asks ``choice.url`` for each batch; EncoderAway where it does not answer well in time."""

    def __init__(self, choice: Choice, timeout_s: float = TIMEOUT_S) -> None:
        self._choice = choice
        self._timeout_s = timeout_s
        self.kernel = f"{choice.kind}:{choice.model}:?"

    def encode(self, texts: Sequence[str]) -> Vectors:
        body = {"model": self._choice.model, "input": [clean(text) or " " for text in texts]}
        try:
            table = _checked(self._rows(self._post(json.dumps(body).encode())), len(texts))
        except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError) as error:
            raise EncoderAway(
                f"{self._choice.url} gives no embeddings of {self._choice.model}: {error}"
            ) from error
        self.kernel = f"{self._choice.kind}:{self._choice.model}:{table.shape[1]}"
        return unit(table)

    def _post(self, body: bytes) -> object:
        url = self._choice.url.rstrip("/") + _PATHS[self._choice.kind]
        request = Request(url, data=body, headers={"content-type": "application/json"})  # noqa: S310 - the configuration checks the scheme
        direct = [ProxyHandler({})] if _is_loopback(url) else []
        with build_opener(_NoRedirect, *direct).open(request, timeout=self._timeout_s) as answer:
            return json.loads(answer.read(_MAX_BYTES))

    def _rows(self, answer: object) -> object:
        if not isinstance(answer, dict):
            raise TypeError("the answer is no object")
        if self._choice.kind == "ollama":
            return answer["embeddings"]
        entries = sorted(answer["data"], key=lambda entry: int(entry["index"]))
        return [entry["embedding"] for entry in entries]


class _NoRedirect(HTTPRedirectHandler):
    """Texts go where the configuration says, and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


def _checked(rows: object, count: int) -> Vectors:
    table = np.array(rows, dtype=np.float32)
    if table.ndim != 2 or len(table) != count or not 0 < table.shape[1] <= _MAX_WIDTH:
        raise ValueError(f"{count} texts gave numbers of shape {table.shape}")
    return table


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
