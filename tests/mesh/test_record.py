"""Records: composing, reading what anybody may have written, and writing."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from helpers.records import KEY_A, KEY_B, KEY_C, TEXTS, record, records
from hypothesis import example, given
from hypothesis import strategies as st

from xmesh_mesh.canonical import category_key, content_address
from xmesh_mesh.errors import RecordError
from xmesh_mesh.record import (
    FIELDS,
    MAX_PARENTS,
    MAX_RECORD_BYTES,
    MAX_TEXT,
    SUITE,
    SUITE_PUBLISHED,
    Application,
    Category,
    Record,
    compose,
    decode,
    encode,
    from_wire,
    to_wire,
)

SAFE = 2**53 - 1
DIGEST = "sha256-" + "0" * 64
PAYLOAD = {
    "mediaType": "text/plain",
    "schema": "s",
    "encoding": "base64url",
    "byteLength": 1,
    "digest": DIGEST,
}


def wire(**metadata: Any) -> dict[str, Any]:
    """Return a well-formed record's wire form with ``metadata`` changed."""
    value = to_wire(record())
    value["metadata"] |= metadata
    return value


def with_category(field: str, category: Any) -> dict[str, Any]:
    value = wire()
    value["categories"][field] = category
    return value


def published(**metadata: Any) -> dict[str, Any]:
    return wire(**{"signatureSuite": SUITE_PUBLISHED, "createdByNodeId": "n-1", **metadata})


def refused(value: object) -> str:
    """Return the code with which both readers refuse ``value``."""
    with pytest.raises(RecordError) as direct:
        from_wire(value)
    with pytest.raises(RecordError) as read:
        decode(json.dumps(value))
    assert direct.value.code == read.value.code
    return direct.value.code


def test_the_bounds_are_those_that_others_rely_on() -> None:
    assert (MAX_RECORD_BYTES, MAX_TEXT, MAX_PARENTS) == (262_144, 65_536, 64)


