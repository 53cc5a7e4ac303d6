"""``xmesh-sup cost``: what the ledger says, read beside whoever writes it."""

import pytest
from helpers.mesh import Mesh, running, triad

from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.safety.budgets import Caps
from xmesh_peer.safety.ledger import Account, SpendLedger

CAPS = Caps(9, 9, 9, 10**10, 10**10, 10**10)


@pytest.fixture
def spent(runtime_dir: RuntimeDir) -> Mesh:
    with SpendLedger(runtime_dir.spend_db) as ledger:
        for peer, nano in (("a", 1_000_000), ("b", 2_000_000)):
            account = Account(peer, "run", CAPS)
            ledger.admit_wake(account, "w")
            ledger.reserve(account, "c", "w", 10 * nano)
            ledger.settle(peer, "c", nano)
        ledger.reserve(Account("b", "run", CAPS), "open", "w", 500_000)
    return Mesh(runtime_dir)


def test_every_peer_that_ever_spent_is_shown_with_the_total(spent: Mesh) -> None:
    lines = [line.split() for line in spent.sup("cost").stdout.splitlines()]
    # No run of theirs is recorded, so nothing counts as this run's.
    assert lines[1] == ["a", "$0.0000", "$0.0010", "$0.0010", "$0.0010", "1", "1", "-"]
    assert lines[2] == ["b", "$0.0000", "$0.0025", "$0.0025", "$0.0025", "2", "1", "-"]
    assert lines[3] == ["total", "$0.0000", "$0.0035", "$0.0035", "$0.0035", "3", "2"]
    assert " ".join(lines[4]).startswith("$0.0005 of it is reserved")


def test_named_peers_only(spent: Mesh) -> None:
    document = spent.json("cost", "b")
    assert [peer["name"] for peer in document["peers"]] == ["b"]
    assert document["total"]["hour_nano"] == 2_500_000
    assert document["peers"][0]["lifetime"] == {
        "nano": 2_500_000, "lost_nano": 500_000, "calls": 2, "wakes": 1,
    }  # fmt: skip
    assert document["peers"][0]["caps"] is None


def test_a_mistyped_name_is_refused(spent: Mesh) -> None:
    assert spent.sup("cost", "c", check=False).returncode == 2


def test_nothing_was_ever_spent_on_an_empty_root(runtime_dir: RuntimeDir) -> None:
    assert "nothing was ever spent" in Mesh(runtime_dir).sup("cost").stdout


def test_a_broken_ledger_is_an_error_and_no_zero(runtime_dir: RuntimeDir) -> None:
    runtime_dir.spend_db.write_bytes(b"x" * 10_000)
    done = Mesh(runtime_dir).sup("cost", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_rehearsal_costs_nothing_and_has_no_vendor_and_its_caps_are_shown(
    runtime_dir: RuntimeDir,
) -> None:
    budget = {"max_cost_usd_per_run": 1.5, "max_wakes_per_day": 77}
    files = triad(runtime_dir, {"adapter": "rehearsal"}, budget=budget)
    with running(runtime_dir, files[0]) as mesh:
        mesh.observe("draft a specification for an endpoint")
        mesh.rest()
        row = mesh.sup("cost").stdout.splitlines()[1]
        calls = mesh.calls()
    assert calls >= 1
    assert "$0.0000 of $1.5000" in row
    assert f"{calls}/77" in row
    assert row.endswith("rehearsal: $0.00, no vendor")
