"""The labelled sets keep the form, the shares and the hardness that their guideline promises."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from xmesh_mesh.record import FIELDS

HERE = Path(__file__).resolve().parent
LABELS = ("foreign", "relevant", "redundant")
KINDS = {"homonym", "neighbour", "paraphrase", "other-peer", "short", "language", "flip"}
CASE_KEYS = {
    *("id", "domain", "split", "kind", "language", "peer", "memory"),
    *("message", "directed", "label", "why"),
}
MESSAGE_KEYS = {"task", "domain", "split", "seq", "id", "from", "parents", "message", "label"}

Json = dict[str, Any]


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


TRAIN = _lines(HERE / "hard-train.jsonl")
HELD_OUT = _lines(HERE / "hard-held-out.jsonl")
CASES = [*TRAIN, *HELD_OUT]
REAL = [_lines(path) for path in sorted((HERE / "stream").glob("*.jsonl"))]
CROWDED = [_lines(path) for path in sorted((HERE / "crowded").glob("*.jsonl"))]
TERSE = [_lines(path) for path in sorted((HERE / "terse").glob("*.jsonl"))]
STREAMS = [*REAL, *CROWDED, *TERSE]
HEADS = [stream[0] for stream in STREAMS]
MESSAGES = [message for stream in STREAMS for message in stream[1:]]


def _is_record(record: Json) -> bool:
    return (
        bool(record)
        and set(record) <= set(FIELDS)
        and all(isinstance(text, str) and text.strip() == text != "" for text in record.values())
    )


def _is_peer(peer: Json) -> bool:
    weights = peer.get("weights", {})
    return (
        bool(peer["role"] and peer["charter"])
        and set(weights) <= set(FIELDS)
        and all(0 < weight <= 3 for weight in weights.values())
    )


def _text(record: Json) -> str:
    return json.dumps(record, sort_keys=True, ensure_ascii=False).casefold()


def _share(rows: Sequence[Json], label: str) -> float:
    return [row["label"] for row in rows].count(label) / len(rows)


def _worth(message: Json) -> str:
    """Name what a message is to the mesh: relevant or else known to anybody, or else foreign."""
    found = set(message["label"].values())
    return next(label for label in ("relevant", "redundant", "foreign") if label in found)


# The hard set.


def test_every_hard_case_has_the_documented_form() -> None:
    for case in CASES:
        assert set(case) == CASE_KEYS, case["id"]
        assert case["kind"] in KINDS, case["id"]
        assert case["label"] in LABELS, case["id"]
        assert case["split"] == ("train" if case in TRAIN else "held-out"), case["id"]
        assert re.fullmatch("[a-z]{2}", case["language"]), case["id"]
        assert 2 <= len(case["memory"]) <= 6, case["id"]
        assert all(map(_is_record, [*case["memory"], case["message"]])), case["id"]
        assert _is_peer(case["peer"]), case["id"]
        assert case["directed"] is False, case["id"]
        assert case["why"], case["id"]


def test_the_hard_set_is_large_and_its_domains_are_wholly_in_one_split() -> None:
    train, held_out = ({case["domain"] for case in cases} for cases in (TRAIN, HELD_OUT))
    assert min(len(TRAIN), len(HELD_OUT)) >= 200
    assert min(len(train), len(held_out)) >= 16
    assert not train & held_out


@pytest.mark.parametrize("cases", [TRAIN, HELD_OUT], ids=["train", "held-out"])
def test_labels_and_kinds_are_balanced_in_each_split(cases: list[Json]) -> None:
    assert 0.36 <= _share(cases, "relevant") <= 0.46
    assert 0.24 <= _share(cases, "redundant") <= 0.34
    assert 0.24 <= _share(cases, "foreign") <= 0.36
    kinds = Counter(case["kind"] for case in cases)
    assert set(kinds) == KINDS
    assert max(kinds.values()) <= 0.3 * len(cases)
    assert min(kinds.values()) >= 0.08 * len(cases)
    for kind in KINDS - {"paraphrase"}:  # a paraphrase of what the peer knows is never foreign
        assert {case["label"] for case in cases if case["kind"] == kind} == set(LABELS), kind


def test_train_and_held_out_hold_like_shares_of_each_kind_and_label() -> None:
    for key in ("kind", "label"):
        train, held_out = (
            {name: n / len(cases) for name, n in Counter(c[key] for c in cases).items()}
            for cases in (TRAIN, HELD_OUT)
        )
        assert all(abs(train[name] - held_out[name]) < 0.06 for name in train), (train, held_out)


def test_at_least_five_languages_besides_english_are_in_each_split() -> None:
    for cases in (TRAIN, HELD_OUT):
        assert len({case["language"] for case in cases} - {"en"}) >= 5


def test_ids_are_unique() -> None:
    for rows in (CASES, MESSAGES):
        assert len({row["id"] for row in rows}) == len(rows)


def test_no_message_occurs_twice_but_for_another_peer() -> None:
    hard = Counter(_text(case["message"]) for case in CASES if case["kind"] != "other-peer")
    pairs = Counter(_text(case["message"]) for case in CASES if case["kind"] == "other-peer")
    stream = Counter(_text(message["message"]) for message in MESSAGES)
    assert set(hard.values()) == {1}
    assert set(pairs.values()) == {2}
    assert set(stream.values()) == {1}
    assert len(hard | pairs | stream) == len(hard) + len(pairs) + len(stream)


def test_the_same_message_for_another_peer_differs_in_role_charter_and_label_only() -> None:
    pairs: dict[str, list[Json]] = {}
    for case in CASES:
        if case["kind"] == "other-peer":
            pairs.setdefault(_text(case["message"]), []).append(case)
    for one, other in pairs.values():
        assert one["memory"] == other["memory"]
        assert one["peer"]["charter"] != other["peer"]["charter"]
        assert one["label"] != other["label"]


def _words(records: Iterable[Json]) -> set[str]:
    text = " ".join(text for record in records for text in record.values()).casefold()
    return set(re.findall(r"\w\w+|\d", text))


def _with_nearest_record(case: Json) -> float:
    said = _words([case["message"]])
    return max(
        len(said & _words([record])) / len(said | _words([record])) for record in case["memory"]
    )


def _with_all_it_knows(case: Json) -> float:
    said = _words([case["message"]])
    known = _words(case["memory"]) | _words([{"charter": case["peer"]["charter"]}])
    return len(said & known) / max(1, len(said))


def _banded(value: float, bars: tuple[float, float]) -> str:
    return LABELS[(value >= bars[0]) + (value >= bars[1])]


def _pairs(values: Iterable[float]) -> Iterator[tuple[float, float]]:
    bars = [*sorted(set(values)), 2.0]
    return ((low, high) for low in bars for high in bars if low <= high)


def test_form_alone_does_not_give_a_label_away() -> None:
    for cases in (TRAIN, HELD_OUT):
        messages = [
            [case["message"] for case in cases if case["label"] == label] for label in LABELS
        ]
        fields = [mean(map(len, group)) for group in messages]
        length = [median(len("".join(one.values())) for one in group) for group in messages]
        assert max(fields) - min(fields) <= 0.4
        assert max(length) <= 1.4 * min(length)


@pytest.mark.parametrize("overlap", [_with_nearest_record, _with_all_it_knows])
def test_counting_common_words_does_badly_on_the_hard_set(overlap: Any) -> None:
    train = [(round(overlap(case), 2), case["label"]) for case in TRAIN]
    best = max(
        _pairs(value for value, _ in train),
        key=lambda bars: sum(_banded(value, bars) == label for value, label in train),
    )
    right = sum(_banded(round(overlap(case), 2), best) == case["label"] for case in HELD_OUT)
    assert right / len(HELD_OUT) <= 0.45


# The stream set.


def test_every_stream_has_three_peers_and_messages_of_the_documented_form() -> None:
    for head, *messages in STREAMS:
        names = [peer["name"] for peer in head["peers"]]
        assert len(set(names)) == 3, head["task"]
        assert all(map(_is_peer, head["peers"])), head["task"]
        seen: set[str] = set()
        for seq, message in enumerate(messages, 1):
            assert set(message) == MESSAGE_KEYS, message["id"]
            assert message["seq"] == seq, message["id"]
            assert all(message[key] == head[key] for key in ("task", "domain", "split"))
            assert _is_record(message["message"]), message["id"]
            assert set(message["label"]) == set(names) - {message["from"]}, message["id"]
            assert set(message["label"].values()) <= set(LABELS), message["id"]
            assert set(message["parents"]) <= seen, message["id"]
            seen.add(message["id"])


def test_there_are_enough_tasks_and_messages_and_no_domain_is_in_both_splits() -> None:
    splits = Counter(head["split"] for head, *_ in REAL)
    assert min(splits["train"], splits["held-out"]) >= 5
    assert {head["split"] for head, *_ in (*CROWDED, *TERSE)} == {"train"}
    train, held_out = (
        {head["domain"] for head in HEADS if head["split"] == split}
        for split in ("train", "held-out")
    )
    assert not train & held_out
    assert len({head["task"] for head in HEADS}) == len(HEADS)
    assert all(len(stream) > 64 for stream in STREAMS)


def test_two_fifths_of_each_stream_are_foreign_and_a_seventh_is_restated() -> None:
    for head, *messages in STREAMS:
        worth = Counter(map(_worth, messages))
        assert 0.35 <= worth["foreign"] / len(messages) <= 0.45, head["task"]
        assert 0.12 <= worth["redundant"] / len(messages) <= 0.18, head["task"]


def test_nothing_is_redundant_for_a_peer_before_it_has_found_something_relevant() -> None:
    for _, *messages in STREAMS:
        knowing: set[str] = set()
        for message in messages:
            knowing.add(message["from"])
            for peer, label in message["label"].items():
                assert label != "redundant" or peer in knowing, message["id"]
                if label == "relevant":
                    knowing.add(peer)


def test_some_messages_concern_one_peer_and_not_another() -> None:
    split = [message for message in MESSAGES if len(set(message["label"].values())) > 1]
    assert len(split) >= 10