class TestCompose:
    def test_fills_silent_fields_with_neutral_in_order(self) -> None:
        made = record(texts={"mood": "", "focus": "here"})
        assert tuple(made.categories) == FIELDS
        assert made.texts() == dict.fromkeys(FIELDS, "neutral") | {"focus": "here"}

    def test_addresses_the_words_and_nothing_else(self) -> None:
        made = record(parents=[KEY_A], to="n", valence=0.5)
        assert made.key == content_address(TEXTS) == record(created_by="x", created_ms=0).key

    def test_leaves_it_unsigned_in_the_deployed_suite(self) -> None:
        made = record()
        assert (made.sig, made.suite, made.created_by_node_id) == (None, SUITE, None)

    def test_names_a_method_only_where_there_is_lineage(self) -> None:
        assert record(method="SVAF-v2").method is None
        assert record(parents=[KEY_A]).method == "emit"
        assert record(parents=[KEY_A], method="SVAF-v2").method == "SVAF-v2"

    def test_keeps_the_order_of_parents(self) -> None:
        made = record(parents=[KEY_B, KEY_A], category_parents={"issue": ["z", "a"]})
        assert made.parents == (KEY_B, KEY_A)
        assert made.categories["issue"].parents == ("z", "a")

    @pytest.mark.parametrize(
        ("given_numbers", "kept"),
        [
            ({}, (None, None)),
            ({"valence": 0.5}, (0.5, 0.0)),
            ({"arousal": -0.5}, (0.0, -0.5)),
            ({"valence": 0.0}, (0.0, 0.0)),
        ],
    )
    def test_gives_mood_both_numbers_or_none(
        self, given_numbers: dict[str, float], kept: tuple[float | None, ...]
    ) -> None:
        made = record(**given_numbers)
        mood = made.categories["mood"]
        assert (mood.valence, mood.arousal) == kept
        assert made.categories["focus"] == Category(TEXTS["focus"])

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"texts": {"colour": "red"}}, "malformed"),
            ({"category_parents": {"colour": ["x"]}}, "malformed"),
            ({"parents": ["cmb1-" + "a" * 64]}, "malformed"),
            ({"parents": [KEY_A.upper()]}, "malformed"),
            ({"created_by": ""}, "malformed"),
            ({"created_ms": -1}, "malformed"),
            ({"created_ms": SAFE + 1}, "malformed"),
            ({"valence": float("nan")}, "malformed"),
            ({"arousal": float("inf")}, "malformed"),
            ({"texts": {"focus": "\ud800"}}, "bad-text"),
            ({"created_by": "\udfff"}, "bad-text"),
            ({"category_parents": {"mood": ["\ud800"]}}, "bad-text"),
            ({"texts": {"focus": "é" * (MAX_TEXT // 2) + "x"}}, "too-large"),
            ({"group": "x" * 257}, "too-large"),
            ({"parents": [KEY_A] * (MAX_PARENTS + 1)}, "too-many-parents"),
        ],
    )
    def test_refuses_what_is_out_of_bounds(self, changes: dict[str, Any], code: str) -> None:
        with pytest.raises(RecordError) as error:
            record(**changes)
        assert error.value.code == code

    def test_takes_what_is_just_within_bounds(self) -> None:
        record(created_ms=0)
        record(created_ms=SAFE, group="x" * 256, to="é" * 128)
        record(parents=[KEY_A] * (MAX_PARENTS - 1), category_parents={"mood": ["x"]})
        made = record(texts={"focus": "é" * (MAX_TEXT // 2)})
        assert decode(encode(made)) == made


class TestReading:
    def test_reads_what_it_wrote(self) -> None:
        made = record(parents=[KEY_B], category_parents={"mood": [KEY_A]}, to="n", arousal=1)
        assert decode(encode(made)) == made == from_wire(to_wire(made))
        assert decode(encode(made).decode()) == made

    @given(records())
    def test_reads_whatever_can_be_composed(self, made: Record) -> None:
        assert decode(encode(made)) == made

    @given(st.binary(max_size=300))
    @example(b"[" * 50_000)
    @example(b'{"a":' * 50_000)
    @example(b'{"categories":{},"metadata":{},"x":' + b"[" * 100_000)
    def test_any_bytes_are_a_record_or_refused(self, data: bytes) -> None:
        with contextlib.suppress(RecordError):
            assert isinstance(decode(data), Record)

    @given(st.data())
    def test_any_damage_to_a_record_is_a_record_or_refused(self, data: st.DataObject) -> None:
        whole = bytearray(encode(record(parents=[KEY_A], valence=0.1)))
        for _ in range(data.draw(st.integers(1, 3))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = decode(bytes(whole))
        except RecordError:
            return
        assert decode(encode(read)) == read

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["categories", "metadata", "focus", "text", "meta", "key"]),
                    inner,
                    max_size=4,
                )
            ),
        )
    )
    def test_any_value_is_a_record_or_refused(self, value: object) -> None:
        with contextlib.suppress(RecordError):
            assert isinstance(from_wire(value), Record)

    def test_ignores_keys_that_it_does_not_know(self) -> None:
        value = wire(colour="red")
        value["payload"] = {"a": [1]}
        value["lineage"] = {"parents": [KEY_C], "ancestors": [], "method": None}
        value["categories"]["focus"]["vector"] = [0.5]
        value["categories"]["focus"]["meta"]["key"] = 7
        value["categories"]["colour"] = {"text": "red"}
        assert from_wire(value) == record()

    def test_takes_fewer_fields_and_bare_strings(self) -> None:
        value = wire()
        value["categories"] = {"issue": "plain", "mood": "m", "focus": {"text": None}}
        read = from_wire(value)
        assert tuple(read.categories) == ("focus", "issue", "mood")
        assert read.texts() == {"focus": "", "issue": "plain", "mood": "m"}
        assert read.text("intent") == ""

    @pytest.mark.parametrize("meta", [None, {}, {"parents": None}, {"parents": []}])
    def test_missing_parents_are_no_parents(self, meta: Any) -> None:
        read = from_wire(with_category("focus", {"text": "x", "meta": meta}))
        assert read.categories["focus"].parents == ()

    @pytest.mark.parametrize(
        ("lineage", "parents", "method"),
        [
            (None, (), None),
            ({}, (), None),
            ({"parents": [KEY_B, KEY_A], "method": None}, (KEY_B, KEY_A), None),
            ({"parents": [], "method": "m"}, (), "m"),
        ],
    )
    def test_reads_lineage(
        self, lineage: Any, parents: tuple[str, ...], method: str | None
    ) -> None:
        read = from_wire(wire(lineage=lineage))
        assert (read.parents, read.method) == (parents, method)
        assert decode(encode(read)) == read

    @pytest.mark.parametrize("algorithm", [None, "rsa", "ED25519"])
    def test_another_algorithm_is_no_signature(self, algorithm: str | None) -> None:
        assert from_wire(wire(sig="x", sigAlg=algorithm)).sig is None
        assert from_wire(wire(sig="x", sigAlg="ed25519")).sig == "x"

    def test_the_published_suite_has_a_node_and_a_payload(self) -> None:
        read = from_wire(published(application={**PAYLOAD, "data": "AA"}))
        assert (read.suite, read.created_by_node_id) == (SUITE_PUBLISHED, "n-1")
        assert read.application == Application("text/plain", "s", 1, DIGEST, "AA")
        assert decode(encode(read)) == read
        without_data = from_wire(published(application=PAYLOAD))
        assert to_wire(without_data)["metadata"]["application"] == PAYLOAD

    def test_the_deployed_suite_has_neither(self) -> None:
        read = from_wire(wire(createdByNodeId="n", application=PAYLOAD, signatureSuite=SUITE))
        assert (read.created_by_node_id, read.application) == (None, None)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            [],
            "record",
            {},
            {"categories": {}},
            {"categories": "c2VhbGVk", "metadata": wire()["metadata"]},
            wire(key=None),
            wire(createdBy=""),
            wire(createdBy=7),
            wire(createdTimestamp="1"),
            wire(createdTimestamp=1.5),
            wire(createdTimestamp=True),
            wire(createdTimestamp=-1),
            wire(createdTimestamp=SAFE + 1),
            wire(createdTimestamp=10**40),
            wire(room=1),
            wire(to=[]),
            wire(lineage=[]),
            wire(lineage={"parents": "x"}),
            wire(lineage={"parents": [1]}),
            wire(signatureSuite="mmp-sig-v3"),
            wire(signatureSuite=None),
            wire(addressScheme="other"),
            with_category("focus", 7),
            with_category("focus", {"text": 7}),
            with_category("focus", {"text": "x", "meta": []}),
            with_category("focus", {"text": "x", "meta": {"parents": [None]}}),
            with_category("mood", {"text": "x", "valence": "high"}),
            published(createdByNodeId=None),
            published(createdByNodeId=""),
            published(application="x"),
            published(application={**PAYLOAD, "encoding": "base64"}),
            published(application={**PAYLOAD, "byteLength": -1}),
            published(application={**PAYLOAD, "digest": DIGEST + "\n"}),
            published(application={**PAYLOAD, "digest": "md5-0"}),
        ],
        ids=repr,
    )
    def test_refuses_malformed_values(self, value: object) -> None:
        assert refused(value) == "malformed"

    @pytest.mark.parametrize(
        "value",
        [
            wire(key="k" * 257),
            wire(createdBy="k" * 257),
            wire(to="é" * 129),
            wire(sig="k" * 257, sigAlg="ed25519"),
            wire(lineage={"parents": ["k" * 257]}),
            wire(lineage={"parents": [], "method": "k" * 257}),
            with_category("mood", "x" * (MAX_TEXT + 1)),
            with_category("mood", {"text": "x", "meta": {"parents": ["k" * 257]}}),
            published(createdByNodeId="k" * 257),
            published(application={**PAYLOAD, "schema": "k" * 257}),
            published(application={**PAYLOAD, "mediaType": "k" * 257}),
        ],
        ids=lambda value: repr(value)[-60:],
    )
    def test_refuses_what_is_too_large(self, value: object) -> None:
        assert refused(value) == "too-large"

    def test_refuses_more_parents_than_the_bound_in_all(self) -> None:
        value = wire(lineage={"parents": [KEY_A] * MAX_PARENTS})
        assert len(from_wire(value).parents) == MAX_PARENTS
        value["categories"]["mood"]["meta"]["parents"] = ["x"]
        assert refused(value) == "too-many-parents"

    @pytest.mark.parametrize(
        "value", [with_category("focus", "\ud800"), wire(createdBy="\udc00"), wire(key="\ud800")]
    )
    def test_refuses_lone_surrogates_however_they_come(self, value: Any) -> None:
        with pytest.raises(RecordError) as direct:
            from_wire(value)
        assert direct.value.code == "bad-text"
        with pytest.raises(RecordError):
            decode(json.dumps(value))
        with pytest.raises(RecordError) as raw:
            decode(json.dumps(value, ensure_ascii=False))
        assert raw.value.code == "bad-text"

    def test_refuses_more_bytes_than_the_bound(self) -> None:
        whole = encode(record())
        padded = whole + b" " * (MAX_RECORD_BYTES - len(whole))
        assert decode(padded) == record()
        with pytest.raises(RecordError) as error:
            decode(padded + b" ")
        assert error.value.code == "too-large"

    @pytest.mark.parametrize("number", ["1e999", "9" * 400, "NaN"])
    def test_refuses_numbers_that_are_none(self, number: str) -> None:
        text = json.dumps(with_category("mood", {"text": "x", "valence": "?"}))
        with pytest.raises(RecordError):
            decode(text.replace('"?"', number))
        with pytest.raises(RecordError):
            from_wire(with_category("mood", {"text": "x", "valence": float(number)}))


