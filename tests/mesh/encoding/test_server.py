"""The encoder process and its client: one encoding a text, bounded, and never in the way."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import psutil
import pytest
from helpers.encoder import embedding_server, encoder_process

from xmesh_mesh.encoding.client import PAUSE_S, HostEncoder
from xmesh_mesh.encoding.frames import MAX_TEXTS
from xmesh_mesh.encoding.kernels import KERNEL_STATIC, NGRAM, Choice, EncoderAway, Vectors
from xmesh_mesh.encoding.server import Shelf
from xmesh_mesh.errors import ExitCode
from xmesh_mesh.paths import RuntimeDir

STATIC = Choice("static")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """The n-gram encoder, and what it was asked."""

    kernel = NGRAM.kernel

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return NGRAM.encode(texts)


def answers(root: RuntimeDir) -> bool:
    with closing(HostEncoder(root.encoder_socket, STATIC)) as encoder:
        return bool(encoder.encode(["still there"]).any())


def test_a_text_is_encoded_once_whoever_asks() -> None:
    encoder = Counting()
    shelf = Shelf(encoder)
    first = shelf.encode(["login", "limits", "login"])
    again = shelf.encode(["limits", "login"])
    assert encoder.asked == ["login", "limits"]
    assert np.array_equal(first[[1, 0]], again)


def test_the_cache_forgets_the_oldest_beyond_its_bytes() -> None:
    encoder = Counting()
    shelf = Shelf(encoder, limit=3 * (32 * 4 + 5))
    for text in ("word1", "word2", "word3", "word1", "word4", "word1", "word2"):
        shelf.encode([text])
    assert encoder.asked == ["word1", "word2", "word3", "word4", "word2"]


def test_a_peer_gets_vectors_and_its_kernel(runtime_dir: RuntimeDir) -> None:
    with encoder_process(runtime_dir):
        encoder = HostEncoder(runtime_dir.encoder_socket, STATIC)
        texts = [f"word {n}" for n in range(MAX_TEXTS + 5)]
        rows = encoder.encode(texts)
        encoder.close()
    assert rows.shape == (MAX_TEXTS + 5, 256)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=0.01)
    assert encoder.kernel == KERNEL_STATIC


def test_the_socket_is_for_the_user_alone_and_goes_with_the_process(
    runtime_dir: RuntimeDir,
) -> None:
    with encoder_process(runtime_dir):
        assert stat.S_IMODE(runtime_dir.encoder_socket.stat().st_mode) == 0o600
    assert not runtime_dir.encoder_socket.exists()


def test_the_process_stays_under_a_hundred_megabytes(runtime_dir: RuntimeDir) -> None:
    with encoder_process(runtime_dir) as process:
        encoder = HostEncoder(runtime_dir.encoder_socket, STATIC)
        for n in range(100):
            encoder.encode([f"text {n} of many words {n * 7919} about limits" for n in range(60)])
        encoder.close()
        used = psutil.Process(process.pid).memory_info().rss
    assert used < 100 * 1_048_576


def test_two_processes_do_not_share_a_root(runtime_dir: RuntimeDir) -> None:
    with encoder_process(runtime_dir):
        second = subprocess.run(
            [sys.executable, "-m", "xmesh_mesh.encoding.server"],
            env=os.environ | {"XMESH_RUNTIME_DIR": str(runtime_dir.root)},
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert second.returncode == ExitCode.COLLISION
        assert answers(runtime_dir)


@pytest.mark.parametrize("hostile", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00"])
def test_nothing_that_is_sent_ends_it(runtime_dir: RuntimeDir, hostile: bytes) -> None:
    with encoder_process(runtime_dir):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(runtime_dir.encoder_socket))
            client.sendall(hostile)
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
        assert answers(runtime_dir)


def test_a_server_behind_it_that_talks_nonsense_is_reported(runtime_dir: RuntimeDir) -> None:
    with encoder_process(runtime_dir), embedding_server(lambda _: b"{}") as (url, _):
        encoder = HostEncoder(runtime_dir.encoder_socket, Choice("ollama", url, "m"))
        with pytest.raises(EncoderAway, match="gives no embeddings of m"):
            encoder.encode(["one"])
        encoder.close()


def test_a_model_that_changes_under_its_name_is_not_compared(runtime_dir: RuntimeDir) -> None:
    widths = iter((2, 3, 3))

    def answer(_: dict[str, Any]) -> bytes:
        return json.dumps({"embeddings": [[1.0] * next(widths)]}).encode()

    clock = Clock()
    with encoder_process(runtime_dir), embedding_server(answer) as (url, _):
        choice = Choice("ollama", url, "m")
        encoder = HostEncoder(runtime_dir.encoder_socket, choice, clock=clock)
        encoder.encode(["one"])
        with pytest.raises(EncoderAway, match="another model"):
            encoder.encode(["two"])
        clock.now += PAUSE_S
        assert encoder.encode(["two"]).shape == (1, 3)
        assert encoder.kernel == "ollama:m:3"
        encoder.close()


def test_after_a_failure_nobody_is_asked_for_a_while(runtime_dir: RuntimeDir) -> None:
    clock = Clock()
    encoder = HostEncoder(runtime_dir.encoder_socket, STATIC, clock=clock)
    with pytest.raises(EncoderAway, match="no encoder"):
        encoder.encode(["one"])
    with encoder_process(runtime_dir):
        clock.now += PAUSE_S - 1
        with pytest.raises(EncoderAway, match="no encoder"):
            encoder.encode(["one"])
        clock.now += 1
        assert encoder.encode(["one"]).any()
        encoder.close()


def test_a_process_that_hangs_costs_no_more_than_the_timeout(runtime_dir: RuntimeDir) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(runtime_dir.encoder_socket))
        silent.listen()
        encoder = HostEncoder(runtime_dir.encoder_socket, STATIC, timeout_s=0.05)
        with pytest.raises(EncoderAway, match="timed out"):
            encoder.encode(["one"])
