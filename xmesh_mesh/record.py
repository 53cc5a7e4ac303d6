"""The record (CMB): what a peer says, in seven fields, under an address made of its words.

A record read from the wire is hostile until ``signing.verify`` has passed it. Reading checks
shapes, sizes and types only, and raises ``RecordError`` with one of these codes:

    malformed         no JSON, a wrong type, something missing, a value out of range
    bad-text          a string that has no UTF-8 form (a lone surrogate)
    too-large         the whole, or one string, over its bound
    too-many-parents  more than ``MAX_PARENTS`` references in all

Unknown keys are ignored. Source: MMP, the deployed ``{categories, metadata}`` shape.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from xmesh_mesh.canonical import FIELDS, category_key, content_address, is_key
from xmesh_mesh.errors import RecordError
from xmesh_mesh.record_shapes import (
    ADDRESS_SCHEME,
    MAX_INTEGER,
    SUITE,
    SUITE_PUBLISHED,
    ApplicationShape,
    CategoriesShape,
    CategoryShape,
    LineageShape,
    MoodShape,
    RecordShape,
)

__all__ = [
    "ADDRESS_SCHEME",
    "FIELDS",
    "MAX_PARENTS",
    "MAX_RECORD_BYTES",
    "MAX_TEXT",
    "NEUTRAL",
    "SUITE",
    "SUITE_PUBLISHED",
    "Application",
    "Category",
    "Record",
    "compose",
    "decode",
    "encode",
    "from_wire",
    "is_key",
    "to_wire",
]

NEUTRAL = "neutral"

MAX_RECORD_BYTES = 262_144
MAX_TEXT = 65_536  # bytes of UTF-8 in one field
MAX_PARENTS = 64  # block and per-category references together
_MAX_LABEL = 256  # bytes of a name, a room, a key, a reference

_KEY_LENGTH = len("cmb-") + 64
_DEFAULT_METHOD = "emit"


@dataclass(frozen=True, slots=True)
class Category:
    """One field: its text, the references it cites for itself, and for ``mood`` two numbers."""

    text: str
    parents: tuple[str, ...] = ()
    valence: float | None = None
    arousal: float | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """The descriptor of a payload that a record of the published suite may carry."""

    media_type: str
    schema: str
    byte_length: int
    digest: str  # "sha256-" and 64 hex digits
    data: str | None = None  # base64url


@dataclass(frozen=True, slots=True)
class Record:
    """A record as on the wire. Neither signature nor address is vouched for by its existence."""

    categories: Mapping[str, Category]
    key: str
    created_by: str
    created_ms: int
    group: str | None
    to: str | None
    parents: tuple[str, ...] = ()
    method: str | None = None
    sig: str | None = None
    suite: str = SUITE
    created_by_node_id: str | None = None
    application: Application | None = None

    def text(self, field: str) -> str:
        """Return the field's text, empty where the record does not have the field."""
        category = self.categories.get(field)
        return category.text if category else ""

    def texts(self) -> dict[str, str]:
        return {field: category.text for field, category in self.categories.items()}

    def spoken(self) -> dict[str, str]:
        """Return the fields that say something: neither empty nor ``neutral``."""
        return {f: text for f, text in self.texts().items() if _says_something(text)}

    def category_parents(self) -> dict[str, tuple[str, ...]]:
        return {field: category.parents for field, category in self.categories.items()}

    def all_parents(self) -> tuple[str, ...]:
        """Return the keys that the record cites, as block or per category, each once."""
        refs = [*self.parents, *(ref for c in self.categories.values() for ref in c.parents)]
        keys = (_key_of(ref) for ref in refs)
        return tuple(dict.fromkeys(key for key in keys if key))


