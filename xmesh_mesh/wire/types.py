"""The bounds that every string, number and list from the wire must keep."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from xmesh_mesh.identity import NODE_ID_PATTERN
from xmesh_mesh.introduction import MAX_NAME

Transport = Literal["lan", "relay"]

MAX_INTEGER: Final = 2**53 - 1  # beyond it JavaScript peers lose digits
MAX_LIST: Final = 32
MAX_CONTENT: Final = 65_536

NodeId = Annotated[str, Meta(pattern=NODE_ID_PATTERN, max_length=36)]
# C0 and C1 control characters are in no name (MMP section 3.1).
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", max_length=MAX_NAME)]
Label = Annotated[str, Meta(max_length=256)]
Given = Annotated[str, Meta(min_length=1, max_length=256)]
Content = Annotated[str, Meta(max_length=MAX_CONTENT)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Labels = Annotated[list[Label], Meta(max_length=MAX_LIST)]
Numbers = Annotated[list[float], Meta(max_length=MAX_LIST)]
