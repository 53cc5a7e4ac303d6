"""The JSON shapes of a record, as types for the reader: what does not fit is no record.

Keys that are not named here are ignored; ``meta.key`` is one of them, as everybody recomputes it.
"""

from typing import Annotated, Final, Literal

import msgspec

SUITE: Final = "mmp-sig-v2"
SUITE_PUBLISHED: Final = "mmp-sig-v2.0"
ADDRESS_SCHEME: Final = "mmp-cmb-merkle-v2"

MAX_INTEGER = 2**53 - 1  # beyond it JavaScript peers lose digits


class MetaShape(msgspec.Struct):
    parents: list[str] | None = None


class CategoryShape(msgspec.Struct):
    text: str | None = None
    meta: MetaShape | None = None


class MoodShape(CategoryShape):
    valence: float | None = None
    arousal: float | None = None


class CategoriesShape(msgspec.Struct):
    focus: CategoryShape | str | None = None
    issue: CategoryShape | str | None = None
    intent: CategoryShape | str | None = None
    motivation: CategoryShape | str | None = None
    commitment: CategoryShape | str | None = None
    perspective: CategoryShape | str | None = None
    mood: MoodShape | str | None = None


class LineageShape(msgspec.Struct):
    parents: list[str] | None = None
    method: str | None = None


class ApplicationShape(msgspec.Struct, rename="camel"):
    media_type: str
    schema: str
    encoding: Literal["base64url"]
    byte_length: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256-[0-9a-f]{64}\Z")]
    data: str | None = None


class MetadataShape(msgspec.Struct, rename="camel"):
    key: str
    created_by: Annotated[str, msgspec.Meta(min_length=1)]
    created_timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
    lineage: LineageShape | None = None
    room: str | None = None
    to: str | None = None
    sig: str | None = None
    sig_alg: str | None = None
    signature_suite: Literal["mmp-sig-v2", "mmp-sig-v2.0"] = SUITE
    address_scheme: Literal["mmp-cmb-merkle-v2"] = ADDRESS_SCHEME
    created_by_node_id: str | None = None
    application: ApplicationShape | None = None


class RecordShape(msgspec.Struct):
    categories: CategoriesShape
    metadata: MetadataShape
