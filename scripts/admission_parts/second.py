"""A scripted second judge: right in 95 of 100 cases, wrong in a way that repeats exactly."""

import hashlib
from functools import cache

from admission_parts.sets import Case
from tokenizers import Tokenizer

from xmesh_mesh.encoding.static import PACKAGE, TOKENIZER, installed
from xmesh_mesh.judging.decision import Label
from xmesh_peer.question import MAX_OUTPUT_TOKENS, Question, request

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
    """Return what asking about the case takes, as a usual tokenizer counts."""
    known = [case.anchors[index].texts for index in nearest]
    asked = request(Question(case.charter, known, case.message.texts), 1.0)
    text = "\n".join([asked.system, *(one.content for one in asked.messages)])
    return len(_tokenizer().encode(text).ids) + MAX_OUTPUT_TOKENS


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(installed(PACKAGE, TOKENIZER, "")))
