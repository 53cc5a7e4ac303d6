"""A scripted second judge: right in 95 of 100 cases, wrong in a way that repeats exactly."""

import hashlib

from admission_parts.sets import Case

from xmesh_mesh.judging.decision import Label
from xmesh_peer.question import MAX_OUTPUT_TOKENS, Question, estimate_tokens, request

RIGHT_PERCENT = 95
_OTHERS: dict[Label, tuple[Label, Label]] = {
    "relevant": ("redundant", "foreign"),
    "redundant": ("relevant", "foreign"),
    "foreign": ("relevant", "redundant"),
}


def scripted(case: Case) -> Label:
    drawn = hashlib.sha256(case.id.encode()).digest()
    if drawn[0] * 100 < RIGHT_PERCENT * 256:
        return case.label
    return _OTHERS[case.label][drawn[1] % 2]


def tokens(case: Case, nearest: list[int]) -> int:
    """Return what asking about the case takes, estimated from above."""
    known = [case.anchors[index].texts for index in nearest]
    asked = request(Question(case.charter, known, case.message.texts), 1.0)
    texts = [asked.system, *(one.content for one in asked.messages)]
    return sum(map(estimate_tokens, texts)) + MAX_OUTPUT_TOKENS
