"""What a node states about records from other hosts: its verdicts, signed and chained.

Deployed nodes send one for each record that they have judged, and so does this one. The chain's
end is kept in memory's meta values, so it goes on over restarts.
"""

import json

import msgspec

from xmesh_mesh.admission import Verdict
from xmesh_mesh.identity import Identity
from xmesh_mesh.memory import Memory
from xmesh_mesh.wire.attestation import GENESIS, Attestation, attest, next_prev

__all__ = ["state"]

_CHAIN = "attested"
_ROLE = "participant"
_METHOD = "xmesh"


def state(
    memory: Memory, identity: Identity, group: str, key: str, verdict: Verdict, now_ms: int
) -> bytes:
    """Return the signed attestation of a verdict on the record ``key``, as JSON.

    Inside ``memory.transaction``, so that no two attestations have one place in the chain.
    """
    seq, prev = _chain(memory)
    signed = attest(
        Attestation(
            of=key,
            by=identity.node_id,
            at=now_ms,
            roster=group,
            method=_METHOD,
            verdict=verdict.decision,
            categories={entry.field: entry.verdict for entry in verdict.reference.fields},
            role=_ROLE,
            seq=seq,
            prev=prev,
        ),
        identity.seed,
    )
    memory.set_meta(_CHAIN, json.dumps([seq + 1, next_prev(signed)]))
    return msgspec.json.encode(signed)


def _chain(memory: Memory) -> tuple[int, str]:
    """Return the next attestation's number and the hash of the one before."""
    seq, prev = json.loads(memory.meta(_CHAIN) or f'[1, "{GENESIS}"]')
    return int(seq), str(prev)
