"""Embeddings from a server of one's own: both dialects, and answers that are none."""

import json
from typing import Any

import numpy as np
import pytest
from helpers.encoder import embedding_server
from helpers.vendors import closed_port

from xmesh_mesh.encoding.kernels import Choice, EncoderAway
from xmesh_mesh.encoding.served import ServedEncoder


def ollama(body: dict[str, Any]) -> bytes:
    return json.dumps({"embeddings": [[3.0, 4.0 + n] for n in range(len(body["input"]))]}).encode()


def openai(body: dict[str, Any]) -> bytes:
    rows = [{"index": n, "embedding": [float(n), 2.0]} for n in range(len(body["input"]))]
    return json.dumps({"data": rows[::-1]}).encode()


def test_ollama_is_asked_at_its_embed_address() -> None:
    with embedding_server(ollama) as (url, seen):
        encoder = ServedEncoder(Choice("ollama", url, "all-minilm"))
        rows = encoder.encode(["one", ""])
    assert rows[0] == pytest.approx([0.6, 0.8])
    assert seen[0][0] == "/api/embed"
    assert seen[0][2] == {"model": "all-minilm", "input": ["one", " "]}
    assert encoder.kernel == "ollama:all-minilm:2"


def test_openai_rows_are_put_into_the_order_of_the_texts_and_no_key_is_sent() -> None:
    with embedding_server(openai) as (url, seen):
        encoder = ServedEncoder(Choice("openai", f"{url}/v1", "e5"))
        rows = encoder.encode(["one", "two"])
    assert rows[0] == pytest.approx([0.0, 1.0])
    assert rows[1] == pytest.approx(np.array([1.0, 2.0]) / np.sqrt(5))
    assert seen[0][0] == "/v1/embeddings"
    assert not any(name.lower() == "authorization" for name in seen[0][1])


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"embeddings": []}', b'{"embeddings": [["x"]]}', b'{"embeddings": [1]}',
     b'{"embeddings": [[1], [2]]}', b'{"embeddings": [[]]}', b"[" * 5000],
)  # fmt: skip
def test_nonsense_is_no_vector(body: bytes) -> None:
    with embedding_server(lambda _: body) as (url, _):
        encoder = ServedEncoder(Choice("ollama", url, "m"))
        with pytest.raises(EncoderAway, match="gives no embeddings of m"):
            encoder.encode(["one"])


def test_a_server_that_is_down_is_said() -> None:
    encoder = ServedEncoder(Choice("ollama", f"http://127.0.0.1:{closed_port()}", "m"))
    with pytest.raises(EncoderAway, match="refused"):
        encoder.encode(["one"])