class TestWriting:
    def test_has_the_deployed_shape(self) -> None:
        made = replace(record(to="n-2", valence=0.5), sig="s")
        value = to_wire(made)
        assert value["metadata"] == {
            "key": made.key,
            "createdBy": "writer-01",
            "createdTimestamp": 1_800_000_000_000,
            "lineage": None,
            "room": "lab",
            "to": "n-2",
            "sig": "s",
            "sigAlg": "ed25519",
        }
        assert tuple(value["categories"]) == FIELDS
        assert value["categories"]["mood"] == {
            "text": TEXTS["mood"],
            "valence": 0.5,
            "arousal": 0.0,
            "meta": {"key": category_key("mood", TEXTS["mood"]).hex(), "parents": []},
        }

    def test_an_unsigned_record_names_no_algorithm(self) -> None:
        assert not {"sig", "sigAlg"} & to_wire(record())["metadata"].keys()

    def test_is_compact(self) -> None:
        made = record()
        assert encode(made) == msgspec.json.encode(to_wire(made))

    def test_refuses_to_write_more_than_may_be_read(self) -> None:
        room = MAX_RECORD_BYTES - len(encode(record(texts=dict.fromkeys(FIELDS, "x")))) + 5
        sizes = [MAX_TEXT, MAX_TEXT, MAX_TEXT, room - 3 * MAX_TEXT]
        fits = {f: "x" * n for f, n in zip(FIELDS, [*sizes, 1, 1, 1], strict=True)}
        fits["intent"] = fits["intent"][1:]
        made = record(texts=fits)
        assert len(encode(made)) == MAX_RECORD_BYTES
        assert decode(encode(made)) == made
        with pytest.raises(RecordError) as error:
            encode(replace(made, created_by="writer-001"))
        assert error.value.code == "too-large"


