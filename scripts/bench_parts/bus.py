"""The bus: how many signed records of 1.5 kB it takes to disk and to members, and how late."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench_parts.figures import Figure, median, p50_p99
from bench_parts.members import Member, bus, members
from bench_parts.mesh import runtime
from bench_parts.speaker import identity, introduction, long_texts, node, now_ms
from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.identity import Identity
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.record import compose, encode
from xmesh_mesh.signing import assertion_id, sign

_RAW_RECORDS = 3000
_STORED_RECORDS = 400
_PACED_RECORDS = 1000
_SLOW_RECORDS = 100
_EMITS = 300


@dataclass(frozen=True, slots=True)
class Signed:
    assertion: str
    wire: bytes


def throughput() -> list[Figure]:
    """One publisher to 1, 2 and 3 members: as fast as it goes, and paced.

    Raw members acknowledge only; the others verify, judge and store, one synced commit a record.
    """
    return [
        *(_flood(count, stores=False) for count in (1, 2, 3)),
        *(_flood(count, stores=True) for count in (1, 2, 3)),
        *_paced(3, 500, stores=False),
        *_paced(1, 20, stores=True),
        *_paced(1, 500, stores=True),
    ]


def _flood(count: int, *, stores: bool) -> Figure:
    author = identity("publisher")
    records = _signed(author, _STORED_RECORDS if stores else _RAW_RECORDS)
    with runtime() as root, bus(root), members(root, count, len(records), stores=stores) as found:
        out_ns = asyncio.run(_publish(root, author, records, per_s=None))
        ends = [max(member.stored()) for member in found]
    rate = len(records) / ((max(ends) - out_ns[0]) / 1e9)
    return median(f"flood, {_what(count, stores)}", [rate], "records/s")


def _paced(count: int, per_s: int, *, stores: bool) -> list[Figure]:
    author = identity("publisher")
    records = _signed(author, _SLOW_RECORDS if per_s < 100 else _PACED_RECORDS)
    with runtime() as root, bus(root), members(root, count, len(records), stores=stores) as found:
        out_ns = asyncio.run(_publish(root, author, records, per_s=per_s))
        late = [delay for member in found for delay in _delays(member, out_ns)]
    return p50_p99(f"{per_s}/s, {_what(count, stores)}", late)


def _delays(member: Member, out_ns: Sequence[int]) -> list[float]:
    return [(there - out) / 1e6 for out, there in zip(out_ns, member.stored(), strict=True)]


def _what(count: int, stores: bool) -> str:
    return f"verified and stored by {count}" if stores else f"acknowledged by {count}"


def _signed(author: Identity, count: int) -> list[Signed]:
    """Return records that are signed already: what it costs is part of ``emit``."""
    return [_sign(author) for _ in range(count)]


def _sign(author: Identity) -> Signed:
    record = compose(long_texts(), created_by=author.name, created_ms=now_ms(), group="bench")
    signed = sign(record, author.seed)
    return Signed(assertion_id(signed), encode(signed))


async def _publish(
    root: RuntimeDir, author: Identity, records: Sequence[Signed], *, per_s: int | None
) -> list[int]:
    """Publish all, ``per_s`` or at once; return when (wall, ns) each was handed over."""
    out_ns: list[int] = []
    async with _publisher(root, author) as client, asyncio.TaskGroup() as tasks:
        began = time.monotonic()
        for number, record in enumerate(records):
            if per_s is not None:
                await asyncio.sleep(began + number / per_s - time.monotonic())
            out_ns.append(time.time_ns())
            tasks.create_task(client.publish(record.assertion, record.wire))
    return out_ns


@asynccontextmanager
async def _publisher(root: RuntimeDir, author: Identity) -> AsyncIterator[BusClient]:
    client = BusClient(root.bus_socket, introduction(author), role="publisher")
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


def emit() -> list[Figure]:
    """A node's whole way out, one record after the other."""
    with runtime() as root, bus(root):
        return asyncio.run(_emit(root))


async def _emit(root: RuntimeDir) -> list[Figure]:
    took_ms: list[float] = []
    with node(root.root / "bench", "emitter") as own:
        async with _publisher(root, own.identity) as client:
            for _ in range(_EMITS):
                texts = long_texts()
                began = time.perf_counter()
                record, assertion = own.compose(texts, now_ms=now_ms())
                with own.memory.transaction():
                    own.memory.remember_own(
                        record, assertion, own.identity.node_id, now_ms=now_ms()
                    )
                [outgoing] = own.memory.outbox()
                own.memory.sent(assertion, await client.publish(assertion, outgoing.wire))
                took_ms.append((time.perf_counter() - began) * 1000)
    return p50_p99("emit: sign, store, send", took_ms)