def compose(
    texts: Mapping[str, str],
    *,
    created_by: str,
    created_ms: int,
    group: str | None,
    to: str | None = None,
    parents: Iterable[str] = (),
    category_parents: Mapping[str, Iterable[str]] = MappingProxyType({}),
    method: str | None = None,
    valence: float | None = None,
    arousal: float | None = None,
) -> Record:
    """Return an unsigned record with its address; a missing or empty text becomes ``neutral``."""
    for field in (*texts, *category_parents):
        if field not in FIELDS:
            raise RecordError("malformed", f"{field!r} is none of the seven fields")
    feeling = _feeling(valence, arousal)
    categories = {
        field: Category(
            texts.get(field) or NEUTRAL,
            tuple(category_parents.get(field, ())),
            *(feeling if field == "mood" else ()),
        )
        for field in FIELDS
    }
    cited = tuple(parents)
    if not all(map(is_key, cited)):
        raise RecordError("malformed", "a block parent is no record key")
    _check_texts(categories)
    return _checked(
        Record(
            categories=MappingProxyType(categories),
            key=content_address({field: c.text for field, c in categories.items()}),
            created_by=created_by,
            created_ms=created_ms,
            group=group,
            to=to,
            parents=cited,
            method=(method or _DEFAULT_METHOD) if cited else None,
        )
    )


def to_wire(record: Record) -> dict[str, Any]:
    """Return ``{"categories", "metadata"}`` as deployed nodes emit them."""
    metadata: dict[str, Any] = {
        "key": record.key,
        "createdBy": record.created_by,
        "createdTimestamp": record.created_ms,
        "lineage": _lineage_to_wire(record),
        "room": record.group,
        "to": record.to,
    }
    if record.suite == SUITE_PUBLISHED:
        metadata |= _published_to_wire(record)
    if record.sig is not None:
        metadata |= {"sig": record.sig, "sigAlg": "ed25519"}
    categories = {f: _category_to_wire(f, c) for f, c in record.categories.items()}
    return {"categories": categories, "metadata": metadata}


def encode(record: Record) -> bytes:
    """Return compact JSON; RecordError ``too-large`` over ``MAX_RECORD_BYTES``."""
    data = _ENCODER.encode(to_wire(record))
    if len(data) > MAX_RECORD_BYTES:
        raise RecordError("too-large", f"the record has {len(data)} bytes of JSON")
    return data


def decode(data: bytes | str) -> Record:
    """Read a record from JSON that anybody may have written; RecordError where it is none."""
    try:
        raw = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError as error:
        raise RecordError("bad-text", "the record holds a lone surrogate") from error
    if len(raw) > MAX_RECORD_BYTES:
        raise RecordError("too-large", f"the record has {len(raw)} bytes of JSON")
    try:
        wire = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError("malformed", str(error)) from error
    return _from_struct(wire)