class TestLookingAt:
    def test_spoken_leaves_out_the_empty_and_the_neutral(self) -> None:
        made = record(
            texts={"focus": " Neutral ", "issue": "  ", "intent": "neutrality", "mood": "NEUTRAL"}
        )
        assert made.spoken() == {"intent": "neutrality"}

    def test_all_parents_are_keys_each_once_in_order(self) -> None:
        ref = f"{KEY_C}#focus~{'0' * 64}"
        made = record(
            parents=[KEY_B, KEY_A, KEY_B],
            category_parents={"mood": [KEY_A, KEY_C], "focus": ["free text", ref, KEY_B]},
        )
        assert made.all_parents() == (KEY_B, KEY_A, KEY_C)

    def test_a_reference_to_a_field_counts_as_its_key(self) -> None:
        made = record(category_parents={"mood": [f"{KEY_C}#focus~{'0' * 64}", f"{KEY_B}#"]})
        assert made.all_parents() == (KEY_C, KEY_B)

    @pytest.mark.parametrize(
        "ref", ["", KEY_A[:-1], KEY_A + "0", KEY_A + "~x", KEY_A.upper(), "cmb1-" + "a" * 64]
    )
    def test_all_parents_leave_out_what_is_no_key(self, ref: str) -> None:
        assert record(category_parents={"mood": [ref]}).all_parents() == ()

    def test_a_record_cannot_be_changed(self) -> None:
        made = record()
        with pytest.raises(TypeError):
            made.categories["focus"] = Category("other")  # type: ignore[index]
        with pytest.raises(AttributeError):
            made.key = KEY_A  # type: ignore[misc]

    def test_compose_takes_any_iterables(self) -> None:
        made = compose({}, created_by="a", created_ms=1, group=None, parents=iter([KEY_A]))
        assert made.parents == (KEY_A,)
