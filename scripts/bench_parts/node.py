"""What one node does by itself: taking a record in, and recalling what a model is shown."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from admission_parts import sets

from bench_parts.figures import Figure, median
from bench_parts.mesh import runtime
from bench_parts.speaker import identity, introduction, long_texts, node, now_ms, short_texts
from xmesh_mesh.admission import Candidate, Judge, Surroundings, Verdict
from xmesh_mesh.anchors import Anchors
from xmesh_mesh.encoding.client import HostEncoder
from xmesh_mesh.encoding.kernels import Choice
from xmesh_mesh.identity import Identity
from xmesh_mesh.memory import Judged, Wake
from xmesh_mesh.node import Node
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.record import Record, compose, encode
from xmesh_mesh.signing import sign
from xmesh_peer import context as prompts
from xmesh_peer.recollect import recollect
from xmesh_peer.settings import Context

_SIZES = (0, 100, 1_000, 10_000, 100_000)
_CONTEXT_SIZE = 10_000
_RECEIVED = 120
_PROMPTS = 50
_THREAD = 20
_BATCH = 5_000
_CYCLE_DEPTH = 5

# Each message once, so that none is encoded before it is judged.
_SAID = iter({case.id.split()[0]: case.message.texts for case in sets.stream("train")}.values())


class Timed:
    """A judge, and how long (ms) each of its verdicts took."""

    def __init__(self, judge: Judge) -> None:
        self.took_ms: list[float] = []
        self._judge = judge

    def __call__(self, candidate: Candidate, surroundings: Surroundings) -> Verdict:
        began = time.perf_counter()
        verdict = self._judge(candidate, surroundings)
        self.took_ms.append((time.perf_counter() - began) * 1000)
        return verdict


def admission() -> list[Figure]:
    """Verify, judge, store and commit one record, with little and with much in memory."""
    author = identity("author")
    figures: list[Figure] = []
    with _alone(author) as own:
        for size in _SIZES:
            _fill(own, author, size - own.memory.counts()["records"])
            figures += _measured(own, author, f"{size:,} in memory")
        thread = _thread(own, author)
        parents = {"parents": (thread[-1].key,), "method": "SVAF-v2"}
        figures += _measured(own, author, f"reply in a thread of {_THREAD}", parents)
    return figures


def _measured(
    own: Node, author: Identity, where: str, origin: Mapping[str, Any] | None = None
) -> list[Figure]:
    plain = own.judge
    own.judge = judge = Timed(plain)
    records = [_signed(author, **(origin or {})) for _ in range(_RECEIVED)]
    took_ms = [_receive(own, author, record) for record in records]
    return [
        median(f"receive path, {where}", took_ms),
        median(f"judge alone, {where}", judge.took_ms),
        median(f"first judgement of a stream's message, {where}", _judgements(own, author, plain)),
        median(
            f"first judgement of 156 unknown words, {where}",
            _judgements(own, author, plain, long=True),
        ),
    ]


def _judgements(own: Node, author: Identity, judge: Judge, *, long: bool = False) -> list[float]:
    """Judge records that nobody has encoded yet, anchors and encoder included, as a peer does;
    return the ms of each. They are of the labelled streams, or ``long``, of words that no
    tokenizer knows.
    """
    own.judge = judge
    anchors, took_ms = Anchors(own.memory), []
    for _ in range(_RECEIVED):
        record = _signed(author, None if long else next(_SAID))
        began = time.perf_counter()
        held = anchors.around(record, author.node_id, own.identity.name, own.charter, own.weights)
        judge(Candidate(record, 0.0, directed=False), held)
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


def context() -> list[Figure]:
    """From a wake to the prompt that its model gets."""
    author = identity("author")
    took_ms = []
    with _alone(author) as own:
        _fill(own, author, _CONTEXT_SIZE)
        _thread(own, author)
        wake = own.memory.next_wake()
        assert wake is not None
        for _ in range(_PROMPTS):
            began = time.perf_counter()
            _prompt(own, wake)
            took_ms.append((time.perf_counter() - began) * 1000)
    return [median("context with 10,000 in memory", took_ms)]


def _prompt(own: Node, wake: Wake) -> prompts.Prompt:
    settings = Context()
    found = recollect(own.memory, wake, settings, _CYCLE_DEPTH)
    assert found is not None
    system = prompts.system_prompt(
        name=own.identity.name, role="writer", charter=own.charter, group=own.group
    )
    return prompts.build(system, found.remembrance, settings.max_context_tokens)


@contextmanager
def _alone(author: Identity) -> Iterator[Node]:
    """Yield a node that knows ``author`` and nobody else, beside an encoder process."""
    with runtime() as root, _encoder(root), node(Path(root.root), "judging") as own:
        own.meet(introduction(author))
        with closing(HostEncoder(root.encoder_socket, Choice("static"))) as encoder:
            own.judge = Judge(encoder)
            yield own


@contextmanager
def _encoder(root: RuntimeDir) -> Iterator[None]:
    command = (sys.executable, "-m", "xmesh_mesh.encoding.server")
    process = subprocess.Popen(command, env={**os.environ, "XMESH_RUNTIME_DIR": str(root.root)})
    try:
        while not root.encoder_socket.exists():
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def _thread(own: Node, author: Identity) -> list[Record]:
    """Let a conversation of its own come in; return it, oldest first."""
    said: list[Record] = []
    for _ in range(_THREAD):
        origin = {"parents": (said[-1].key,), "method": "SVAF-v2"} if said else {}
        said.append(_signed(author, **origin))
        _receive(own, author, said[-1])
    return said


def _receive(own: Node, author: Identity, record: Record) -> float:
    """Take one record in as a peer does; return the ms."""
    wire = encode(record)
    began = time.perf_counter()
    with own.memory.transaction():
        received = own.receive(author.node_id, wire, seq=1, now_ms=now_ms())
        own.memory.advance("bench", 1)
    took_ms = (time.perf_counter() - began) * 1000
    assert not received.refused, received.refused
    return took_ms


def _signed(author: Identity, texts: Mapping[str, str] | None = None, **origin: Any) -> Record:
    said = texts or long_texts()
    record = compose(said, created_by=author.name, created_ms=now_ms(), group="bench", **origin)
    return sign(record, author.seed)


def _fill(own: Node, author: Identity, count: int) -> None:
    """Put so many records into memory, past the judge: each a message and thread of its own."""
    base = compose(short_texts(), created_by=author.name, created_ms=now_ms(), group="bench")
    wire = encode(base)
    judged = Judged(author.node_id, False, False, True, "aligned", 0.3, (), "{}", "")
    for start in range(0, count, _BATCH):
        with own.memory.transaction():
            for _ in range(min(_BATCH, count - start)):
                key = f"{time.perf_counter_ns():064x}"
                own.memory.remember(
                    replace(base, key=f"cmb-{key}"),
                    key, judged, wire=wire, seq=1, now_ms=now_ms(), wakes=False,
                )  # fmt: skip
