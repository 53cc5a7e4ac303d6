"""What a message sets off: peers with the real OpenAI SDK, and a server that answers at once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from bench_parts.figures import BenchError, Figure, median, p50_p99
from bench_parts.mesh import Mesh, mesh
from bench_parts.speaker import introduction, node, now_ms, short_texts
from bench_parts.vendor import SILENT, Call, Vendor, vendor
from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.node import Node
from xmesh_mesh.record import encode

_WAKES = 150
_ANSWERS = 120
_REST_S = 0.03
"""A pause, so that no message meets a peer that is still busy with the one before."""
_LOGGED_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class Speaker:
    """``say`` returns the wall time, in ns, at which the signed record was handed to the bus."""

    client: BusClient
    node: Node

    async def say(self, to: str | None = None) -> int:
        record, assertion = self.node.compose(short_texts(), now_ms=now_ms(), to=to)
        wire = encode(record)
        out_ns = time.time_ns()
        await self.client.publish(assertion, wire, to)
        return out_ns

    def node_id(self, name: str) -> str:
        return next(one.node_id for one in self.client.members.values() if one.name == name)


def wake() -> list[Figure]:
    """From a message's way out to the model request of the one peer that it wakes."""
    with mesh() as here, vendor() as server:
        here.up(here.peer_file("woken", server.model(SILENT)))
        first, *others = asyncio.run(wakes(here, server, 1 + _WAKES))
    what = "message out to model request"
    return [*p50_p99(what, others), median(f"{what}, first one", [first])]


async def wakes(here: Mesh, server: Vendor, count: int) -> list[float]:
    """Say so many messages, each when the last has been dealt with; return ms to each request."""
    took_ms = []
    async with _speaking(here) as speaker:
        for _ in range(count):
            out_ns = await speaker.say()
            call = await asyncio.to_thread(server.next_call)
            took_ms.append((call.came_ns - out_ns) / 1e6)
            await asyncio.sleep(_REST_S)
    return took_ms


def answer() -> list[Figure]:
    """From a model's answer to its record at another peer, where it wakes that one's model.

    The first one warms up. "Admitted" is the time that the other peer's log gives: verified,
    judged and committed.
    """
    with mesh() as here, vendor() as server:
        here.up(
            here.peer_file("answering", server.model("speaking")),
            here.peer_file("hearing", server.model(SILENT)),
        )
        pairs = asyncio.run(_answers(here, server))[1:]
        admitted_ns = _admissions(here, 1 + len(pairs))[1:]
    admitted = [(ns - a.answered_ns) / 1e6 for ns, (a, _) in zip(admitted_ns, pairs, strict=True)]
    onward = [(heard.came_ns - answered.answered_ns) / 1e6 for answered, heard in pairs]
    return [
        *p50_p99("model answer to admitted at another peer", admitted),
        *p50_p99("model answer to that peer's model request", onward),
    ]


async def _answers(here: Mesh, server: Vendor) -> list[tuple[Call, Call]]:
    """Return the answering peer's calls, each with the one that its answer led to."""
    calls = []
    async with _speaking(here) as speaker:
        to = speaker.node_id("answering")
        for _ in range(1 + _ANSWERS):
            await speaker.say(to)
            answered = await asyncio.to_thread(server.next_call)
            heard = await asyncio.to_thread(server.next_call)
            if heard.model != SILENT:
                raise BenchError("an answer reached nobody before the next one was given")
            calls.append((answered, heard))
            await asyncio.sleep(_REST_S)
    return calls


def _admissions(here: Mesh, count: int) -> list[int]:
    """Return when (wall, ns) the hearing peer admitted each record, from its log."""
    deadline = time.monotonic() + _LOGGED_WITHIN_S
    while True:
        lines = here.root.log("hearing").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        found = [entry["ts"] for entry in said if entry["event"] == "admitted"]
        if len(found) == count:
            return [_ns(stamp) for stamp in found]
        if time.monotonic() > deadline:
            raise BenchError(f"{len(found)} of {count} answers were admitted")
        time.sleep(0.05)


def _ns(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


@asynccontextmanager
async def _speaking(here: Mesh) -> AsyncIterator[Speaker]:
    with node(here.root.root / "bench", "speaker") as own:
        client = BusClient(here.root.bus_socket, introduction(own.identity), role="publisher")
        await client.connect()
        try:
            yield Speaker(client, own)
        finally:
            await client.close()
