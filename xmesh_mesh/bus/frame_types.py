"""The bounds that every value in a frame of the bus keeps, and what all frames have in common."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_WINDOW = 1_024
# ZeroMQ cuts a connection that sends more than this. It is far above a record's bound, so that a
# record somewhat too large is refused by name.
MAX_FRAME_BYTES = 1_048_576

Role = Literal["member", "publisher", "tail", "gateway"]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
RequestNumber = Annotated[int, Meta(ge=0, le=2**53)]
NodeId = Annotated[str, Meta(min_length=1, max_length=64)]
Token = Annotated[str, Meta(min_length=1, max_length=64)]
Assertion = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
# Wider than ``check_group`` allows, so that a wrong one is refused with a sentence.
GroupName = Annotated[str, Meta(max_length=64)]


class Frame(msgspec.Struct, frozen=True, tag_field="t", tag=str.lower):
    pass
