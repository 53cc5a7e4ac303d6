"""A running peer takes up its own calibration, and lets go of it, with the next message."""

import tomllib
from pathlib import Path

import msgspec
from helpers.nodes import Author
from msgspec.structs import replace

from xmesh_mesh.admission import Candidate, Surroundings, Verdict
from xmesh_mesh.encoding.kernels import KERNEL_NGRAM
from xmesh_mesh.judging.calibrations import shipped
from xmesh_mesh.judging.decision import Calibration
from xmesh_mesh.paths import RuntimeDir, write_atomic
from xmesh_peer import config, plan
from xmesh_peer.gatekeeper import Gatekeeper
from xmesh_peer.log import Log

AUTHOR = Author("writer-01")
HELD = Surroundings("Reviews drafts of specifications.", {}, (), (), name="reviewer-01")
TEXT = """
[identity]
name = "reviewer-01"
[model]
adapter = "rehearsal"
[admission]
encoder = "ngram"
"""


def gatekeeper_of(root: RuntimeDir) -> tuple[Gatekeeper, Log]:
    settings = config.parse(tomllib.loads(TEXT), Path("agent.toml"))
    found = plan.resolve(settings, Path("agent.toml"), {}, terminal=False)
    log = Log("reviewer-01", settings.logging)
    return Gatekeeper(root, found, log), log


def judged(gatekeeper: Gatekeeper) -> Verdict:
    record = AUTHOR.says({"focus": "draft of the specification of the login limits"})
    return gatekeeper.judge(Candidate(record, 0.0, False), HELD)


def stricter(bias: float = -9.0) -> Calibration:
    base = shipped(KERNEL_NGRAM)
    return replace(base, alone=replace(base.alone, bias=bias), learnt_from="a test")


def test_its_own_calibration_counts_from_the_next_message_and_no_longer_than_it_is_there(
    runtime_dir: RuntimeDir,
) -> None:
    root = runtime_dir.ensure()
    gatekeeper, _ = gatekeeper_of(root)
    usual = judged(gatekeeper)
    path = root.calibration("reviewer-01")
    write_atomic(path, msgspec.json.encode(stricter()))
    assert judged(gatekeeper).drift > 0.99 > usual.drift
    path.unlink()
    assert judged(gatekeeper) == usual


def test_one_that_was_learnt_for_another_judge_is_not_used_and_the_log_says_what_to_do(
    runtime_dir: RuntimeDir,
) -> None:
    root = runtime_dir.ensure()
    base = stricter()
    trees = replace(base.alone.trees, names=[f"old_{name}" for name in base.alone.trees.names])
    old = replace(base, alone=replace(base.alone, trees=trees))
    path = root.calibration("reviewer-01")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, msgspec.json.encode(old))
    gatekeeper, log = gatekeeper_of(root)
    assert judged(gatekeeper).drift < 0.99
    assert "another version of the judge" in log.last
    assert "--recalibrate" in log.last
