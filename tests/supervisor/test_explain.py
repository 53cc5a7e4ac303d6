"""``xmesh-sup explain`` and ``xmesh-sup admission``: a judgement seen, counted and corrected."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.mesh import ROLES, Mesh
from helpers.people import rested_triad

from xmesh_mesh.encoding.kernels import KERNEL_STATIC
from xmesh_mesh.errors import StoreError
from xmesh_mesh.memory_admission import CallCosts, Count
from xmesh_supervisor.commands.admission import savings
from xmesh_supervisor.lessons import Lesson, read, teach


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rested_triad() as mesh:
        yield mesh


def task_key(mesh: Mesh) -> str:
    return str(mesh.json("trace")["records"][0]["key"])


def test_peers_judge_with_the_hosts_static_embeddings(mesh: Mesh) -> None:
    for name in ROLES:
        counts = mesh.json("admission", name)["counts"]
        assert counts
        assert {count["judge"] for count in counts} == {KERNEL_STATIC}


def test_a_record_is_explained_by_field_with_the_nearest_and_the_bars(mesh: Mesh) -> None:
    found = mesh.json("explain", "reviewer-01", task_key(mesh))
    assert found["then"]
    assert found["insight"]["kernel"] == KERNEL_STATIC
    fields = {entry["name"]: entry for entry in found["insight"]["fields"]}
    assert fields["focus"]["weight"] == 1.0
    assert 0 <= fields["focus"]["charter"] < 1
    assert found["insight"]["nearest"].startswith("cmb-")
    assert found["insight"]["nearest"] != found["record"]["key"]
    assert 0 <= found["concern_bar"] <= 1
    assert found["otherwise"]


def test_a_message_typed_in_is_judged_and_nothing_is_stored(mesh: Mesh) -> None:
    before = mesh.json("explain", "writer-01", "--text", "x")["memory"]
    text = "bake two loaves of rye for the village fair"
    found = mesh.json("explain", "writer-01", "--text", text, "--mood", "hungry")
    assert found["record"]["fields"] == {"focus": text, "mood": "hungry"}
    assert found["then"] is None
    assert found["memory"] == before


def test_the_text_says_who_judged_and_what_would_change_it(mesh: Mesh) -> None:
    told = mesh.sup("explain", "writer-01", "--text", "draft of the login specification").stdout
    for words in ("writer-01 would", "FIELD", "for another verdict:", f"judged by {KERNEL_STATIC}"):
        assert words in told


def test_what_a_person_says_is_kept_and_recalibrates_the_peer(mesh: Mesh) -> None:
    key = task_key(mesh)
    root = mesh.root
    before = mesh.json("explain", "reviewer-01", key)
    for _ in range(2):
        told = mesh.json("admission", "reviewer-01", "--should-sleep", key)
        assert told["should"] == "foreign"
    (lesson,) = read(root.lessons("reviewer-01"))
    assert (lesson.label, lesson.kernel) == ("foreign", KERNEL_STATIC)
    assert mesh.json("admission", "reviewer-01", "--recalibrate")["lessons"] == 1
    after = mesh.json("explain", "reviewer-01", key)
    assert after["concern"] < before["concern"]
    mesh.sup("admission", "reviewer-01", "--forget")
    assert mesh.json("explain", "reviewer-01", key)["concern"] == before["concern"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "writer-01"),
        ("explain", "writer-01", "cmb-00000000"),
        ("explain", "nobody", "--text", "x"),
        ("admission", "nobody"),
        ("admission", "writer-01", "--should-wake", "cmb-00000000"),
        ("admission", "writer-01", "--recalibrate"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_a_fix(
    mesh: Mesh, arguments: tuple[str, ...]
) -> None:
    refused = mesh.sup(*arguments, check=False)
    assert refused.returncode == 2
    assert "fix:" in refused.stderr


def test_savings_are_what_sleeping_spared_less_what_questions_took() -> None:
    counts = [
        Count("k", "foreign", True, 8, 0, 0, 0, 0, 0),
        Count("k", "relevant", False, 4, 2, 4, 800, 50, 0),
    ]
    saved = savings(counts, CallCosts(calls=2, nano=200, tokens=4_000))
    assert (saved.slept, saved.nano, saved.tokens) == (10, 950, 19_200)
    nothing = savings(counts, CallCosts(0, 0, 0))
    assert (nothing.nano, nothing.tokens) == (-50, -800)


def test_the_last_word_about_a_record_counts(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lessons.jsonl"
    assert read(path) == []
    teach(path, Lesson("a", "foreign", "k", {"far": 0.5}, 1))
    teach(path, Lesson("a", "relevant", "k", {"far": 0.5}, 2))
    (only,) = read(path)
    assert (only.label, only.at_ms) == ("relevant", 2)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"assertion": 1}', b"\xff"])
def test_a_line_that_is_no_lesson_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "lessons.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(StoreError, match="line 1 is no lesson"):
        read(path)