def from_wire(obj: object) -> Record:
    """Read a record from values that a JSON reader gave; RecordError where it is none."""
    try:
        wire = msgspec.convert(obj, RecordShape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RecordError("malformed", str(error)) from error
    return _from_struct(wire)


_DECODER = msgspec.json.Decoder(RecordShape)
_ENCODER = msgspec.json.Encoder()


def _from_struct(wire: RecordShape) -> Record:
    meta = wire.metadata
    lineage = meta.lineage or LineageShape()
    published = meta.signature_suite == SUITE_PUBLISHED
    categories = _categories(wire.categories)
    _check_texts(categories)
    return _checked(
        Record(
            categories=MappingProxyType(categories),
            key=meta.key,
            created_by=meta.created_by,
            created_ms=meta.created_timestamp,
            group=meta.room,
            to=meta.to,
            parents=tuple(lineage.parents or ()),
            method=lineage.method,
            # Deployed nodes take any other algorithm for "not signed".
            sig=meta.sig if meta.sig_alg == "ed25519" else None,
            suite=meta.signature_suite,
            created_by_node_id=meta.created_by_node_id if published else None,
            application=_application(meta.application) if published else None,
        )
    )


def _categories(wire: CategoriesShape) -> dict[str, Category]:
    found = {field: getattr(wire, field) for field in FIELDS}
    return {field: _category(value) for field, value in found.items() if value is not None}


def _category(wire: CategoryShape | str) -> Category:
    if isinstance(wire, str):
        return Category(wire)
    parents = tuple(wire.meta.parents or ()) if wire.meta else ()
    if isinstance(wire, MoodShape):
        return Category(wire.text or "", parents, wire.valence, wire.arousal)
    return Category(wire.text or "", parents)


def _application(wire: ApplicationShape | None) -> Application | None:
    if wire is None:
        return None
    _bounded(wire.data or "", MAX_RECORD_BYTES, "the application's data")
    for label in (wire.media_type, wire.schema):
        _bounded(label, _MAX_LABEL, "the application's descriptor")
    return Application(wire.media_type, wire.schema, wire.byte_length, wire.digest, wire.data)


def _check_texts(categories: Mapping[str, Category]) -> None:
    for field, category in categories.items():
        _bounded(category.text, MAX_TEXT, field)
        for number in (category.valence, category.arousal):
            if number is not None and not math.isfinite(number):
                raise RecordError("malformed", f"{field} has a number that is none")


def _checked(record: Record) -> Record:
    """Return ``record`` if all that is not a field's text keeps its bounds."""
    if not record.created_by or not 0 <= record.created_ms <= MAX_INTEGER:
        raise RecordError("malformed", "a record has an author, and a time in milliseconds")
    if record.suite == SUITE_PUBLISHED and not record.created_by_node_id:
        raise RecordError("malformed", f"a record of suite {SUITE_PUBLISHED} names its node")
    refs = [*record.parents, *(ref for c in record.categories.values() for ref in c.parents)]
    if len(refs) > MAX_PARENTS:
        raise RecordError("too-many-parents", f"the record cites {len(refs)} parents")
    labels = (record.key, record.created_by, record.group, record.to, record.method)
    for label in (*labels, record.sig, record.created_by_node_id, *refs):
        _bounded(label or "", _MAX_LABEL, "a name, a key or a reference")
    return record


def _bounded(text: str, limit: int, what: str) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise RecordError("bad-text", f"{what} holds a lone surrogate") from error
    if size > limit:
        raise RecordError("too-large", f"{what} has {size} bytes; the bound is {limit}")


def _feeling(valence: float | None, arousal: float | None) -> tuple[float, ...]:
    """Return mood's numbers as deployed nodes pair them: both, or neither."""
    if valence is None and arousal is None:
        return ()
    return (valence or 0.0, arousal or 0.0)


def _says_something(text: str) -> bool:
    return text.strip().casefold() not in {"", NEUTRAL}


def _key_of(ref: str) -> str | None:
    """Return the key in a reference ``cmb-<64 hex>`` or ``cmb-<64 hex>#<field>~<64 hex>``."""
    key, rest = ref[:_KEY_LENGTH], ref[_KEY_LENGTH:]
    return key if is_key(key) and rest[:1] in {"", "#"} else None


def _lineage_to_wire(record: Record) -> dict[str, Any] | None:
    if not record.parents and record.method is None:
        return None
    return {"parents": list(record.parents), "method": record.method}


def _published_to_wire(record: Record) -> dict[str, Any]:
    return {
        "addressScheme": ADDRESS_SCHEME,
        "signatureSuite": record.suite,
        "createdByNodeId": record.created_by_node_id,
        "application": _application_to_wire(record.application),
    }


def _application_to_wire(application: Application | None) -> dict[str, Any] | None:
    if application is None:
        return None
    described = {
        "mediaType": application.media_type,
        "schema": application.schema,
        "encoding": "base64url",
        "byteLength": application.byte_length,
        "digest": application.digest,
    }
    return described if application.data is None else {**described, "data": application.data}


def _category_to_wire(field: str, category: Category) -> dict[str, Any]:
    wire: dict[str, Any] = {"text": category.text}
    if category.valence is not None:
        wire["valence"] = category.valence
    if category.arousal is not None:
        wire["arousal"] = category.arousal
    key = category_key(field, category.text).hex()
    wire["meta"] = {"key": key, "parents": list(category.parents)}
    return wire
