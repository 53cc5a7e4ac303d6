"""Our peers and stock programs, both ways, over LAN and relay: what ``scripts/interop`` shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import netns, stock
from interop_parts.scenes import SCENES
from interop_parts.stage import KINDS, Stage, stage

from xmesh_mesh.paths import RuntimeDir

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def need(reason: str | None) -> None:
    if reason:
        pytest.skip(reason)


@pytest.fixture(params=KINDS)
def stock_stage(request: pytest.FixtureRequest, runtime_dir: RuntimeDir) -> Iterator[Stage]:
    need(stock.unavailable(stock.SYM, stock.RELAY))
    need(netns.unavailable())
    with stage(request.param, runtime_dir.root) as made:
        yield made


@pytest.mark.timeout(240)
def test_every_scene_with_stock_programs_is_shown(
    stock_stage: Stage, subtests: pytest.Subtests
) -> None:
    for scene in SCENES:
        if stock_stage.kind in scene.kinds:
            with subtests.test(scene.what):
                assert scene.play(stock_stage)
