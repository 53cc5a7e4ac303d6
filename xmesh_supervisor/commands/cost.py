"""xmesh-sup cost"""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.output import money, table, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmesh_peer.plan import PeerPlan
    from xmesh_peer.safety.budgets import Caps
    from xmesh_peer.safety.ledger import Lifetime, Spent

HELP = """\
What each peer has spent in this run, this hour and this day, against its caps, and in all its
lifetime; calls and wakes beside it. Money that is reserved for a call under way, or for one whose
end is unknown, counts in full. The ledger is only read: it works beside running peers."""
EXAMPLE = "xmesh-sup cost reviewer-01"
EXITS = "0 done; 1 the ledger cannot be read; 2 unknown name"

_HEADER = ("NAME", "RUN", "HOUR", "DAY", "LIFETIME", "CALLS", "WAKES/DAY", "MODEL")
_UNPAID = {"rehearsal": "rehearsal: $0.00, no vendor", "ollama": "ollama: $0.00, no vendor"}
_SPANS = ("run", "hour", "day")


@dataclass(frozen=True, slots=True)
class Bill:
    """One peer's figures; ``caps`` None where its plan is not recorded."""

    name: str
    spent: "Spent"
    life: "Lifetime"
    caps: "Caps | None"
    adapter: str
    model: str

    def nano(self, span: str) -> int:
        return int(getattr(self.spent, f"{span}_nano"))

    def cap(self, span: str) -> int | None:
        return int(getattr(self.caps, f"{span}_nano")) if self.caps else None


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peers", nargs="*", metavar="PEER", help="a peer; all where none is named")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    bills = _bills(RuntimeDir.from_env(), args.peers)
    (_as_json if args.json else _as_text)(bills)
    return 0


def _bills(root: RuntimeDir, names: "Sequence[str]") -> list[Bill]:
    from xmesh_peer.safety.ledger import SpendLedger
    from xmesh_supervisor.kill import nearest
    from xmesh_supervisor.ledger import recorded
    from xmesh_supervisor.operator import peer_names, plans

    known_plans = plans(root)
    runs = {row.name: row.run for row in recorded(root.supervisor_db)}
    ledger = SpendLedger.open_readonly(root.spend_db) if root.spend_db.exists() else None
    try:
        lives = ledger.lifetimes() if ledger else {}
        known = list(dict.fromkeys([*peer_names(root), *lives]))
        for name in names:
            if name not in known:
                raise UsageError(f"there is no peer {name!r}", fix=nearest(name, known))
        return [
            _bill(name, ledger, runs.get(name, ""), lives.get(name), known_plans.get(name))
            for name in (names or known)
        ]
    finally:
        if ledger:
            ledger.close()


def _bill(
    name: str, ledger: Any, run_: str, life: "Lifetime | None", plan: "PeerPlan | None"
) -> Bill:
    from xmesh_peer.safety.budgets import caps_of
    from xmesh_peer.safety.ledger import Lifetime, Spent

    return Bill(
        name,
        ledger.spent(name, run_) if ledger else Spent(0, 0, 0, 0, 0, 0),
        life or Lifetime(0, 0, 0, 0),
        caps_of(plan.settings.budget) if plan else None,
        plan.adapter if plan else "",
        plan.model_name if plan else "",
    )


def _as_text(bills: "Sequence[Bill]") -> None:
    if not bills:
        write("nothing was ever spent here; xmesh-sup up FILES… starts peers")
        return
    write(table([_HEADER, *(_row(bill) for bill in bills), _total(bills)]))
    lost = sum(bill.life.lost_nano for bill in bills)
    if lost:
        write(f"{money(lost)} of it is reserved for calls under way, or whose end is unknown")


def _row(bill: Bill) -> list[str]:
    wakes = (
        f"{bill.spent.wakes_day}/{bill.caps.wakes_day}" if bill.caps else str(bill.spent.wakes_day)
    )
    model = _UNPAID.get(bill.adapter) or "/".join(p for p in (bill.adapter, bill.model) if p)
    return [
        bill.name,
        *(_of(bill.nano(span), bill.cap(span)) for span in _SPANS),
        money(bill.life.nano),
        str(bill.life.calls),
        wakes,
        model or "-",
    ]


def _of(nano: int, cap: int | None) -> str:
    return money(nano) if cap is None else f"{money(nano)} of {money(cap)}"


def _total(bills: "Sequence[Bill]") -> list[str]:
    return [
        "total",
        *(money(sum(bill.nano(span) for bill in bills)) for span in _SPANS),
        money(sum(bill.life.nano for bill in bills)),
        str(sum(bill.life.calls for bill in bills)),
        str(sum(bill.spent.wakes_day for bill in bills)),
        "",
    ]


def _as_json(bills: "Sequence[Bill]") -> None:
    import msgspec

    from xmesh_supervisor.operator import write_json

    write_json(
        {
            "peers": [
                {
                    "name": bill.name,
                    "adapter": bill.adapter or None,
                    "model": bill.model or None,
                    "spent": msgspec.to_builtins(bill.spent),
                    "caps": msgspec.to_builtins(bill.caps),
                    "lifetime": msgspec.to_builtins(bill.life),
                }
                for bill in bills
            ],
            "total": {
                **{f"{span}_nano": sum(bill.nano(span) for bill in bills) for span in _SPANS},
                "lifetime_nano": sum(bill.life.nano for bill in bills),
            },
        }
    )
