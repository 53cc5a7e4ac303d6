"""``scripts/bench-admission``: all its figures, and the judge ahead of every baseline."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
BASELINES = ("deployed arithmetic", "one cosine (static)", "word overlap")


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, str], dict[str, Any]]:
    arguments = ("--json", "--split", "held-out", "--encoder", "static")
    done = subprocess.run(
        [sys.executable, "bench_admission.py", *arguments],
        cwd=SCRIPTS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return {(row["set"], row["judge"]): row for row in json.loads(done.stdout)}


def test_each_judge_has_its_confusion_its_wakes_and_its_cost(
    figures: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert {name for name, _ in figures} == {"stream", "hard"}
    for row in figures.values():
        counts = [count for said in row["confusion"].values() for count in said.values()]
        assert sum(counts) == row["cases"]
        assert set(row["wakes"]) == {"relevant", "redundant", "foreign"}
        assert row["ms"] > 0
        assert row["by_kind"]


@pytest.mark.parametrize("name", ["stream", "hard"])
def test_the_default_judge_is_right_more_often_than_every_baseline(
    name: str, figures: dict[tuple[str, str], dict[str, Any]]
) -> None:
    own = figures[name, "static"]["accuracy"]
    assert all(own > figures[name, baseline]["accuracy"] for baseline in BASELINES)


def test_streams_are_judged_as_a_peer_lives_them_too(
    figures: dict[tuple[str, str], dict[str, Any]],
) -> None:
    for judge in ("static", "static + second look"):
        lived, told = figures["stream", f"{judge}, as lived"], figures["stream", judge]
        assert lived["cases"] == told["cases"]
        assert lived["confusion"] != told["confusion"]
        assert lived["accuracy"] > 0.85


@pytest.mark.parametrize("name", ["stream", "hard"])
def test_a_second_look_saves_calls_and_is_right_in_four_of_five(
    name: str, figures: dict[tuple[str, str], dict[str, Any]]
) -> None:
    alone, asked = figures[name, "static"], figures[name, "static + second look"]
    assert asked["accuracy"] >= 0.8
    assert asked["calls"] < alone["calls"]
    assert 0 < asked["question_tokens"] <= 405 * asked["asked"]
