"""Does a remix still say what its anchor said? The lineage tether (MMP section 15.8).

Content only, no age: the weighted mean of 1 - cos over the fields that both have. What cannot
be compared is not severed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, TypeAlias

import numpy as np

from xmesh_mesh.canonical import FIELDS, b64u, lp
from xmesh_mesh.encoder import Vector
from xmesh_mesh.errors import SignatureError
from xmesh_mesh.signing import sign_bytes, verify_bytes
from xmesh_mesh.svaf import weight_of

TetherVerdict: TypeAlias = Literal["tethered", "severed"]

SEVERED_ABOVE = 0.5

_DOMAIN = b"mmp-tether-v1\n"
_SIX_DECIMALS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Attestation:
    """A node's signed statement of how far ``of`` has departed from ``anchor`` (two keys)."""

    of: str
    anchor: str
    kernel_id: str
    drift: float
    verdict: TetherVerdict
    by: str  # node id
    at_ms: int
    sig: str | None = None


def tether_drift(
    remix: Mapping[str, Vector],
    anchor: Mapping[str, Vector],
    weights: Mapping[str, float],
) -> float | None:
    """Return the drift, 0 to 2, or None where no field of both can be compared."""
    drifts = [
        (weight_of(weights, field), 1.0 - cosine)
        for field in FIELDS
        if (cosine := _cosine(remix.get(field), anchor.get(field))) is not None
    ]
    if not drifts:
        return None
    mean = sum(weight * drift for weight, drift in drifts) / sum(weight for weight, _ in drifts)
    return max(0.0, mean)


def tether_verdict(drift: float | None) -> TetherVerdict:
    return "severed" if drift is not None and drift > SEVERED_ABOVE else "tethered"


def attest(attestation: Attestation, seed: bytes) -> Attestation:
    """Return the attestation signed by the node whose seed this is."""
    return replace(attestation, sig=b64u(sign_bytes(attestation_preimage(attestation), seed)))


def verify_attestation(attestation: Attestation, public_key: bytes) -> None:
    """Return if ``by``'s key signed it, else SignatureError ``unsigned`` or ``bad-signature``."""
    if attestation.sig is None:
        raise SignatureError("unsigned", "the attestation carries no signature")
    if not math.isfinite(attestation.drift):
        raise SignatureError("bad-signature", "the attestation's drift is no number")
    verify_bytes(attestation_preimage(attestation), attestation.sig, public_key)


def attestation_preimage(attestation: Attestation) -> bytes:
    parts = (
        attestation.of,
        attestation.anchor,
        attestation.kernel_id,
        six_decimals(attestation.drift),
        attestation.verdict,
        attestation.by,
        str(attestation.at_ms),
    )
    return _DOMAIN + b"".join(map(lp, parts))


def six_decimals(number: float) -> str:
    """Return what JavaScript's ``toFixed(6)`` does: exact ties go up, not to even."""
    # Adding zero turns -0.0, which JavaScript prints without its sign, into 0.0.
    exact = Decimal(number + 0.0)
    return str(exact.quantize(_SIX_DECIMALS, ROUND_HALF_UP))


def comparable(kernel_id: str, other: str) -> bool:
    """Return whether drifts measured with these two encoders may be held against each other."""
    return kernel_id == other


def _cosine(one: Vector | None, other: Vector | None) -> float | None:
    if one is None or other is None or one.shape != other.shape:
        return None
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else None
